"""What happens to a job besides the crash, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class When(StrEnum):
    """The moment at which a wish is written."""

    ACCEPTED = "the submission was accepted"
    STARTED = "the program was started"


@dataclass(frozen=True)
class Story:
    """A job's life as it should be; ``state`` None means that the resource is gone in the end."""

    name: str
    how: str
    """What the program is to do (see ``systems``)."""
    state: str | None
    reason: str | None
    starts: int
    wish: str | None = None
    """``cancel`` or ``delete`` by the API; ``remove`` (as a person does) or ``strip`` (by force) at the system."""
    when: When = When.STARTED
    ttl: int = 3600


SPARK = (
    Story("success", "succeed", "Succeeded", "Succeeded", 1),
    Story("failure", "fail", "Failed", "ProgramFailed", 1),
    Story("killed from outside", "hold", "Failed", "Killed", 1, "remove"),
    Story("lost", "vanish", "Lost", "Lost", 1),
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
    Story("lost", "hold", "Lost", "Lost", 1, "strip"),
    Story("rejected", "reject", "Failed", "InvalidSpec", 0),
    Story("cancelled", "hold", "Cancelled", "Cancelled", 1, "cancel"),
    Story("cancelled before its pod runs", "queue", "Cancelled", "Cancelled", 0, "cancel", When.ACCEPTED),
    Story("deleted", "hold", None, None, 1, "delete"),
    Story("deleted before its pod runs", "queue", None, None, 0, "delete", When.ACCEPTED),
    Story("its time to live is over", "succeed", None, None, 1, ttl=0),
)
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
