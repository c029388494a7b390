"""Runs one cell, a story with a controller that dies or is cut off at a call (or two), and judges what came of it.

The judge is the external system's own ledger. What is asked (the invariants of quality.md): the program was started
as often as the story says, and never twice (I1); the right end is there within a minute of the crash and stays
(I2, I4); nothing is left that runs or waits (I3); external ID and terminal state never change (I5).
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
import traceback
from collections.abc import Iterator, Sequence

from tests.crash.bench import Bench
from tests.crash.cell import Cell, Result
from tests.crash.hook import Crash, How, Notes
from tests.crash.life import Life, Place
from tests.crash.systems import Object, System
from tests.crash.zygote import arguments, gone
from tests.testbed.process import Identity

PATIENCE = 60.0
"""Seconds from the last crash to the right end, at most."""
UNMADE = 10.0
"""Seconds from the end, or from the crash after it, for a call at which the next crash waits: a leader renews its lease
and asks its backends sooner than that, and no cell waits for what it does more rarely."""
LOOK = 0.1
STAYS = 0.5
"""Seconds for which the end is watched."""


class Interrupted(Exception):
    """The suite is told to end; the cell has no result."""


def run(bench: Bench, cell: Cell) -> Result:
    """Run a cell in a namespace of its own; what breaks in the suite itself is a result, too."""
    began = time.monotonic()
    namespace, result = bench.new_namespace(), Result(cell)
    try:
        with bench.system(cell.system, namespace) as system, _Run(bench, cell, namespace, system, result) as running:
            running.live_and_judge()
    except Interrupted:
        raise
    except Exception:
        if bench.over.is_set():
            raise Interrupted from None
        result.blame("broken", traceback.format_exc())
    result.took = time.monotonic() - began
    return result


class _Run:
    """One cell that is being run."""

    def __init__(self, bench: Bench, cell: Cell, namespace: str, system: System, result: Result) -> None:
        self.bench, self.cell, self.namespace, self.system, self.result = bench, cell, namespace, system, result
        self.folder = bench.site.folder / self.namespace
        self.folder.mkdir()
        self.notes = Notes(self.folder)
        self._place = Place(bench.api, namespace)
        self._life = Life(self._place, cell.story, system, "job")
        self._listen = bench.free_ports(2)
        self._controller: Identity | None = None
        self._killed = 0
        """How often a controller has ended."""
        self._called = 0
        """Calls that were made before the present one was started."""
        self._unmade: Crash | None = None
        """The crash that was given up, as its call was not made; should it come after that, nobody has looked at it."""

    def __enter__(self) -> _Run:
        self._place.make()
        if self.cell.story.quota is not None:
            self._place.limit(self.cell.story.quota, self.cell.story.room)
        self._place.create("jobbackends", "JobBackend", {"name": "here"}, self.system.backend())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not self.result.log:
            self.result.log = self._log()
        if self._controller is not None:
            self._controller.send(signal.SIGKILL)
        if self._life.key:
            self.system.clear(self._life.key)

    # --- the story ---------------------------------------------------------------------------------------

    def live_and_judge(self) -> None:
        """Run it, and judge."""
        self._start(self.cell.crashes)
        with contextlib.suppress(TimeoutError):
            self._wait_for_calm()
            self.notes.job_comes()
            self._life.submit()
            self._live()
        self.result.early, self.result.late = self.notes.calls()
        self._judge()
        if self.result.wrong:
            self.result.log = self._log()

    def _log(self) -> str:
        with contextlib.suppress(Exception):  # whatever is broken: what went wrong is told without it
            said = (self.folder / "controller.log").read_text(errors="replace")
            job = json.dumps(self._job(), indent=1)
            return f"{said}\n== job\n{job}\n== external system\n{self.system.evidence(self._life.key)}"
        return ""

    def _start(self, crashes: Sequence[Crash]) -> None:
        options = arguments(self.bench.cluster.kubeconfig, self.namespace, self._listen, "crash")
        self._called = sum(map(len, self.notes.calls()))
        self._controller = self.bench.zygote.controller(options, self.folder, crashes, self.cell.story.rival)

    def _wait_for_calm(self) -> None:
        """Until the backend was probed, so that the calls of the beginning are told from those of the job."""
        for _ in self._looks():
            backend = self._place.get("jobbackends", "here")
            if backend is not None and (backend.get("status") or {}).get("conditions"):
                return

    def _live(self) -> None:
        """Until the end has come, the crashes have happened, and nothing moves any more."""
        over = math.inf
        for fired in self._looks():
            job = self._job()
            self._life.note(job)
            self._life.wish(job)
            if not self._life.is_over(job):
                continue
            over = min(over, time.time())
            if len(fired) < len(self.cell.crashes):
                if time.time() - max((over, *fired)) > UNMADE and not self._life.left():
                    self._unmade = self.cell.crashes[len(fired)]
                    break
                continue
            if self.result.recovery is None:
                self.result.recovery = max(0.0, time.time() - fired[-1]) if fired else 0.0
            if self._is_led(fired) and not self._life.left():
                break
        time.sleep(STAYS)

    def _looks(self) -> Iterator[list[float]]:
        """Look every now and then, for a minute from the last crash; a dead controller is started again."""
        begun = time.time()
        while True:
            if self.bench.over.is_set():
                raise Interrupted
            fired = self._revive()
            yield fired
            if time.time() - max(begun, *fired, 0.0) > PATIENCE:
                raise TimeoutError
            time.sleep(LOOK)

    def _kills(self, fired: list[float]) -> int:
        """How many of the crashes that have happened end the process."""
        return sum(crash.how is How.KILL for crash in self.cell.crashes[: len(fired)])

    def _is_led(self, fired: list[float]) -> bool:
        """Who was started after the last crash decides by now: an end that was there before must outlive that, too."""
        early, late = self.notes.calls()
        calls = [*early, *late][self._called :]
        return self._killed >= self._kills(fired) and not {"PUT leases", "POST leases"}.isdisjoint(calls)

    def _revive(self) -> list[float]:
        """Start the controller again if it has ended; tell when crashes have happened."""
        ended = self._controller is not None and gone(self._controller)
        fired = self.notes.fired()
        if ended:
            self._killed += 1
            if self._killed > self._kills(fired):
                self.result.blame("ended", "the controller ended of itself")
            self._start(self.cell.crashes[len(fired) :])
        return fired

    # --- what is seen ------------------------------------------------------------------------------------

    def _judge(self) -> None:
        job = self._job()
        self._life.note(job)
        for kind, words in self._life.judge(job):
            self.result.blame(kind, words)
        fired = self.notes.fired()
        unmade = self._unmade or next(iter(self.cell.crashes[len(fired) :]), None)
        if unmade:
            self.result.blame("unfired", f"not made: {unmade}")

    def _job(self) -> Object | None:
        return self._place.get("durablejobs", self._life.name)
