"""Whole lives of jobs: the real engine on the stand-in, which dies or is cut off at each of its outbound calls.

Generic applications behind the staging fence, and Spark's behind the start gate, whose drivers ask the real one. The
same is done with a real process and a real API server by ``make crash``; here nothing but the controller's own
code runs, so that every call of every story is reached in a minute.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestServer, unused_port
from kubernetes.client import ApiClient

from durablejob_api.names import attempt_key
from durablejob_controller import gated as gated_rules
from durablejob_controller.backends.yarn import plugin
from durablejob_controller.errors import KubernetesUnavailable
from durablejob_controller.gate import Gate
from durablejob_controller.kube import BACKENDS, JOBS
from tests.backends.yarn import works
from tests.backends.yarn.scripted_yarn import App, ScriptedYarn
from tests.controller.stage import FAST, TOKENS, Stage, pause, staged
from tests.crash.applications import live
from tests.crash.stories import GATED_YARN, YARN, Story, When
from tests.crash.yarn import GatedYarnSystem, YarnSystem

MANNERS = [(moment, how) for moment in ("before", "accepted") for how in ("reset", "death")]
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Lost")
STORIES = [story for story in YARN if story.how != "hold" or story.wish != "strip"]
"""All but the one in which the ResourceManager forgets what runs: that depends on when it does so."""
LIVES = [(story, False) for story in STORIES] + [(story, True) for story in GATED_YARN]
"""Each story, and whether it is one of Spark's behind the gate."""
STRIKES = [(STORIES[0], False, *manner) for manner in MANNERS] + [(GATED_YARN[0], True, *MANNERS[2])]
STRIKES += [(story, gated, *MANNERS[3]) for story, gated in LIVES if story.name in ("rejected", "cancelled", "deleted")]
STRIKES += [(story, True, *MANNERS[3]) for story in GATED_YARN if story.name in ("success", "failure")]
"""The first story in every manner, some others in one; ``make crash`` has them all."""
SYSTEMS = {False: YarnSystem, True: GatedYarnSystem}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried soon."""
    monkeypatch.setattr(gated_rules, "LOST_GRACE", 1.0)
    monkeypatch.setattr(gated_rules, "STARTING_GRACE", 1.0)
    pause(monkeypatch, lambda times, first=0.02, most=0.2: min(most, first * 2 ** min(times, 9)))


class Strike:
    """Cuts off, or kills, at one outbound call."""

    def __init__(self, number: int | None, moment: str = "before", how: str = "reset") -> None:
        self.number, self.moment, self.how = number, moment, how
        self.calls: list[str] = []
        self.dead = False
        self.struck = False

    def due(self) -> bool:
        return self.number is not None and len(self.calls) == self.number and not self.struck

    def fall(self, error: httpx.TransportError) -> None:
        self.struck = True
        self.dead = self.how == "death"
        raise error

    @contextmanager
    def watching(self, url: str) -> Iterator[None]:
        """Every call to the external system passes here."""
        send = httpx.AsyncHTTPTransport.handle_async_request

        async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            if not str(request.url).startswith(url):
                return await send(transport, request)
            if self.dead:
                raise httpx.ConnectError("it is dead")
            self.calls.append(f"{request.method} {request.url.params.get('op') or request.url.path}")
            due = self.due()
            if due and self.moment == "before":
                self.fall(httpx.ConnectError("refused"))
            response = await send(transport, request)
            if due:
                await response.aclose()
                self.fall(httpx.ReadError("reset"))
            return response

        setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)  # noqa: B010 -- mypy forbids assigning it
        try:
            yield
        finally:
            setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)  # noqa: B010


class Life:
    """One job's life under one strike."""

    def __init__(self, story: Story, gated: bool, cluster: ScriptedYarn, strike: Strike) -> None:
        self.story, self.gated, self.cluster, self.strike = story, gated, cluster, strike
        self.system = SYSTEMS[gated](cluster, ApiClient(), "data")
        self.port = unused_port()
        """The gate's, also after the controller has died."""
        self.wished = False
        self.uid = ""

    @asynccontextmanager
    async def controller(self, before: Stage | None = None) -> AsyncIterator[Stage]:
        """A controller process; a later one finds what is in the API server."""
        settings = replace(FAST, gate_url=f"http://127.0.0.1:{self.port}")
        async with staged(settings, yarn=plugin) as stage:
            if before is None:
                await stage.backend(name="fake", **{"plugin": None, **self.system.backend()})
            else:
                stage.kube.objects, stage.kube._serial = before.kube.objects, before.kube._serial
                await stage.sites.put(stage.kube.objects[(BACKENDS.plural, "data", "fake")])
                for (plural, _, _), raw in list(stage.kube.objects.items()):
                    if plural == JOBS.plural:
                        stage._seen("ADDED", raw)
            gate = Gate(stage.kube, TOKENS, stage.registry, stage.sites, stage.jobs, stage.queue, stage.events)
            async with TestServer(gate.application(), port=self.port):
                yield stage

    async def lived(self) -> Stage:
        """To the end, and one more process if the first one dies."""
        with self.strike.watching(self.cluster.url):
            async with self.controller() as first:
                spec: dict[str, Any] = {
                    "backendRef": {"kind": "JobBackend", "name": "fake", "type": "Yarn"},
                    "plugin": None,
                    **self.system.work(self.story),
                    "ttlSecondsAfterFinished": self.story.ttl,
                }
                self.strike.calls.clear()
                self.uid = first.job(**spec)
                await self._work(first)
                if not self.strike.dead:
                    return first
                for verb in ("get", "replace", "patch", "delete", "list", "create"):
                    for resource in (JOBS, BACKENDS):
                        first.kube.fail(verb, resource, KubernetesUnavailable("it is dead"), times=10**6)
            self.strike.dead = False
            async with self.controller(first) as second:
                await self._work(second)
                return second

    async def _work(self, stage: Stage) -> None:
        await stage.work(lambda: self.strike.dead or self._over(stage), patience=30)

    def _over(self, stage: Stage) -> bool:
        self._wish(stage)
        if (JOBS.plural, "data", "load") not in stage.kube.objects:
            return self.story.state is None
        return self.story.state is not None and stage.state() in TERMINAL

    def _wish(self, stage: Stage) -> None:
        key = attempt_key(self.uid, 1)
        mine = [app for app in self.cluster.runs if app.key == key]
        if self.wished or self.story.wish is None or not self._due(stage, mine):
            return
        self.wished = True
        if self.story.wish == "remove":
            for app in mine:
                self.cluster.end(app, "KILLED", "KILLED", "Application killed by user.")
        elif self.story.wish == "delete":
            stage.kube.remove(JOBS, "data", "load")
        else:
            stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})

    def _due(self, stage: Stage, mine: list[App]) -> bool:
        match self.story.when:
            case When.ACCEPTED:
                return bool(mine)
            case When.SUBMITTED:
                return stage.state() == "Submitted"
        return any(app.program for app in mine)


async def judged(story: Story, gated: bool, strike: Strike) -> None:
    """Live it, and judge by the stand-in's ledger."""
    async with works.serving(ScriptedYarn(live=live)) as cluster:
        life = Life(story, gated, cluster, strike)
        stage = await life.lived()
        key = attempt_key(life.uid, 1)
        where = f"{story.name}, call {strike.number} of {strike.calls}, {strike.moment}, {strike.how}"
        assert cluster.starts(key) == story.starts, where
        if story.state is not None:
            assert (stage.state(), stage.reason()) == (story.state, story.reason), where
        else:
            assert not any(path.startswith(f"/staging/{key}") for path in cluster.files), where
        assert [app.id for app in cluster.active()] == [], where


def _named_as(value: Any) -> str:
    """A part of a test's name."""
    return {True: "gate", False: "staging"}[value] if isinstance(value, bool) else getattr(value, "name", value)


@pytest.mark.parametrize(("story", "gated"), LIVES, ids=_named_as)
async def test_a_job_on_yarn_ends_as_it_should(story: Story, gated: bool) -> None:
    await judged(story, gated, Strike(None))


@pytest.mark.parametrize(("story", "gated", "moment", "how"), STRIKES, ids=_named_as)
async def test_it_does_so_whichever_of_its_calls_the_controller_dies_at_or_is_cut_off_at(
    story: Story, gated: bool, moment: str, how: str
) -> None:
    trace = Strike(None)
    await judged(story, gated, trace)
    first: dict[str, int] = {}
    for number, call in enumerate(trace.calls, 1):
        first.setdefault(_named(call), number)
    for number in first.values():
        await judged(story, gated, Strike(number, moment, how))


def _named(call: str) -> str:
    """The call without the names of this run."""
    method, _, what = call.partition(" ")
    return f"{method} {'/'.join(part for part in what.split('/') if not any(c.isdigit() for c in part[-4:]))}"
