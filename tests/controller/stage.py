"""The engine's parts put together on an in-memory API server, for one test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durablejob_controller import external, reconcile
from durablejob_controller.backends.contract import Plugin
from durablejob_controller.backends.fake import FakePlugin
from durablejob_controller.backends.registry import Registry
from durablejob_controller.backends.spark_standalone import plugin as spark_standalone
from durablejob_controller.events import EventRecorder
from durablejob_controller.jobs import JobEntry, Jobs
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, JOBS, Object
from durablejob_controller.queue import WorkQueue
from durablejob_controller.reconcile import Reconciler
from durablejob_controller.settings import Settings
from durablejob_controller.sites import Sites
from durablejob_controller.tokens import Keys, Tokens
from tests.controller.fake_kube import FakeKube, backend_object, job_object
from tests.controller.scripted_backend import ScriptedBackend, ScriptedPlugin

TOKENS = Tokens(Keys({"k1": b"0123456789abcdef0123456789abcdef"}, "k1"))
FAST = Settings(
    poll_interval=0.02, request_timeout=1.0, probe_interval=0.05, own_namespace="system", gate_url="http://g"
)
PATIENCE = 10.0
"""Seconds until a test gives up: the machine may be busy."""


def pause(monkeypatch: pytest.MonkeyPatch, backoff: Callable[..., float]) -> None:
    """What is tried again is tried after these seconds."""
    for module in (external, reconcile):
        monkeypatch.setattr(module, "backoff", backoff)


async def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it does not come true"
        await asyncio.sleep(0.005)


class Stage:
    """One leader; its watch is told of every change of a DurableJob, and of backends when ``backend`` is used."""

    def __init__(self, settings: Settings = FAST, **plugins: Plugin) -> None:
        self.kube = FakeKube()
        self.scripted = ScriptedBackend()
        known: dict[str, Plugin] = {"fake": FakePlugin(), "scripted": ScriptedPlugin({"": self.scripted}), **plugins}
        known["spark-standalone"] = spark_standalone
        self.jobs = Jobs()
        self.queue = WorkQueue()
        self.registry = Registry(known)
        self.events = EventRecorder(self.kube, "test")
        self.sites = Sites(self.kube, self.registry, settings, TOKENS, self.jobs, self.queue, self.events)
        self.sites.leading = True
        self.reconciler = Reconciler(self.kube, self.jobs, self.sites, self.queue, self.events, settings.poll_interval)
        self.kube.watchers.append(self._seen)

    def _seen(self, kind: str, raw: Object) -> None:
        if raw.get("kind") != "DurableJob":
            return
        if kind == "DELETED":
            self.jobs.remove(raw["metadata"]["uid"])
        elif self.jobs.put(raw) is not None:
            self.queue.add(raw["metadata"]["uid"])

    async def backend(self, **arguments: Any) -> Object:
        """A backend resource appears, and has been probed."""
        raw = backend_object(**arguments)
        raw = self.kube.add(CLUSTER_BACKENDS if raw["kind"] == "ClusterJobBackend" else BACKENDS, raw)
        await self.sites.put(raw)
        entries = self.sites._entries.values()
        await until(lambda: all(entry.probe for entry in entries))
        return raw

    async def use_scripted(self) -> ScriptedBackend:
        """The backend ``fake`` is the scripted one."""
        await self.backend(plugin={"name": "scripted"})
        return self.scripted

    def job(self, name: str = "load", **spec: Any) -> str:
        """A DurableJob appears; returns its uid."""
        return str(self.kube.add(JOBS, job_object(name, **spec))["metadata"]["uid"])

    def raw(self, name: str = "load") -> Object:
        return self.kube.objects[(JOBS.plural, "data", name)]

    def status(self, name: str = "load") -> Object:
        found: Object = self.raw(name).get("status") or {}
        return found

    def entry(self, uid: str) -> JobEntry:
        entry = self.jobs.get(uid)
        assert entry is not None
        return entry

    def state(self, name: str = "load") -> str:
        return str(self.status(name).get("state", ""))

    def reason(self, name: str = "load") -> str:
        return str(self.status(name).get("current", {}).get("reason", ""))

    def message(self, name: str = "load") -> str:
        return str(self.status(name).get("current", {}).get("message", ""))

    def status_writes(self) -> list[Object]:
        return self.kube.written("durablejobs/status")

    async def work(self, true: Callable[[], object], workers: int = 2, patience: float = PATIENCE) -> None:
        """Reconcile what the queue gives until it is true."""
        tasks = [asyncio.create_task(self._worker()) for _ in range(workers)]
        try:
            await until(lambda: true() or any(task.done() for task in tasks), patience)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _worker(self) -> None:
        while True:
            uid = await self.queue.get()
            step = asyncio.ensure_future(self.reconciler.reconcile(uid))
            try:
                await asyncio.shield(step)  # as the engine does: a step that was begun is finished
            finally:
                await step
                self.queue.done(uid)


@asynccontextmanager
async def staged(settings: Settings = FAST, **plugins: Plugin) -> AsyncIterator[Stage]:
    """A stage that is cleared afterwards."""
    stage = Stage(settings, **plugins)
    try:
        yield stage
    finally:
        await stage.sites.aclose()
