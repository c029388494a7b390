"""The DurableJob as the explorer keeps it: every version once, so that equal means identical.

What only informs (reason, message, times, the state's word) is left out of what makes two versions equal:
no decision other than to write such information depends on it (``test_explorer`` compares a search with
and without this). The first version found stands for its class, with all its fields, so that the real
functions see a whole resource. A write that changes nothing else is thus no step at all; in truth it would
make another writer's compare-and-swap fail, who then decides again: that is as if he had not decided yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from durablejob_api import FINALIZER
from durablejob_api.base import ObjectMeta
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendRef, BackendType, Cancel, DeletionPolicy, DurableJobSpec, PluginWork
from durablejob_api.status import Current, DurableJobStatus, Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=365)
UID = "u"


@dataclass(frozen=True)
class Wishes:
    """What people have written, and what a test must know of the past."""

    attempt: int = 1
    accept_lost: int = 0
    cancel: int = 0
    deleting: bool = False
    gone: bool = False
    before: Outcome | None = None
    """Outcome of the attempt before the current one."""
    restored: bool = False
    """The status was once rolled back: etcd was restored from a backup."""


class Resource:
    """One version; ``is`` stands for an equal resourceVersion. Made by ``Versions`` only."""

    __slots__ = ("current", "job", "number", "wishes")

    def __init__(self, number: int, wishes: Wishes, job: DurableJob) -> None:
        self.number = number
        self.wishes = wishes
        self.job = job
        self.current = job.current

    @property
    def attempt(self) -> int:
        """Number of the attempt that is worked on."""
        return self.current.number if self.current is not None else 1

    @property
    def outcome(self) -> Outcome | None:
        return self.current.outcome if self.current is not None else None


class Versions:
    """All versions found so far."""

    def __init__(self, *, policy: DeletionPolicy, deadline: bool, whole: bool) -> None:
        self._policy = policy
        self._deadline = 1 if deadline else None
        self._whole = whole
        self._known: dict[Any, Resource] = {}
        self._written: dict[tuple[int, int], tuple[DurableJobStatus, Resource]] = {}
        self._changed: dict[Any, Resource] = {}
        self.first = self._make(Wishes(), None)

    def written(self, resource: Resource, status: DurableJobStatus) -> Resource:
        """``resource`` after this status was written."""
        key = (resource.number, id(status))
        if key not in self._written:
            self._written[key] = (status, self._make(resource.wishes, status))  # keeps status, and so its id
        return self._written[key][1]

    def changed(self, resource: Resource, **wishes: Any) -> Resource:
        """``resource`` after people or the API server have changed something other than its status."""
        key = (resource.number, *wishes.items())
        if key not in self._changed:
            self._changed[key] = self._make(replace(resource.wishes, **wishes), resource.job.status)
        return self._changed[key]

    def rolled_back(self, resource: Resource) -> Resource:
        """``resource`` with the status it had before anything was reserved for the current attempt."""
        status = resource.job.status
        current = resource.current
        if status is None or current is None:
            return resource
        bare = Current(number=current.number, key=current.key)
        old = None if current.number == 1 else DurableJobStatus(current=bare)
        return self._make(replace(resource.wishes, restored=True), old)

    def _make(self, wishes: Wishes, status: DurableJobStatus | None) -> Resource:
        current = status.current if status is not None else None
        key = (wishes, current if self._whole else _essence(current), status.state if self._whole and status else None)
        if key not in self._known:
            self._known[key] = Resource(len(self._known), wishes, self._job(wishes, status))
        return self._known[key]

    def _job(self, wishes: Wishes, status: DurableJobStatus | None) -> DurableJob:
        spec = DurableJobSpec(
            backend_ref=BackendRef(name="b", type=BackendType.PLUGIN),
            plugin=PluginWork(),
            attempt=wishes.attempt,
            accept_lost=wishes.accept_lost,
            cancel=Cancel(attempt=wishes.cancel) if wishes.cancel else None,
            deletion_policy=self._policy,
            active_deadline_seconds=self._deadline,
        )
        meta = ObjectMeta(
            name="j",
            uid=UID,
            creation_timestamp=NOW,
            finalizers=(FINALIZER,),
            deletion_timestamp=NOW if wishes.deleting else None,
        )
        return DurableJob(metadata=meta, spec=spec, status=status)


def _essence(current: Current | None) -> Current | None:
    """What makes a difference to any decision but that to inform."""
    if current is None:
        return None
    noted = current.cancel_requested_at is not None and current.outcome is None
    return current.model_copy(
        update={
            "message": None,
            "reason": current.reason if noted else None,  # the reason of a noted end becomes the end's
            "started_at": None,
            "finished_at": None,
            "cancel_requested_at": NOW if noted else None,
            "exit_code": None,
        }
    )
