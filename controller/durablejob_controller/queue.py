"""A de-duplicating work queue: many events about a job are one reconciliation, and never two at once.

The semantics of client-go's workqueue, in asyncio: a key that is added while it is being worked on is
worked on once more afterwards; a key that is added for later is moved up when it is added for sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import deque

from durablejob_controller import metrics

SLACK = 1000
"""Outdated plans that are kept before they are swept."""


class WorkQueue:
    """Keys to work on, each at most once at a time."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self._queued: dict[str, float] = {}
        """Key -> when it became ready."""
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._later: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._serial = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """Work on ``key`` as soon as possible."""
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = time.monotonic()
            self._ready.append(key)
            metrics.QUEUE_DEPTH.set(len(self._ready))
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
            if self._ready:
                key = self._ready.popleft()
                metrics.QUEUE_SECONDS.observe(time.monotonic() - self._queued.pop(key))
                metrics.QUEUE_DEPTH.set(len(self._ready))
                self._active.add(key)
                return key
            self._wake.clear()
            pause = self._later[0][0] - time.monotonic() if self._later else None
            # Not wait_for: before Python 3.12 it begins to wait in another task, where the flag may be cleared again.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def done(self, key: str) -> None:
        self._active.discard(key)
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
