"""The watch: whatever the API server answers, it is begun anew."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes import client as kubernetes_client

from durablejob_api import GROUP, VERSION
from durablejob_controller.engine import Engine
from durablejob_controller.handlers import Watch
from durablejob_controller.settings import Settings
from tests.controller.fake_kube import job_object

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
PLURALS = {"durablejobs": "DurableJob", "jobbackends": "JobBackend", "clusterjobbackends": "ClusterJobBackend"}


class Told:
    """An engine that only notes what it is told."""

    def __init__(self) -> None:
        self.names: asyncio.Queue[str] = asyncio.Queue()

    def job_seen(self, _: str | None, raw: dict[str, Any]) -> None:
        self.names.put_nowait(raw["metadata"]["name"])

    async def backend_seen(self, kind: str | None, raw: dict[str, Any]) -> None:
        """Nothing."""


async def _discovery(request: web.Request) -> web.Response:
    version = f"{GROUP}/{VERSION}"
    verbs = ["get", "list", "watch", "patch"]
    parts = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}
        for plural, kind in PLURALS.items()
    ]
    group = {"name": GROUP, "versions": [{"version": VERSION}], "preferredVersion": {"version": VERSION}}
    spaces = {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False, "verbs": verbs}
    answers: dict[str, Any] = {
        "/api": {"versions": ["v1"]},
        "/api/v1": {"groupVersion": "v1", "resources": [spaces]},
        "/apis": {"groups": [group]},
        f"/apis/{version}": {"groupVersion": version, "resources": parts},
    }
    return web.json_response(answers[request.path])


@asynccontextmanager
async def api_server(answering: Answering) -> AsyncIterator[str]:
    """One that knows our kinds; ``answering`` answers every list and watch."""
    app = web.Application()
    for path in ("/api", "/api/v1", "/apis", f"/apis/{GROUP}/{VERSION}"):
        app.router.add_get(path, _discovery)
    app.router.add_get(f"/apis/{GROUP}/{VERSION}/{{rest:.*}}", answering)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def _gone() -> web.Response:
    return web.json_response({"kind": "Status", "code": 410, "reason": "Expired"}, status=410)


WRONG: dict[str, Callable[[], web.Response]] = {
    "410 by the status": _gone,
    "HTML with 200": lambda: web.Response(text="<html>log in</html>", content_type="text/html"),
}


async def begun_anew(where: str, wrong: str) -> bool:
    """Whether a watch, answered wrongly once, tells of what is there and of what comes."""
    answered_wrongly = False
    over = asyncio.Event()

    async def answering(request: web.Request) -> web.StreamResponse:
        nonlocal answered_wrongly
        watching = "watch" in request.query
        ours = request.path.endswith("/durablejobs")
        if ours and not answered_wrongly and watching == (where == "watch"):
            answered_wrongly = True
            return WRONG[wrong]()
        if not watching:
            items = [job_object("found", "default")] if ours and answered_wrongly else []
            return web.json_response({"kind": "List", "metadata": {"resourceVersion": "7"}, "items": items})
        stream = web.StreamResponse()
        await stream.prepare(request)
        if ours:
            event = {"type": "ADDED", "object": job_object("came", "default")}
            await stream.write(json.dumps(event).encode() + b"\n")
        await over.wait()
        return stream

    async with api_server(answering) as url:
        configuration = kubernetes_client.Configuration()
        configuration.host = url
        engine = Told()
        watch = asyncio.create_task(Watch(cast(Engine, engine), Settings(), configuration).run())
        names: set[str] = set()
        try:
            async with asyncio.timeout(30):
                while names != {"found", "came"}:
                    names.add(await engine.names.get())
        except TimeoutError:
            return False
        finally:
            over.set()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
    return answered_wrongly


@pytest.mark.filterwarnings("ignore:.*ClientSession.__del__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("where", "wrong"), [("list", "HTML with 200"), ("watch", "410 by the status")])
async def test_a_watch_that_fails_is_begun_anew(where: str, wrong: str) -> None:
    """What else kopf does not expect ends it in the same way; it takes five seconds for that."""
    assert await begun_anew(where, wrong)
    gc.collect()  # kopf leaves its session to the collector


async def test_the_token_is_not_sent_where_a_redirect_leads() -> None:
    """aiohttp follows it, which harms nobody: who can redirect what is asked could as well answer it."""
    over, lured, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    told: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        told.append(request.headers.get("Authorization"))
        lured.set()
        await over.wait()
        return web.Response(status=503)

    async def answering(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == "Bearer secret":
            asked.set()
        return web.Response(status=307, headers={"Location": str(server.make_url("/x"))})

    trap = web.Application()
    trap.router.add_get("/{rest:.*}", elsewhere)
    async with TestServer(trap) as server, api_server(answering) as url:
        configuration = kubernetes_client.Configuration()
        configuration.host = url
        configuration.api_key = {"authorization": "secret"}
        configuration.api_key_prefix = {"authorization": "Bearer"}
        watch = asyncio.create_task(Watch(cast(Engine, Told()), Settings(), configuration).run())
        try:
            async with asyncio.timeout(20):
                await lured.wait()
        finally:
            over.set()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
    assert asked.is_set()
    assert set(told) == {None}


async def test_a_watch_that_cancels_itself_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: queue.Queue[None] = queue.Queue()

    async def operator(**_: Any) -> None:
        begun.put(None)
        raise asyncio.CancelledError

    monkeypatch.setattr("durablejob_controller.handlers.kopf.operator", operator)
    monkeypatch.setattr("durablejob_controller.handlers.AGAIN_AFTER", 0.01)
    watch = asyncio.create_task(Watch(cast(Engine, Told()), Settings(), kubernetes_client.Configuration()).run())
    try:
        for _ in range(3):
            await asyncio.to_thread(begun.get, timeout=10)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
