"""What the API server's answers mean: translated once, at the edge.

ResourceError
├── Unavailable   no answer, or one that says "later" (429, 5xx): wait, nothing is known
├── Conflict      409: somebody wrote meanwhile, or created it: look again
├── Expired       410: a watch's place in history is gone: list again
└── Refused       any other 4xx: it will not get better by asking again
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any, NoReturn

PLURAL = "durablejobs"
VERBS = ("get", "list", "watch", "create", "update")
"""What workers and triggerer do with DurableJobs."""
REQUEST_TIMEOUT = 10.0
"""Seconds that one request may take."""


class ResourceError(Exception):
    """A request for a resource that did not succeed."""


class Unavailable(ResourceError):
    """The API server is away or overloaded; whether the request had an effect is unknown."""


class Conflict(ResourceError):
    """The resource exists already, or was changed since it was read."""


class Expired(ResourceError):
    """The resource version is too old to continue from."""


class Refused(ResourceError):
    """The API server refuses the request; the message says which field, and what would be right."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def hint(self) -> str:
        """What to do about it, as a further sentence."""
        return {
            401: ". Check the connection's credentials",
            403: f". Airflow's account needs {', '.join(VERBS)} on durablejobs",
            404: ". Is the namespace right, and is durablejob (its CRDs) installed in this cluster?",
        }.get(self.status, "")


class Absent(Refused):
    """There is no such object, says the API server itself; a proxy's 404, or a kind that is not served, is no proof."""


def _parsed(body: object) -> dict[str, Any] | None:
    """The ``metav1.Status`` that the API server answers an error with; None: somebody else answered."""
    try:
        parsed = json.loads(body) if isinstance(body, str | bytes) else body
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _explain(status: int, parsed: dict[str, Any] | None, body: object) -> str:
    """The fields and messages of a ``metav1.Status``, or the text itself."""
    if parsed is None:
        return f"HTTP {status}: {str(body)[:500]}"
    causes = (parsed.get("details") or {}).get("causes") or []
    lines = [f"{cause.get('field') or 'resource'}: {cause.get('message', '')}" for cause in causes]
    return "; ".join(lines) or str(parsed.get("message") or f"HTTP {status}")


def raise_for(status: int, body: object, what: str) -> NoReturn:
    """The error that an answer of the API server means."""
    parsed = _parsed(body)
    text = f"{what}: {_explain(status, parsed, body)}"
    if status == 404 and parsed is not None and parsed.get("reason") == "NotFound":
        raise Absent(status, text)
    if status == 409:
        raise Conflict(text)
    if status == 410:
        raise Expired(text)
    if 400 <= status < 500 and status not in (408, 425, 429):
        raise Refused(status, text)
    raise Unavailable(text)


@dataclass
class Backoff:
    """Growing pauses between repeated requests, in seconds, spread so that many do not come at once."""

    first: float = 0.5
    most: float = 30.0
    count: int = 0

    def next(self) -> float:
        pause = min(self.most, self.first * 2.0 ** min(self.count, 16))
        self.count += 1
        return pause * random.uniform(0.7, 1.0)  # noqa: S311 -- spreading, not a secret

    def reset(self) -> None:
        self.count = 0
