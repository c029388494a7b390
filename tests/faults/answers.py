"""Fault 5: answers that are none, that never end, or that say what cannot be."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.backends.faulty_server import misbehave
from tests.crash.bench import Bench
from tests.crash.stories import JOBS, SPARK
from tests.faults.relay import Exchange, Reply
from tests.faults.scene import PATIENCE, Result, Scene

SUCCESS = SPARK[0]
TOLD = ("BackendNotReady", "BackendUnreachable")
"""Reasons by which a job says that its backend gives no usable answer."""


class Malformed:
    """Answers requests in one wrong way, and passes none of those on."""

    def __init__(self, kind: str, elsewhere: str, what: str = "", share: float = 1.0) -> None:
        self.times = 0
        self._kind, self._elsewhere, self._what, self._share = kind, elsewhere, what, share
        self._chance = random.Random(7)

    async def __call__(self, exchange: Exchange) -> None:
        if self._what not in exchange.request.path or self._chance.random() >= self._share:
            await exchange.pass_on()
            return
        self.times += 1
        await misbehave(self._kind, exchange.writer, self._elsewhere)
        await exchange.writer.drain()


class Trap:
    """Where redirects lead: what carries a token is not to come here."""

    def __init__(self) -> None:
        self.lured = 0

    async def __call__(self, exchange: Exchange) -> None:
        # kopf's watch does come, without its token (tests/controller/test_watch.py).
        self.lured += not exchange.request.headers.get("User-Agent", "").startswith("kopf/")
        await exchange.answer(Reply.of(200, b"{}"))


@dataclass(frozen=True)
class Misanswering:
    """A Master answers wrongly for a while: the job says so, the others go on, and it ends right afterwards."""

    kind: str
    seconds: float
    what: str = ""
    """Only what has this in its path; all."""

    @property
    def name(self) -> str:
        return f"Master answers {self.what or 'everything'} with {self.kind}"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master, trap = scene.master(), Trap()
            relay, elsewhere = scene.relay_to(master.url), scene.relay_to("")
            elsewhere.fault = trap
            spark = scene.spark(master, url=relay.url)
            well = scene.spark(scene.master(), "well")
            controller = scene.controller()
            scene.until("it leads", controller.leads)
            scene.submit(spark)
            scene.live(1)  # some of them are under way
            fault = relay.fault = Malformed(self.kind, elsewhere.url, self.what)
            (victim,) = scene.submit(spark, [SUCCESS])
            others = [*scene.submit(well, [SUCCESS] * 3, backend="well"), *scene.submit(scene.kubernetes(), [JOBS[0]])]
            if not scene.live(PATIENCE, lambda: scene.ended(others)):
                scene.result.blame("held", "jobs of other backends did not end meanwhile")
            if not scene.live(self.seconds, lambda: _tells(scene.status(victim), relay.url)):
                scene.result.blame("silent", f"the job does not say what is wrong: {json.dumps(scene.status(victim))}")
            relay.heal()
            scene.healed()
            scene.result.struck = fault.times
            if trap.lured:
                scene.result.blame("lured", f"{trap.lured} redirects were followed")
            return scene.judge()


def _tells(status: dict[str, Any], url: str) -> bool:
    current = status.get("current") or {}
    host = url.removeprefix("http://")
    return current.get("reason") in TOLD or host in (current.get("message") or "")


Change = Callable[[dict[str, Any]], None]


def _unknown_states(body: dict[str, Any]) -> None:
    for driver in (*body.get("activedrivers", ()), *body.get("completeddrivers", ())):
        driver["state"] = "HIBERNATING"
    if "driverState" in body:
        body["driverState"] = "HIBERNATING"


def _unknown_status(body: dict[str, Any]) -> None:
    if "status" in body:
        body["status"] = "DREAMING"


def _foreign_ids(body: dict[str, Any]) -> None:
    """The answers name a driver that is not ours; the list has strangers' drivers, some under our ids."""
    if "submissionId" in body:
        body["submissionId"] = "driver-20200101000000-0000"
    if "activedrivers" in body:
        known = [*body["activedrivers"], *body["completeddrivers"]]
        strangers = [{**driver, "mainclass": "org.example.Stranger", "state": "FINISHED"} for driver in known]
        body["completeddrivers"] += [*strangers, {**_STRANGER, "id": "driver-20200101000000-0000"}]


_STRANGER = {"state": "FAILED", "cores": 1, "memory": 512, "mainclass": "org.example.Other"}


class Altered:
    """Passes right answers on, changed."""

    def __init__(self, change: Change) -> None:
        self.times = 0
        self._change = change

    async def __call__(self, exchange: Exchange) -> None:
        reply = await exchange.ask()
        try:
            body = json.loads(reply.body)
        except ValueError:
            await exchange.answer(reply)
            return
        before = json.dumps(body)
        self._change(body)
        self.times += json.dumps(body) != before
        await exchange.answer(Reply(reply.status, reply.headers, json.dumps(body).encode()))


@dataclass(frozen=True)
class Strange:
    """A Master says what cannot be, for a while."""

    name: str
    change: Change
    seconds: float

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            master = scene.master()
            relay = scene.relay_to(master.url)
            spark = scene.spark(master, url=relay.url)
            controller = scene.controller()
            scene.until("it leads", controller.leads)
            scene.submit(spark)
            scene.live(1)
            fault = relay.fault = Altered(self.change)
            scene.submit(spark)
            scene.live(self.seconds)
            relay.heal()
            scene.healed()
            scene.result.struck = fault.times
            return scene.judge()


@dataclass(frozen=True)
class MisansweringKube:
    """kube-apiserver (or a proxy before it) answers half of the requests wrongly for a while."""

    kind: str
    seconds: float

    @property
    def name(self) -> str:
        return f"kube-apiserver answers half of all with {self.kind}"

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            trap, elsewhere, relay = Trap(), scene.relay_to(""), scene.relay_to_kube()
            elsewhere.fault = trap
            spark, jobs = scene.spark(scene.master()), scene.kubernetes()
            controller = scene.controller(relay=relay)
            scene.until("it leads", controller.leads)
            fault = relay.fault = Malformed(self.kind, elsewhere.url, share=0.5)
            scene.submit(spark)
            scene.submit(jobs)
            scene.live(self.seconds)
            relay.heal()
            scene.healed()
            scene.result.struck = fault.times
            if trap.lured:
                scene.result.blame("lured", f"{trap.lured} redirects were followed")
            return scene.judge()


KINDS = ("HTML with 200", "half a JSON", "half a body", "an empty object", "an endless body", "a byte a second",
         "a redirect", "silence", "a reset", "no HTTP")  # fmt: skip


def short() -> list[Misanswering | Strange | MisansweringKube]:
    """The part that runs with the tests."""
    return [
        Misanswering("HTML with 200", 15),
        MisansweringKube("an empty object", 6),
    ]


def cells() -> list[Misanswering | Strange | MisansweringKube]:
    """All of it."""
    return [
        *(Misanswering(kind, 30) for kind in KINDS),
        *(Misanswering(kind, 30, "/create") for kind in KINDS),
        Misanswering("HTML with 200", 30, "/json/"),
        Misanswering("a byte a second", 30, "/json/"),
        Strange("Master speaks of unknown states", _unknown_states, 10),
        Strange("Master says that it is in an unknown state", _unknown_status, 10),
        Strange("Master names drivers that are not ours", _foreign_ids, 10),
        *(MisansweringKube(kind, 15) for kind in KINDS),
    ]
