"""DurableJobs in memory, as a worker's client sees them: each write is a compare-and-swap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from durablejob_airflow.resource import Absent, Conflict
from durablejob_airflow.view import DEPLOYMENT_ANNOTATION

Json = dict[str, Any]


class MemoryJobs:
    """The jobs of one namespace; ``before`` is called with each request's verb, and may raise what it is answered."""

    namespace = "ns"

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}
        self.requests: list[str] = []
        self.before: Callable[[str], object] = lambda verb: None
        self._versions = itertools.count(1)

    def put(self, name: str, outcome: str | None = None, attempt: int = 1, **spec: Any) -> Json:
        """A job that runs, or has ended, as the controller writes it."""
        current = {"number": attempt, "outcome": outcome, "reason": "Told"}
        status = {"state": outcome or "Running", "current": current, "externalID": "run-1"}
        return self._keep(
            {
                "metadata": {"name": name, "annotations": {DEPLOYMENT_ANNOTATION: "tests"}},
                "spec": {"attempt": attempt, **spec},
                "status": status,
            }
        )

    def end(self, name: str, outcome: str = "Succeeded") -> None:
        """What the controller writes when the attempt has ended."""
        self.put(name, outcome, **self.kept[name]["spec"])

    def get(self, name: str) -> Json | None:
        self._asked("get")
        return self.kept.get(name)

    def create(self, body: Mapping[str, Any]) -> Json:
        self._asked("create")
        if body["metadata"]["name"] in self.kept:
            raise Conflict("create: it exists")
        return self._keep(dict(body))

    def replace(self, body: Mapping[str, Any]) -> Json:
        self._asked("replace")
        kept = self.kept.get(body["metadata"]["name"])
        if kept is None:
            raise Absent(404, "write: there is none")
        if kept["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict("write: it was changed")
        return self._keep(dict(body))

    def _asked(self, verb: str) -> None:
        self.requests.append(verb)
        self.before(verb)

    def _keep(self, body: Json) -> Json:
        name = body["metadata"]["name"]
        meta = {"uid": f"uid-{name}", "namespace": self.namespace, "resourceVersion": str(next(self._versions))}
        self.kept[name] = {**body, "metadata": {**body["metadata"], **meta}}
        return self.kept[name]


def holder(id: str, number: int = 1, **more: Any) -> Json:
    """A ``spec.holder``."""
    return {"incarnation": "nonce", "id": id, "tryNumber": number, "maxTries": 1, "clearNumber": 0, **more}
