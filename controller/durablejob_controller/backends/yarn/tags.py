"""The tags by which applications of ours are found: one for all of a Kubernetes cluster, one for each attempt.

YARN turns tags into lower case, allows 100 characters, and takes a comma in a question as "or".
"""

from __future__ import annotations

import re

from durablejob_api.names import KEY_LENGTH

_KEY = re.compile(rf"durablejob-([a-z][a-z0-9]{{{KEY_LENGTH - 1}}})")


def attempt_tag(key: str) -> str:
    """Tag of one attempt."""
    return f"durablejob-{key}"


def cluster_tag(cluster_uid: str) -> str:
    """Tag of everything that controllers of this Kubernetes cluster submit."""
    return f"durablejob.{cluster_uid.lower()}"[:100]


def key_of(tags: str) -> str | None:
    """The attempt's key among an application's tags, as a listing shows them; None: it is not ours."""
    found = (_KEY.fullmatch(tag.strip()) for tag in tags.split(","))
    return next((match[1] for match in found if match), None)
