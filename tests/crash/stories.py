"""What happens to a job besides the crash, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class When(StrEnum):
    """The moment at which a wish is written."""

    ACCEPTED = "the external system has accepted the submission"
    STARTED = "the program was started"
    SUBMITTED = "the resource says Submitted"
    RUNNING = "the resource says Running"
    DEFERRED = "the resource says that there is no room"


@dataclass(frozen=True)
class Story:
    """A job's life as it should be; ``state`` None means that the resource is gone in the end.

    A wish that is written as soon as the external system shows something races with what the controller writes about
    it: which calls are made is then chance. So most wishes wait for the controller's word, and some race.
    """

    name: str
    how: str
    """What the program is to do (see ``systems``)."""
    state: str | None
    reason: str | None
    starts: int
    wish: str | None = None
    """``cancel`` or ``delete`` by the API; ``remove`` (as a person does) or ``strip`` (by force) at the system;
    ``make room`` in the namespace."""
    when: When = When.STARTED
    ttl: int = 3600
    rival: str | None = None
    """Just before the first call of this name somebody else writes on the same object: the call meets a conflict."""
    quota: str | None = None
    """A resource, as quotas name it, of which the namespace has room for few, until a wish makes more."""
    room: int = 0
    """For how many."""


SPARK = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("killed from outside", "hold", "Failed", "Killed", 1, "remove"),
    Story("lost", "vanish", "Lost", "Lost", 1),
    Story("rejected", "reject", "Failed", "Rejected", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel"),
    Story("cancelled in the queue", "queue", "Cancelled", "Cancelled", 0, "cancel", When.ACCEPTED),
    Story("cancelled after a long wait", "queue", "Cancelled", "Cancelled", 0, "cancel", When.SUBMITTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted in the queue", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
    Story(
        "changed meanwhile", "succeed", "Succeeded", "Succeeded", 1,
        rival="PUT durablejobs/status [Submitting, claim Open]",
    ),
    Story("its backend changed meanwhile", "succeed", "Succeeded", "Succeeded", 1, rival="PATCH jobbackends"),
)  # fmt: skip
REAL_SPARK = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("killed from outside", "hold", "Failed", "Killed", 1, "remove"),
    Story("its worker dies", "hold", "Lost", "LostSight", 1, "strip"),
    Story("rejected", "reject", "Failed", "Rejected", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel"),
    Story("cancelled in the queue", "queue", "Cancelled", "Cancelled", 0, "cancel", When.ACCEPTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted in the queue", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
)
JOBS = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "BackoffLimitExceeded", 1),
    Story("deleted by hand", "hold", "Failed", "DeletedExternally", 1, "remove"),
    Story("lost", "hold", "Lost", "Lost", 1, "strip", When.RUNNING),
    Story("rejected", "reject", "Failed", "InvalidSpec", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel", When.RUNNING),
    Story("cancelled before its pod runs", "queue", "Cancelled", "Cancelled", 0, "cancel", When.SUBMITTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted before its pod runs", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
    Story("changed meanwhile", "succeed", "Succeeded", "Succeeded", 1, rival="PUT durablejobs/status [Submitting]"),
    Story("its backend changed meanwhile", "succeed", "Succeeded", "Succeeded", 1, rival="PATCH jobbackends"),
)
DRIVERS = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("deleted by hand", "hold", "Failed", "DeletedExternally", 1, "remove"),
    Story("lost", "hold", "Lost", "Lost", 1, "strip", When.RUNNING),
    Story("rejected", "reject", "Failed", "Rejected", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel", When.RUNNING),
    Story("cancelled before it runs", "queue", "Cancelled", "Cancelled", 0, "cancel", When.SUBMITTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted before it runs", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
    Story("changed meanwhile", "succeed", "Succeeded", "Succeeded", 1, rival="PUT durablejobs/status [Submitting]"),
    Story("has the last room", "succeed", "Succeeded", "Succeeded", 1, quota="count/pods", room=1),
)
_INGRESSES = "count/ingresses.networking.k8s.io"
PUBLIC_DRIVERS = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("waits for room", "succeed", "Succeeded", "Succeeded", 1, "make room", When.DEFERRED, quota=_INGRESSES),
    Story("cancelled without room", "succeed", "Cancelled", "Cancelled", 0, "cancel", When.DEFERRED, quota=_INGRESSES),
)
"""Of a driver whose UI has an Ingress, and whose log is told when it fails: what differs by it."""
GATED_YARN = tuple(story for story in SPARK if "changed meanwhile" not in story.name)
"""As on a Master: the engine's own writes meet the same conflicts."""
YARN = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("killed from outside", "hold", "Failed", "Killed", 1, "remove"),
    Story("lost", "hold", "Lost", "Lost", 1, "strip"),
    Story("rejected", "reject", "Failed", "Rejected", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel"),
    Story("cancelled in the queue", "queue", "Cancelled", "Cancelled", 0, "cancel", When.ACCEPTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted in the queue", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
)
