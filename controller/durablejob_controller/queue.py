"""A de-duplicating work queue: many events about a job are one reconciliation, and never two at once.

The semantics of client-go's workqueue, in asyncio: a key that is added while it is being worked on is
worked on once more afterwards; a key that is added for later is moved up when it is added for sooner.

Keys come in lanes, which take turns, and of each only so many are worked on at once: who waits for one slow external
system must not hold up the jobs of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable

from durablejob_controller import metrics

_FULL = object()
SLACK = 1000
"""Outdated plans that are kept before they are swept."""


class WorkQueue:
    """Keys to work on, each at most once at a time."""

    def __init__(self, lane_of: Callable[[str], Hashable] = lambda _: None, share: float = math.inf) -> None:
        """Of each lane at most ``share`` keys are given out at once."""
        self._lane_of = lane_of
        self._share = share
        self._ready: dict[Hashable, deque[str]] = {}
        """By lane; the first lane is the next."""
        self._queued: dict[str, float] = {}
        """Key -> when it became ready."""
        self._active: dict[str, Hashable] = {}
        """Key -> its lane."""
        self._busy: Counter[Hashable] = Counter()
        self._again: set[str] = set()
        self._later: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._serial = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, key: str) -> None:
        """Work on ``key`` as soon as possible."""
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = time.monotonic()
            self._ready.setdefault(self._lane_of(key), deque()).append(key)
            metrics.QUEUE_DEPTH.set(len(self._queued))
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Work on ``key`` in ``seconds``, or sooner when something sooner is asked for."""
        if seconds <= 0:
            self.add(key)
            return
        due = time.monotonic() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._serial), key))
        if len(self._later) > 2 * len(self._due) + SLACK:
            self._compact()
        self._wake.set()

    def forget(self, key: str) -> None:
        """``key`` is gone: drop what was planned for it."""
        self._due.pop(key, None)
        self._again.discard(key)

    async def get(self) -> str:
        """The next key; call ``done`` with it afterwards."""
        while True:
            self._promote()
            lane = next((lane for lane in self._ready if self._busy[lane] < self._share), _FULL)
            if lane is not _FULL:
                return self._take(lane)
            self._wake.clear()
            pause = self._later[0][0] - time.monotonic() if self._later else None
            # Not wait_for: before Python 3.12 it begins to wait in another task, where the flag may be cleared again.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _take(self, lane: Hashable) -> str:
        keys = self._ready.pop(lane)
        key = keys.popleft()
        if keys:
            self._ready[lane] = keys  # behind the other lanes
        metrics.QUEUE_SECONDS.observe(time.monotonic() - self._queued.pop(key))
        metrics.QUEUE_DEPTH.set(len(self._queued))
        self._active[key] = lane
        self._busy[lane] += 1
        return key

    def done(self, key: str) -> None:
        lane = self._active.pop(key)
        self._busy[lane] -= 1
        if not self._busy[lane]:
            del self._busy[lane]  # backends come and go
        if lane in self._ready:
            self._wake.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _compact(self) -> None:
        """Drop plans that were moved or dropped: some are for a time to live of days."""
        self._later = [plan for plan in self._later if self._due.get(plan[2]) == plan[0]]
        heapq.heapify(self._later)

    def _promote(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:  # else it was moved or dropped since
                del self._due[key]
                self.add(key)
