"""The relay passes on what it should, and each fault does what its name says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.faults.leaders import Repeating
from tests.faults.outages import Busy
from tests.faults.relay import Relay, Service
from tests.faults.watch_faults import Backwards, Broken, Dropped, Gone, OldLists, Repeated

LIST = "/apis/durablejob.io/v1alpha1/namespaces/n/durablejobs"
WATCH = f"{LIST}?watch=true"


def event(uid: str, version: int) -> dict[str, Any]:
    return {"type": "MODIFIED", "object": {"metadata": {"uid": uid, "resourceVersion": str(version)}}}


EVENTS = [event("a", 1), event("b", 2), event("a", 3), event("a", 4)]


class Upstream:
    """Notes what it is asked; its list changes with every answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {await request.text()}")
        if "watch" not in request.query:
            return web.json_response({"items": [], "number": len(self.asked)})
        stream = web.StreamResponse()
        await stream.prepare(request)
        for one in EVENTS:
            await stream.write(json.dumps(one).encode() + b"\n")
        return stream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    its = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", its.answer)
    async with TestServer(app) as server:
        its.url = str(server.make_url("")).rstrip("/")
        yield its


async def ask(relay: Relay, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return await client.request(method, relay.url + path, content=b"body" if method != "GET" else None)


async def told(relay: Relay) -> list[str]:
    """Object and version of each event of a watch."""
    lines = [json.loads(line)["object"]["metadata"] for line in (await ask(relay, WATCH)).text.splitlines()]
    return [f"{meta['uid']}{meta['resourceVersion']}" for meta in lines]


@pytest.fixture
async def relay(upstream: Upstream) -> AsyncIterator[Relay]:
    its = Relay(upstream.url)
    await asyncio.to_thread(its.__enter__)  # it has a thread and a loop of its own
    yield its
    await asyncio.to_thread(its.__exit__)


async def test_without_a_fault_all_is_passed_on(relay: Relay, upstream: Upstream) -> None:
    assert (await ask(relay, LIST)).json() == {"items": [], "number": 1}
    assert (await ask(relay, LIST, "POST")).status_code == 200
    assert await told(relay) == ["a1", "b2", "a3", "a4"]
    assert upstream.asked == ["GET ", "POST body", "GET "]


async def test_events_are_lost_repeated_and_told_again(relay: Relay) -> None:
    relay.fault = Dropped()
    assert await told(relay) == ["a3"]
    relay.fault = Repeated()
    assert await told(relay) == [name for name in ("a1", "b2", "a3", "a4") for _ in range(3)]
    relay.fault = Backwards()
    assert await told(relay) == ["a1", "b2", "a3", "a1", "a4", "a3", "a1"]


async def test_watches_break_and_are_too_old(relay: Relay) -> None:
    relay.fault = Broken()
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(relay, WATCH)
    relay.fault = Gone()
    assert json.loads((await ask(relay, WATCH)).text)["object"]["code"] == 410
    assert (await ask(relay, WATCH)).status_code == 410


async def test_lists_come_from_the_past(relay: Relay) -> None:
    relay.fault = fault = OldLists(age=0.3)
    assert [(await ask(relay, LIST)).json()["number"] for _ in range(3)] == [1, 1, 1]
    await asyncio.sleep(0.4)
    assert (await ask(relay, LIST)).json()["number"] == 3
    assert fault.times == 3


async def test_writes_are_repeated_and_refused(relay: Relay, upstream: Upstream) -> None:
    relay.fault = Repeating(share=1)
    await ask(relay, LIST, "PUT")
    await ask(relay, LIST)
    assert upstream.asked == ["PUT body", "PUT body", "GET "]
    relay.fault = Busy(429, share=1)
    answer = await ask(relay, LIST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert len(upstream.asked) == 3


async def test_a_service_asks_the_next_that_answers(relay: Relay, upstream: Upstream) -> None:
    service = relay.fault = Service()
    service.members += ["http://127.0.0.1:9", upstream.url]
    for _ in range(3):
        assert (await ask(relay, LIST)).status_code == 200
    service.members.pop()
    with pytest.raises(httpx.HTTPError):
        await ask(relay, LIST)
