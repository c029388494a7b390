"""From objects to the runs that they are. One that cannot be read hides itself, and none of the others.

Much of a status is optional, and others than the cluster's own controllers may write it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from durablejob_controller.backends.contract import Phase, Run
from durablejob_controller.backends.kubernetes_objects.calls import SHAPE, Calls
from durablejob_controller.backends.kubernetes_objects.kind import Kind
from durablejob_controller.backends.kubernetes_objects.objects import Object, is_held
from durablejob_controller.backends.kubernetes_objects.tails import Tails
from durablejob_controller.errors import BackendUnavailable

log = logging.getLogger(__name__)

UNREADABLE = "StatusUnreadable"


class Reader:
    """Reads objects of every kind, in one namespace or (None) in all."""

    def __init__(self, calls: Calls, tails: Tails, namespace: str | None) -> None:
        self._calls = calls
        self._tails = tails
        self._namespace = namespace
        self._unread: set[str] = set()
        """uids of those that could not be read when they were seen last: the log is told once."""

    async def runs(self, kind: Kind, found: Sequence[Object]) -> list[tuple[Object, Run]]:
        """Each with its run, in no order; raises ``BackendUnavailable``."""
        doubtful = [one for one in found if one["metadata"]["uid"] in self._unread]
        others = [one for one in found if one["metadata"]["uid"] not in self._unread]
        parts = [others, *([one] for one in doubtful)]
        return [read for part in parts if part for read in await self._read(kind, part)]

    async def _read(self, kind: Kind, found: Sequence[Object]) -> list[tuple[Object, Run]]:
        """Together, as that takes the fewest requests; else each half of them by itself."""
        try:
            runs = list(zip(found, await kind.runs(self._calls, self._tails, self._namespace, found), strict=True))
        except SHAPE as error:
            if len(found) == 1:
                return [(found[0], self._note(kind, found[0], error))]
            middle = len(found) // 2
            return [*await self._read(kind, found[:middle]), *await self._read(kind, found[middle:])]
        self._unread -= {one["metadata"]["uid"] for one in found}
        return runs

    def _note(self, kind: Kind, one: Object, error: Exception) -> Run:
        meta = one["metadata"]
        if meta["uid"] not in self._unread:
            where = f"{meta['namespace']}/{meta['name']}"
            log.warning("the status of %s %s cannot be read: %s: %s", kind.name, where, type(error).__name__, error)
        self._unread.add(meta["uid"])
        try:
            return unread(kind, one)
        except SHAPE as strange:  # the API server itself keeps this part in shape
            raise BackendUnavailable(f"the API server's answer is not made of {kind.name}s") from strange

    def stays(self, kind: Kind, found: Object) -> bool:
        """As its kind says; one that cannot be read may run on, and is left as it is."""
        try:
            return kind.stays(found)
        except SHAPE:
            return False

    def keep(self, uids: Collection[str]) -> None:
        """Forget all but these: the others are listed no more."""
        self._unread &= set(uids)


def unread(kind: Kind, one: Object) -> Run:
    """What is known without its status, from which nothing follows.

    It is there, and waits: of a program that was seen to run nobody concludes from this that it does no more.
    """
    meta = one["metadata"]
    return Run(
        id=meta["uid"],
        phase=Phase.INERT if kind.is_inert(one) else Phase.QUEUED,
        # Another start, or none, would be taken for a program that was stopped.
        started_time=kind.started(one),
        reason=UNREADABLE,
        message=f"the status of its {kind.name} cannot be read",
        held=is_held(one),
        external_id=f"{kind.name}/{meta['name']}",
        namespace=meta["namespace"],
    )
