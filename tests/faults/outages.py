"""Fault 4: kube-apiserver and etcd killed under load; systems that say "later", and that forget."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.crash.bench import Bench
from tests.crash.stories import JOBS, SPARK
from tests.crash.systems import JobSystem, SparkSystem
from tests.faults.relay import Exchange, Reply
from tests.faults.scene import Result, Scene


class Load:
    """Creates a job now and then, in a thread; what the API server did not take is tried again, as an operator does."""

    def __init__(self, scene: Scene, every: float) -> None:
        self._scene, self._every = scene, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.refused = 0
        """Tries that came while the API server was away."""

    def __enter__(self) -> Load:
        self._systems: list[SparkSystem | JobSystem] = [
            self._scene.spark(self._scene.master()),
            self._scene.kubernetes(),
        ]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(self._every):
            system = self._systems[number % 2]
            stories = (SPARK, JOBS)[number % 2]
            try:
                self._scene.submit(system, [stories[number // 2 % len(stories)]])
            except (ApiException, HTTPError):
                self.refused += 1
            else:
                number += 1


RECONNECTS = 180.0
"""Seconds in which kube-apiserver finds its etcd again: it tries ever more seldom, up to every two minutes (gRPC)."""


@dataclass(frozen=True)
class Away:
    """kube-apiserver, etcd or both are killed with SIGKILL under load, stay away, and are started again."""

    what: tuple[str, ...]
    seconds: float
    every: float = 0.5
    """Seconds between two jobs."""

    @property
    def name(self) -> str:
        return f"{' and '.join(self.what)} killed -9 under load, away for {self.seconds:g} s"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            controllers = [scene.controller(), scene.controller()]
            scene.until("one leads", lambda: any(controller.leads() for controller in controllers))
            with Load(scene, self.every) as load:
                scene.live(6)
                for part in self.what:
                    getattr(bench.cluster, f"stop_{part}")()
                began = time.monotonic()
                scene.live(self.seconds)
                for part in reversed(self.what):
                    getattr(bench.cluster, f"start_{part}")()
                if "etcd" in self.what and "apiserver" not in self.what:
                    bench.cluster.start_apiserver(RECONNECTS)
                bench.cluster.restart_controllers()
                scene.healed()
                scene.result.struck = load.refused
                scene.live(5)
            print(f"faults: {self.name}: {time.monotonic() - began - 5:.0f} s away, {load.refused} creations refused, "
                  f"{len(scene.lives)} jobs", flush=True)  # fmt: skip
            return scene.judge()


class Busy:
    """A share of the requests is answered 429 or 503, with Retry-After, and not passed on."""

    def __init__(self, status: int, share: float) -> None:
        self.times = 0
        self._status, self._share = status, share
        self._chance = random.Random(7)

    async def __call__(self, exchange: Exchange) -> None:
        if self._chance.random() >= self._share:
            await exchange.pass_on()
            return
        self.times += 1
        words = b'{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "later"}'
        await exchange.answer(Reply.of(self._status, words, Retry_After="1"))


@dataclass(frozen=True)
class Later:
    """The API server, or the Master, says "later" to many requests; all stories end right meanwhile."""

    side: str
    """``kube-apiserver`` or ``Master``."""
    status: int
    share: float = 0.5

    @property
    def name(self) -> str:
        return f"{self.side} answers {self.status} to {self.share:.0%} of the requests"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master = scene.master()
            to_master, to_kube = scene.relay_to(master.url), scene.relay_to_kube()
            fault = Busy(self.status, self.share)
            controller = scene.controller(relay=to_kube)
            scene.until("it leads", controller.leads)
            (to_master if self.side == "Master" else to_kube).fault = fault
            scene.submit(scene.spark(master, url=to_master.url))
            scene.submit(scene.kubernetes())
            scene.live(40, lambda: scene.ended(scene.lives))
            to_master.heal()
            to_kube.heal()
            scene.healed()
            scene.result.struck = fault.times
            return scene.judge()


@dataclass(frozen=True)
class Evicted:
    """The Master remembers no driver that has ended: the end is known by the driver's own last report."""

    name: str = "Master forgets each driver at its end"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master = scene.master(retained=0)
            scene.controller()
            spark = scene.spark(master)
            # Whose end nobody reports is Lost, and rightly so: killed from outside, without a word.
            reported = [story for story in SPARK if story.name not in ("killed from outside", "cancelled")]
            scene.submit(spark, reported)
            scene.healed()
            scene.live(30, lambda: scene.ended(scene.lives))
            scene.result.struck = sum(driver.forgotten for driver in list(master.drivers.values()))
            return scene.judge()


def cells() -> list[Away | Later | Evicted]:
    """All of it, without the outages."""
    return [
        *(Later(side, status) for side in ("kube-apiserver", "Master") for status in (429, 503)),
        Evicted(),
    ]


def away() -> list[Away]:
    """Outages: one after the other, with nothing beside them."""
    return [Away(("apiserver", "etcd"), 90), Away(("apiserver",), 30), Away(("etcd",), 30)]


def away_short() -> list[Away]:
    """The one that runs with the tests."""
    return [Away(("apiserver", "etcd"), 15)]
