"""Whole lives of jobs: the real engine on the stand-in, which dies or is cut off at each of its outbound calls.

The same is done with a real process and a real API server by ``make crash``; here nothing but the controller's own
code runs, so that every call of every story is reached in a minute.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from durablejob_api.names import attempt_key
from durablejob_controller import reconcile
from durablejob_controller.backends.yarn import plugin
from durablejob_controller.errors import KubernetesUnavailable
from durablejob_controller.kube import BACKENDS, JOBS
from tests.backends.yarn import works
from tests.backends.yarn.scripted_yarn import ScriptedYarn
from tests.controller.stage import Stage, staged
from tests.crash.applications import live
from tests.crash.stories import YARN, Story, When

MANNERS = [(moment, how) for moment in ("before", "accepted") for how in ("reset", "death")]
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Lost")
STORIES = [story for story in YARN if story.how != "hold" or story.wish != "strip"]
"""All but the one in which the ResourceManager forgets what runs: that depends on when it does so."""
STRIKES = [(STORIES[0], *manner) for manner in MANNERS]
STRIKES += [(story, *MANNERS[3]) for story in STORIES if story.name in ("rejected", "cancelled", "deleted")]
"""The first story in every manner, some others in one; ``make crash`` has them all."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried soon."""
    monkeypatch.setattr(reconcile, "backoff", lambda times, first=0.02, most=0.2: min(most, first * 2 ** min(times, 9)))


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

    def __init__(self, story: Story, cluster: ScriptedYarn, strike: Strike) -> None:
        self.story, self.cluster, self.strike = story, cluster, strike
        self.wished = False
        self.uid = ""

    @asynccontextmanager
    async def controller(self, before: Stage | None = None) -> AsyncIterator[Stage]:
        """A controller process; a later one finds what is in the API server."""
        async with staged(yarn=plugin) as stage:
            if before is None:
                spec = works.backend(self.cluster.url).to_api()
                await stage.backend(name="fake", **{"plugin": None, **spec})
            else:
                stage.kube.objects, stage.kube._serial = before.kube.objects, before.kube._serial
                await stage.sites.put(stage.kube.objects[(BACKENDS.plural, "data", "fake")])
                for (plural, _, _), raw in list(stage.kube.objects.items()):
                    if plural == JOBS.plural:
                        stage._seen("ADDED", raw)
            yield stage

    async def lived(self) -> Stage:
        """To the end, and one more process if the first one dies."""
        with self.strike.watching(self.cluster.url):
            async with self.controller() as first:
                spec: dict[str, Any] = {
                    "backendRef": {"kind": "JobBackend", "name": "fake", "type": "Yarn"},
                    "plugin": None,
                    "yarn": {"command": self.story.how},
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
        due = bool(mine) if self.story.when is When.ACCEPTED else any(app.program for app in mine)
        if self.wished or self.story.wish is None or not due:
            return
        self.wished = True
        if self.story.wish == "remove":
            for app in mine:
                self.cluster.end(app, "KILLED", "KILLED", "Application killed by user.")
        elif self.story.wish == "delete":
            stage.kube.remove(JOBS, "data", "load")
        else:
            stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})


async def judged(story: Story, strike: Strike) -> None:
    """Live it, and judge by the stand-in's ledger."""
    async with works.serving(ScriptedYarn(live=live)) as cluster:
        life = Life(story, cluster, strike)
        stage = await life.lived()
        key = attempt_key(life.uid, 1)
        where = f"{story.name}, call {strike.number} of {strike.calls}, {strike.moment}, {strike.how}"
        assert cluster.starts(key) == story.starts, where
        if story.state is not None:
            assert (stage.state(), stage.reason()) == (story.state, story.reason), where
        else:
            assert not any(path.startswith(f"/staging/{key}") for path in cluster.files), where
        assert [app.id for app in cluster.active()] == [], where


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_job_on_yarn_ends_as_it_should(story: Story) -> None:
    await judged(story, Strike(None))


@pytest.mark.parametrize(("story", "moment", "how"), STRIKES, ids=lambda value: getattr(value, "name", value))
async def test_it_does_so_whichever_of_its_calls_the_controller_dies_at_or_is_cut_off_at(
    story: Story, moment: str, how: str
) -> None:
    trace = Strike(None)
    await judged(story, trace)
    first: dict[str, int] = {}
    for number, call in enumerate(trace.calls, 1):
        first.setdefault(_named(call), number)
    for number in first.values():
        await judged(story, Strike(number, moment, how))


def _named(call: str) -> str:
    """The call without the names of this run."""
    method, _, what = call.partition(" ")
    return f"{method} {'/'.join(part for part in what.split('/') if not any(c.isdigit() for c in part[-4:]))}"
