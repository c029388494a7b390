"""One crash: a job's story with a controller that dies or is cut off at one call, and the judgement after it.

The judge is the external system's own ledger. What is asked (the invariants of quality.md): the program was started
as often as the story says, and never twice (I1); the right end is there within a minute of the crash and stays
(I2, I4); nothing is left that runs or waits (I3); external ID and terminal state never change (I5).
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.hook import How, Plan
from tests.crash.life import Life, Place
from tests.crash.master import Yard
from tests.crash.stories import Story
from tests.crash.systems import JobSystem, SparkSystem, System
from tests.crash.zygote import Zygote
from tests.testbed import site as sites
from tests.testbed.kube.cluster import Cluster
from tests.testbed.kube.kubelet import FakeKubelet
from tests.testbed.process import Identity

PATIENCE = 60.0
"""Seconds from the crash to the right end, at most."""
LOOK = 0.1
STAYS = 0.5
"""Seconds for which the end is watched."""


@dataclass(frozen=True)
class Cell:
    """One crash of one story."""

    system: str
    """``backendRef.type`` of its job."""
    story: Story
    plan: Plan | None

    @property
    def tale(self) -> str:
        """The story's name, with the system's."""
        return f"{self.system}, {self.story.name}"

    @property
    def name(self) -> str:
        if self.plan is None:
            return self.tale
        nth = f" #{self.plan.nth}" if self.plan.nth > 1 else ""
        return f"{self.tale}: {self.plan.call}{nth}, {self.plan.moment}, {self.plan.how}"


@dataclass
class Result:
    """What the judge says."""

    cell: Cell
    wrong: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    """Of what is wrong: duplicate, orphan, end, stuck, ended (the controller), unfired."""
    recovery: float | None = None
    """Seconds from the crash to the end."""
    trace: list[str] = field(default_factory=list)
    """Names of the calls, in order."""
    before_job: int = 0
    """How many of them were made before there was a job."""
    log: str = ""

    def blame(self, kind: str, words: str) -> None:
        self.kinds.add(kind)
        self.wrong.append(words)


@dataclass
class Bench:
    """What all cells share."""

    cluster: Cluster
    zygote: Zygote
    yard: Yard
    site: sites.Site
    kubelet: FakeKubelet

    def run(self, cell: Cell, number: int) -> Result:
        """Run one cell in a namespace of its own."""
        namespace = f"crash-{number}"
        if cell.system == JobSystem.type:
            with _Run(self, cell, namespace, JobSystem(self.cluster, self.kubelet, namespace)) as run:
                return run.judged()
        with self.yard.master() as master, _Run(self, cell, namespace, SparkSystem(master)) as run:
            return run.judged()


class _Run:
    """One cell that is being run."""

    def __init__(self, bench: Bench, cell: Cell, namespace: str, system: System) -> None:
        self.bench, self.cell, self.namespace, self.system = bench, cell, namespace, system
        self.folder = bench.site.folder / self.namespace
        self.folder.mkdir()
        self.result = Result(cell)
        self._place = Place(bench.cluster, namespace)
        self._life = Life(self._place, cell.story, system, "job")
        self._ports = sites.free_ports(2)
        self._controller: Identity | None = None

    def __enter__(self) -> _Run:
        self._place.make()
        self._place.create("jobbackends", "JobBackend", {"name": "here"}, self.system.backend())
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:
            self._controller.send(signal.SIGKILL)

    # --- the story ---------------------------------------------------------------------------------------

    def judged(self) -> Result:
        """Run it, and judge."""
        self._start(self.cell.plan)
        with contextlib.suppress(TimeoutError):
            self._wait_for_calm()
            self.result.before_job = len(self._trace())
            self._life.submit()
            self._live()
        self.result.trace = self._trace()
        self._judge()
        if self.result.wrong:
            with contextlib.suppress(OSError):
                self.result.log = (self.folder / "controller.log").read_text(errors="replace")
        return self.result

    def _start(self, plan: Plan | None) -> None:
        gate, health = self._ports
        arguments = [
            "--kubeconfig", str(self.bench.cluster.kubeconfig), "--namespaces", self.namespace,
            "--own-namespace", self.namespace, "--identity", "crash", "--lease-duration", "2",
            "--gate-listen", f"127.0.0.1:{gate}", "--gate-url", f"http://127.0.0.1:{gate}",
            "--http-listen", f"127.0.0.1:{health}", "--log-format", "text",
            "--poll-interval", "0.3", "--probe-interval", "1", "--request-timeout", "3",
        ]  # fmt: skip
        self._controller = self.bench.zygote.controller(arguments, self.folder, plan)

    def _wait_for_calm(self) -> None:
        """Until the backend was probed, so that the calls of the beginning are told from those of the job."""
        for _ in self._looks():
            backend = self._place.get("jobbackends", "here")
            if backend is not None and (backend.get("status") or {}).get("conditions"):
                return

    def _live(self) -> None:
        """Until the end has come, the crash has happened, and nothing moves any more."""
        for _ in self._looks():
            job = self._place.get("durablejobs", "job")
            self._life.note(job)
            self._life.wish()
            if self._life.is_over(job) and (self.cell.plan is None or self._fired() is not None):
                if self.result.recovery is None:
                    self.result.recovery = max(0.0, time.time() - (self._fired() or time.time()))
                if not self._life.left():
                    break
        time.sleep(STAYS)
        self._life.note(self._place.get("durablejobs", "job"))

    def _looks(self) -> Iterator[None]:
        """Look every now and then, for a minute from the crash; a dead controller is started again."""
        begun = time.time()
        while True:
            self._revive()
            yield
            fired = self._fired()
            if time.time() - max(begun, fired or 0.0) > PATIENCE:
                raise TimeoutError
            time.sleep(LOOK)

    def _revive(self) -> None:
        if self._controller is None or self._controller.alive:
            return
        plan = self.cell.plan
        if plan is None or plan.how is not How.KILL or self._fired() is None:
            self.result.blame("ended", "the controller ended of itself")
        self._start(None)

    # --- what is seen ------------------------------------------------------------------------------------

    def _judge(self) -> None:
        for kind, words in self._life.judge(self._place.get("durablejobs", "job")):
            self.result.blame(kind, words)
        if self.cell.plan is not None and self._fired() is None:
            self.result.blame("unfired", "the call was not made")

    def _fired(self) -> float | None:
        try:
            at: float = json.loads((self.folder / "fired").read_text())["at"]
        except FileNotFoundError:
            return None
        return at

    def _trace(self) -> list[str]:
        path: Path = self.folder / "trace"
        return path.read_text().splitlines() if path.exists() else []
