"""Fault 3: more than one leader, one stopped in mid-step, requests that are repeated or sleep, other clocks."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.crash.bench import Bench
from tests.crash.hook import Crash, How, Moment, Since
from tests.crash.life import Life
from tests.crash.stories import JOBS, SPARK, Story
from tests.crash.systems import JobSystem, SparkSystem
from tests.faults.relay import Exchange, Relay
from tests.faults.scene import Controller, Result, Scene

AFTER = 3.0
"""Seconds that a stopped leader gets, once it goes on, to do what it had begun."""
SLOTS = 50
"""Drivers for which the Master's workers have room."""
RETAINED = 200
"""Drivers that have ended which a Master remembers (Spark's default)."""


def _pair(scene: Scene, crash: Crash | None = None) -> tuple[Controller, Controller]:
    """A leader, and one that stands by."""
    first = scene.controller(crash=crash)
    scene.until("the first controller leads", first.leads)
    return first, scene.controller()


def _story(stories: tuple[Story, ...], name: str) -> Story:
    return next(story for story in stories if story.name == name)


@dataclass(frozen=True)
class Stopped:
    """The leader is stopped at one of its calls; the other takes over, and ends this job and many others."""

    system: str
    call: str
    moment: Moment
    seconds: float
    """How long it is stopped, at least."""
    story: str = "success"
    others: int = 5
    """Jobs that are submitted after the stop, and end before the stopped one goes on."""
    retained: int = RETAINED

    @property
    def name(self) -> str:
        many = f", {self.others} jobs meanwhile" if self.others > 20 else ""
        return f"leader stopped {self.seconds:g} s: {self.call}, {self.moment}, {self.story}{many}"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            spark = self.system == SparkSystem.type
            system = scene.spark(scene.master(self.retained, SLOTS)) if spark else scene.kubernetes()
            stories = SPARK if spark else JOBS
            first, second = _pair(scene, Crash(self.call, self.moment, How.STOP, since=Since.START))
            held = scene.submit(system, [_story(stories, self.story)])
            scene.until("the leader is stopped", lambda: first.fired)
            begun = time.monotonic()
            scene.until("the other leads", second.leads)
            others = scene.submit(system, [_story(stories, "success")] * self.others)
            patience = 60 + 0.4 * self.others
            scene.until("the job that was held has ended", lambda: scene.ended(held), patience)
            scene.until("the others have ended", lambda: scene.ended(others), patience)
            scene.live(self.seconds - (time.monotonic() - begun))
            scene.result.struck = int(first.fired)
            first.go_on()
            scene.healed()
            scene.live(AFTER)
            return scene.judge()


class Sleeping:
    """A proxy in which the first submission sleeps: it arrives long after everybody has given it up."""

    def __init__(self) -> None:
        self.caught = threading.Event()
        self.awake = threading.Event()
        self.arrived = threading.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.path.endswith("/create") and not self.caught.is_set():
            self.caught.set()
            await asyncio.to_thread(self.awake.wait)
            reply = await exchange.ask()
            self.arrived.set()
            await exchange.answer(reply)
        else:
            await exchange.pass_on()


@dataclass(frozen=True)
class Late:
    """The leader is stopped while its submission is on its way, and that arrives after the run was forgotten."""

    seconds: float
    name: str = field(default="leader stopped, its submission sleeps in a proxy till all is forgotten", init=False)

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master = scene.master(retained=0)
            relay = scene.relay_to(master.url)
            proxy = relay.fault = Sleeping()
            system = scene.spark(master, url=relay.url)
            first, second = _pair(scene)
            (life,) = scene.submit(system, [_story(SPARK, "success")])
            scene.until("the submission is on its way", proxy.caught.is_set)
            begun = time.monotonic()
            first.stop()
            scene.until("the other leads", second.leads)
            scene.until("it has ended", lambda: scene.ended([life]), 40)
            scene.live(self.seconds - (time.monotonic() - begun))
            proxy.awake.set()
            scene.until("the submission has arrived", proxy.arrived.is_set)
            first.go_on()
            scene.healed()
            scene.live(AFTER)
            scene.result.struck = int(proxy.arrived.is_set())
            # It was accepted as another driver, which the gate turns away.
            if len(master.drivers) < 2:
                scene.result.blame("unfired", "the late submission was not accepted")
            return scene.judge()


class Repeating:
    """A proxy that sends a share of the writes on twice, and passes the second answer back."""

    def __init__(self, share: float = 0.4) -> None:
        self.times = 0
        self._share = share
        self._chance = random.Random(7)

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.method != "GET" and self._chance.random() < self._share:
            await exchange.ask()
            self.times += 1
        await exchange.pass_on()


@dataclass(frozen=True)
class Without:
    """Several controllers that all decide: without any lease, or each with one of its own."""

    name: str
    count: int = 3
    leases: bool = False
    repeating: bool = False
    """Many writes, to the API server and to the Master, are sent twice."""

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master = scene.master()
            relays: list[Relay] = [scene.relay_to(master.url)]
            proxies = []
            spark, jobs = scene.spark(master, url=relays[0].url), scene.kubernetes()
            for number in range(self.count):
                relays.append(scene.relay_to_kube())
                scene.controller(relay=relays[-1], elect=self.leases, lease=f"lease-{number}")
            if self.repeating:
                for relay in relays:
                    proxies.append(Repeating())
                    relay.fault = proxies[-1]
            scene.until("all decide", lambda: all(c.leads() if self.leases else c.ready() for c in scene.controllers))
            scene.submit(spark)
            scene.submit(jobs)
            scene.live(40, lambda: scene.ended(scene.lives))
            if self.repeating:
                for relay in relays:
                    relay.heal()
            scene.healed()
            deciding = sum("PUT durablejobs/status" in controller.trace for controller in scene.controllers)
            scene.result.struck = sum(proxy.times for proxy in proxies) if self.repeating else deciding
            if deciding < self.count:
                scene.result.blame("unfired", f"only {deciding} controllers have decided")
            return scene.judge()


HOURS = 3600.0


@dataclass(frozen=True)
class Skewed:
    """The leader dies, and its successor's clock is hours off; jobs have half an hour, and as much to live on."""

    name: str
    first: float
    """Seconds that the first one's clock is ahead."""
    second: float

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            spark, jobs = scene.spark(scene.master()), scene.kubernetes()
            first = scene.controller(skew=self.first)
            scene.until("the first controller leads", first.leads)
            second = scene.controller(skew=self.second)
            lives: list[Life] = []
            for system, stories in ((spark, SPARK), (jobs, JOBS)):
                lives += self._submit(scene, system, stories)
            started: Callable[[], bool] = lambda: all(life.system.starts(life.key) for life in lives)  # noqa: E731
            scene.until("their programs run", started)
            first.kill()
            scene.tolerate_end_of(first)
            scene.healed()
            scene.until("the other leads", second.leads)
            scene.live(3)
            scene.result.struck = 1
            return scene.judge()

    @staticmethod
    def _submit(scene: Scene, system: SparkSystem | JobSystem, stories: tuple[Story, ...]) -> list[Life]:
        named = [_story(stories, name) for name in ("success", "failure", "cancelled")]
        return scene.submit(system, named, activeDeadlineSeconds=1800, ttlSecondsAfterFinished=1800)


SUBMISSION = "POST /v1/submissions/create"
ACTIVATION = "PATCH jobs"


def short() -> list[Stopped | Late | Without | Skewed]:
    """The part that runs with the tests."""
    return [
        Stopped(SparkSystem.type, SUBMISSION, Moment.BEFORE, 5),
        Stopped(JobSystem.type, ACTIVATION, Moment.BEFORE, 5),
        Without("three controllers without any lease, many writes repeated", repeating=True),
        Skewed("the successor's clock is 6 h ahead", 0, 6 * HOURS),
    ]


def cells() -> list[Stopped | Late | Without | Skewed]:
    """All of it."""
    spark, kubernetes = SparkSystem.type, JobSystem.type
    write = "PUT durablejobs/status"
    minute = 60.0
    return [
        Stopped(spark, SUBMISSION, Moment.BEFORE, minute),
        Stopped(spark, SUBMISSION, Moment.ACCEPTED, minute),
        Stopped(spark, f"{write} [Submitting, claim Open]", Moment.BEFORE, minute),
        Stopped(spark, f"{write} [Succeeded, claim Ended]", Moment.BEFORE, minute),
        Stopped(spark, "POST /v1/submissions/kill/ID", Moment.BEFORE, minute, "cancelled"),
        Stopped(spark, SUBMISSION, Moment.BEFORE, minute, "its time to live is over"),
        Stopped(kubernetes, "POST jobs", Moment.BEFORE, minute),
        Stopped(kubernetes, ACTIVATION, Moment.BEFORE, minute),
        Stopped(kubernetes, ACTIVATION, Moment.ACCEPTED, minute),
        Stopped(kubernetes, ACTIVATION, Moment.BEFORE, minute, "its time to live is over"),
        Stopped(kubernetes, "DELETE jobs", Moment.BEFORE, minute, "cancelled"),
        Late(minute),
        Without("three controllers without any lease"),
        Without("three controllers without any lease, many writes repeated", repeating=True),
        Without("three controllers, each with a lease of its own", leases=True),
        Skewed("the successor's clock is 6 h ahead", 0, 6 * HOURS),
        Skewed("the successor's clock is 6 h behind", 0, -6 * HOURS),
        Skewed("the first leader's clock was 6 h ahead", 6 * HOURS, 0),
    ]


def crowd() -> list[Stopped]:
    """By itself, as it takes all there is."""
    return [Stopped(SparkSystem.type, SUBMISSION, Moment.BEFORE, 60, others=1000)]
