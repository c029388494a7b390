"""A namespace with controllers, external systems and many jobs, each with a story; and the judgement of all of them.

The judge is the external systems' ledgers. What is asked are the invariants of quality.md: no program started twice
(I1), the right end within a minute of the last fault (I2, I4), nothing left (I3), external ID and terminal state never
change (I5), the jobs beside a fault go on (I7). And no controller ends, or has to be restarted, but by a fault's hand.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from durablejob_api.marks import CONFIRM_RESTORE
from tests.crash.bench import Bench
from tests.crash.hook import Crash
from tests.crash.life import Life, Place
from tests.crash.master import Master
from tests.crash.stories import JOBS, SPARK, Story
from tests.crash.systems import JobSystem, Object, SparkSystem
from tests.crash.zygote import arguments
from tests.faults.relay import Relay, Service, kubeconfig, to_kube
from tests.testbed.process import Identity

PATIENCE = 60.0
"""Seconds from the last fault to the right end of every job, at most."""
LOOK = 0.5
ROLLED_BACK = "StorageRolledBack"
STAYS = 1.0
"""Seconds for which the ends are watched."""
_serial = itertools.count(1)


@dataclass
class Result:
    """What the judge says of one scene."""

    name: str
    jobs: int = 0
    starts: int = 0
    """Programs that were started, by the ledgers."""
    submissions: int = 0
    """Drivers that the stand-in Masters accepted: surplus ones were turned away by the gate."""
    struck: int = 0
    """How often the fault happened."""
    recovery: float = 0.0
    """Seconds from the end of the last fault to the last job's end."""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    """Of what is wrong: duplicate, orphan, end, stuck, ended (a controller), held (others were), unfired, silent."""
    log: str = ""

    def blame(self, kind: str, words: str) -> None:
        self.kinds.add(kind)
        self.wrong.append(words)


@dataclass
class Controller:
    """One replica."""

    identity: Identity
    folder: Path
    arguments: list[str]
    skew: float

    @property
    def fired(self) -> bool:
        """Its crash has struck."""
        return (self.folder / "fired").exists()

    @property
    def log(self) -> str:
        return (self.folder / "controller.log").read_text(errors="replace")

    @property
    def trace(self) -> str:
        """Names of the calls that it has made, a line each."""
        return (self.folder / "trace").read_text() if (self.folder / "trace").exists() else ""

    def ready(self) -> bool:
        """It has looked at a backend: whatever it needs for deciding is there."""
        return ": Ready: " in self.log

    def leads(self) -> bool:
        """It decides, by its lease."""
        return ": leading" in self.log.rpartition(": standing by")[2]

    def stop(self) -> None:
        """SIGSTOP."""
        self.identity.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.identity.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self.identity.send(signal.SIGKILL)
        self.identity.wait(10)


def _ready_reason(backend: Object) -> str:
    conditions = (backend.get("status") or {}).get("conditions") or [{}]
    return str(conditions[0].get("reason"))


class Scene:
    """What happens in one namespace; ``with`` it, then `judge`."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.result = Result(name)
        self.place = Place(bench.api, f"fault-{next(_serial)}")
        self.folder = bench.site.folder / self.place.namespace
        self.lives: list[Life] = []
        self.controllers: list[Controller] = []
        self._stack = ExitStack()
        self._gates = Service()
        self._masters: list[Master] = []
        self._known: dict[str, Object] = {}
        self._healed = self._begun = time.monotonic()
        self._expected: set[int] = set()
        """Positions of controllers that a fault has killed."""

    def __enter__(self) -> Scene:
        self.folder.mkdir()
        self.place.make()
        self._gate = self._stack.enter_context(Relay(""))
        self._gate.fault = self._gates
        return self

    def __exit__(self, *_: object) -> None:
        for controller in self.controllers:
            controller.kill()
        self._stack.close()

    # --- what there is -----------------------------------------------------------------------------------

    def relay_to(self, url: str) -> Relay:
        """A relay to an external system."""
        return self._stack.enter_context(Relay(url))

    def relay_to_kube(self) -> Relay:
        """A relay to kube-apiserver; name it when a controller is started."""
        return self._stack.enter_context(to_kube(self.bench.cluster))

    def master(self, retained: int | None = None, slots: int | None = None) -> Master:
        """A stand-in for a Master, which remembers so many drivers that have ended, and has room for so many."""
        master = self._stack.enter_context(self.bench.yard.master())
        master.retained = retained
        master.slots = asyncio.Semaphore(slots) if slots else None
        self._masters.append(master)
        return master

    def spark(self, master: Master, name: str = "spark", url: str = "") -> SparkSystem:
        """The Master as a JobBackend of this name, asked at ``url`` (its own)."""
        system = SparkSystem(master)
        address = {"rest": url or master.url, "ui": url or master.url}
        spec = {"sparkStandalone": {"masters": [address]}, "artifactSchemes": ["local"]}
        self.place.create("jobbackends", "JobBackend", {"name": name}, spec)
        return system

    def kubernetes(self, name: str = "jobs") -> JobSystem:
        """The cluster's own Jobs as a JobBackend of this name."""
        system = JobSystem(self.bench.api, self.bench.kubelet, self.place.namespace)
        self.place.create("jobbackends", "JobBackend", {"name": name}, system.backend())
        return system

    def controller(
        self, *, relay: Relay | None = None, crash: Crash | None = None, skew: float = 0.0, elect: bool = True,
        lease: str = "faults", options: Sequence[str] = (),
    ) -> Controller:  # fmt: skip
        """Start a replica; drivers reach the gates of all of them under one address."""
        number = len(self.controllers)
        folder = self.folder / f"controller-{number}"
        folder.mkdir()
        (folder / "controller.log").touch()
        config = kubeconfig(relay, folder / "kubeconfig") if relay is not None else self.bench.cluster.kubeconfig
        ports = self.bench.free_ports(2)
        self._gates.members.append(f"http://127.0.0.1:{ports[0]}")
        common = arguments(
            config, self.place.namespace, ports, f"controller-{number}", gate_url=self._gate.url, poll=0.5
        )
        more = ["--lease-name", lease, "--relist-interval", "2", *([] if elect else ["--no-elect"]), *options]
        given = common + more
        identity = self.bench.zygote.controller(given, folder, () if crash is None else (crash,), skew=skew)
        controller = Controller(identity, folder, given, skew)
        self.controllers.append(controller)
        return controller

    def restart(self, controller: Controller) -> None:
        """Kill it with SIGKILL, and start another one with the same options."""
        controller.kill()
        controller.identity = self.bench.zygote.controller(
            controller.arguments, controller.folder, skew=controller.skew
        )

    def tolerate_end_of(self, controller: Controller) -> None:
        """It is killed by a fault, and not started again."""
        self._expected.add(self.controllers.index(controller))

    def submit(
        self, system: SparkSystem | JobSystem, stories: Sequence[Story] | None = None, backend: str = "", **more: Any
    ) -> list[Life]:
        """A job of each story (all that there are for this system)."""
        known = SPARK if isinstance(system, SparkSystem) else JOBS
        lives = []
        for story in known if stories is None else stories:
            life = Life(self.place, story, system, f"job-{len(self.lives)}")
            life.submit(backend or ("spark" if isinstance(system, SparkSystem) else "jobs"), **more)
            self.lives.append(life)
            lives.append(life)
        return lives

    # --- time passes -------------------------------------------------------------------------------------

    def live(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; wishes are wished meanwhile. Return whether ``until`` came true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()
            if until():
                return True
            time.sleep(max(LOOK, len(self.lives) / 250))  # a list of many takes its time
        return False

    def until(self, what: str, test: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Let time pass until something is so; blame it where it does not come."""
        if not self.live(seconds, test):
            self.result.blame("unfired", f"not within {seconds:g} s: {what}")

    def ended(self, lives: Sequence[Life]) -> bool:
        """Whether all of these have ended, as last seen."""
        return all(life.is_over(self._known.get(life.name)) for life in lives)

    def status(self, life: Life) -> Object:
        """Its status, as last seen."""
        return (self._known.get(life.name) or {}).get("status") or {}

    def all_held(self) -> bool:
        """Every backend says that the storage has gone back."""
        return all(_ready_reason(raw) == ROLLED_BACK for raw in self.place.backends().values())

    def confirm(self) -> None:
        """An administrator lets jobs begin again on every backend."""
        for name, raw in self.place.backends().items():
            self.place.annotate(name, {CONFIRM_RESTORE: raw["status"]["rolledBackFrom"]})

    def healed(self) -> None:
        """The last fault is over: the minute begins."""
        self._healed = time.monotonic()

    def _look(self) -> None:
        try:
            self._known = self.place.jobs()
            for life in self.lives:
                life.note(self._known.get(life.name))
                if not life.is_over(self._known.get(life.name)):
                    life.wish(self._known.get(life.name))
        except (ApiException, HTTPError):
            pass  # the API server is away: that is what some of this is about

    # --- the judgement -----------------------------------------------------------------------------------

    def judge(self) -> Result:
        """Wait for the ends, see that they stay, and judge."""
        result = self.result
        left = PATIENCE - (time.monotonic() - self._healed)
        self.live(left, lambda: self.ended(self.lives) and not any(life.left() for life in self.lives))
        result.recovery = time.monotonic() - self._healed
        self.live(STAYS)
        for life in self.lives:
            for kind, words in life.judge(self._known.get(life.name)):
                result.blame(kind, f"{life.name} ({life.system.type}, {life.story.name}): {words}")
        for number, controller in enumerate(self.controllers):
            if not controller.identity.alive and number not in self._expected:
                result.blame("ended", f"controller {number} has ended: {controller.log[-1500:]}")
        result.jobs = len(self.lives)
        result.starts = sum(life.system.starts(life.key) for life in self.lives)
        result.submissions = sum(len(master.drivers) for master in self._masters)
        result.seconds = time.monotonic() - self._begun
        if result.struck == 0:
            result.blame("unfired", "the fault never happened")
        if result.wrong:
            result.log = "\n".join(f"== controller {n}\n{c.log}" for n, c in enumerate(self.controllers))
        return result
