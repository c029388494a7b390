"""One poller per backend: one batch call per tick for all jobs, and batches on demand that callers share.

A snapshot counts as evidence only from the moment its request was *sent* (protocol rule 6), so that moment
is kept with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from durablejob_controller import metrics
from durablejob_controller.backends.contract import Backend, Run, Sighting, Snapshot
from durablejob_controller.errors import BackendError

log = logging.getLogger(__name__)

TROUBLE_AFTER = 10.0
"""Seconds without a usable answer after which jobs are told."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot and when (monotonic seconds) its request was sent."""

    snapshot: Snapshot
    sent: float

    def sighting(self, key: str) -> Sighting:
        return Sighting(runs=self.snapshot.runs.get(key, ()), incarnation=self.snapshot.incarnation)


class Poller:
    """Looks at one backend, regularly while ``wanted`` says that somebody cares, and on demand."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        *,
        changed: Callable[[set[str]], None],
        moved: Callable[[str, tuple[Run, ...]], bool],
        recovered: Callable[[], None],
        wanted: Callable[[], int],
        interval: float,
    ) -> None:
        """``changed`` is told keys whose runs changed, ``recovered`` of answers after none; ``wanted`` counts jobs.

        A progress changes all the time: ``moved`` says whether that of a key's runs is worth telling by now.
        """
        self.name = name
        self.backend = backend
        self.last: Taken | None = None
        self.failing_since: float | None = None
        self.failure = ""
        self._failed = 0.0
        self._exact: dict[str, tuple[float, tuple[Run, ...]]] = {}
        self._changed = changed
        self._moved = moved
        self._recovered = recovered
        self._wanted = wanted
        self._interval = interval
        self._running: asyncio.Task[Taken] | None = None
        self._next: asyncio.Task[Taken] | None = None

    @property
    def trouble(self) -> str | None:
        """What is wrong, once it has lasted long enough to tell the jobs."""
        since = self.failing_since
        return self.failure if since is not None and time.monotonic() - since >= TROUBLE_AFTER else None

    @property
    def hopeless(self) -> bool:
        """It is in trouble, and was asked a moment ago or is being asked: another question would only wait."""
        asking = self._running is not None and not self._running.done()
        return self.trouble is not None and (asking or time.monotonic() - self._failed < 2 * self._interval)

    def told(self, key: str, runs: tuple[Run, ...], sent: float) -> None:
        """An exact look-up has found these runs: batches are compared with it too, from the next that is sent after.

        Else a run that came and went between two batches, and was seen in between, would be gone without a change.
        """
        self._exact[key] = (sent, runs)

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            active = self._wanted()
            if active:
                try:
                    await self.fresh()
                except BackendError as error:
                    log.debug("backend %s does not answer: %s", self.name, error)
                except Exception:  # a fault of the backend's code must not end the polling
                    log.exception("backend %s: observing failed", self.name)
            # Above 1,000 jobs a list is large: ask less often.
            await asyncio.sleep(self._interval if active <= 1000 else max(self._interval, 5.0))

    async def fresh(self) -> Taken:
        """A snapshot whose request is sent after this call; callers that wait meanwhile share one.

        Raises ``BackendError``.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            # Whoever asked may have been cancelled; then nobody else takes the error.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[Taken] | None) -> Taken:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await self._take()

    async def _take(self) -> Taken:
        sent = time.monotonic()
        try:
            snapshot = await self.backend.observe()
        except Exception as error:  # noted, whatever it is, and raised
            if self.failing_since is None:
                self.failing_since = sent
            self.failure = str(error) if isinstance(error, BackendError) else f"unexpected {type(error).__name__}"
            self._failed = time.monotonic()
            raise
        finally:
            metrics.BACKEND_SECONDS.labels(backend=self.name, verb="observe").observe(time.monotonic() - sent)
        if self.failing_since is not None:
            self.failing_since = None
            self._recovered()
        old, self.last = self.last, Taken(snapshot, sent)
        self._changed(_differences(old, self.last) | self._overtaken(self.last) | self._further(self.last))
        return self.last

    def _overtaken(self, new: Taken) -> set[str]:
        """Keys of exact answers that the first batch sent after them contradicts."""
        older = {key: runs for key, (sent, runs) in self._exact.items() if sent < new.sent}
        for key in older:
            del self._exact[key]
        return {key for key, runs in older.items() if _differ(runs, new.snapshot.runs.get(key, ()))}

    def _further(self, new: Taken) -> set[str]:
        """Keys of runs that have gone on since it was last told."""
        with_progress = {k: runs for k, runs in new.snapshot.runs.items() if any(run.progress for run in runs)}
        return {key for key, runs in with_progress.items() if self._moved(key, runs)}


def _differences(old: Taken | None, new: Taken) -> set[str]:
    """Keys whose runs changed; all of them when the external system began another life."""
    before = old.snapshot.runs if old else {}
    after = new.snapshot.runs
    if old is not None and old.snapshot.incarnation != new.snapshot.incarnation:
        return set(before) | set(after)
    keys = {key for key in before if key not in after}
    return keys | {key for key, runs in after.items() if _differ(before.get(key), runs)}


def _differ(before: tuple[Run, ...] | None, after: tuple[Run, ...]) -> bool:
    """Whether they differ in more than the progress."""
    return before != after and (before is None or _without_progress(before) != _without_progress(after))


def _without_progress(runs: tuple[Run, ...]) -> list[Run]:
    return [replace(run, progress=None) for run in runs]
