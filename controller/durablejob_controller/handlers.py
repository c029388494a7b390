"""kopf's part: the watch, and the process's life. Nothing else in the controller knows kopf.

kopf's handler state, indices, timers and peering give neither compare-and-swap nor the scale; so its
handlers only pass on what they are told, and kopf never writes anything.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import kopf
from kubernetes import client as kubernetes_client

from durablejob_api import GROUP, VERSION
from durablejob_controller import metrics
from durablejob_controller.engine import Engine
from durablejob_controller.kube import bearer
from durablejob_controller.settings import Settings

log = logging.getLogger(__name__)

AGAIN_AFTER = 1.0
"""Seconds from the end of a watch that failed to the beginning of the next."""


class Backoffs:
    """1, 2, 4, 8, 15, 15, … seconds: infinite, and begun anew at each use.

    kopf ends the process when the delays run out, so that an API outage of a minute would stop it.
    """

    def __iter__(self) -> Iterator[float]:
        yield from (1, 2, 4, 8)
        while True:
            yield 15


class NoDiffBase(kopf.DiffBaseStorage):
    """kopf must not write its annotation into our resources."""

    def fetch(self, *, body: kopf.Body) -> None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        return None


def operator_settings() -> kopf.OperatorSettings:
    """kopf as a mere watcher."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.finalizer = f"kopf.{GROUP}/unused"
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.queueing.idle_timeout = 0.5  # or a worker stays for each object
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = Backoffs()
    settings.process.ultimate_exiting_timeout = None  # it would kill this process when only the watch has ended
    return settings


def registry(
    engine: Engine, configuration: kubernetes_client.Configuration, loop: asyncio.AbstractEventLoop
) -> kopf.OperatorRegistry:
    """The handlers: login, and one per kind of resource; they pass on to the engine's ``loop``."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**_: Any) -> kopf.ConnectionInfo:
        scheme, _space, token = bearer(configuration).rpartition(" ")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    @kopf.on.event(GROUP, VERSION, "durablejobs", registry=handlers)
    async def job(event: Any, **_: Any) -> None:
        loop.call_soon_threadsafe(engine.job_seen, event["type"], dict(event["object"]))

    @kopf.on.event(GROUP, VERSION, "jobbackends", registry=handlers)
    @kopf.on.event(GROUP, VERSION, "clusterjobbackends", registry=handlers)
    async def backend(event: Any, **_: Any) -> None:
        asyncio.run_coroutine_threadsafe(engine.backend_seen(event["type"], dict(event["object"])), loop)

    return handlers


class Watch:
    """kopf in a thread of its own.

    When kopf ends, it cancels whatever else runs in its event loop; in a thread it has a loop to itself, does
    not take the signals, and ours decides in which order things end.

    kopf ends at every answer that it does not expect: a 410 by its status, HTML of some proxy, an error within a
    watch. Then it is begun anew, and lists everything again.
    """

    def __init__(self, engine: Engine, settings: Settings, configuration: kubernetes_client.Configuration) -> None:
        self._engine = engine
        self._settings = settings
        self._configuration = configuration
        self._stop = threading.Event()
        self._end_of_one = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        # Not one of the loop's own threads, for which it would wait at its end: kopf sometimes ends only when a watch
        # that it had asked for is answered.
        thread = threading.Thread(target=self._watch_for_ever, args=(loop,), name="watch", daemon=True)
        thread.start()
        again = asyncio.ensure_future(self._end_when_asked())
        try:
            await asyncio.Event().wait()
        finally:
            again.cancel()
            self._stop.set()
            self._end_of_one.set()
            await asyncio.to_thread(thread.join, 10)

    async def _end_when_asked(self) -> None:
        """After a restore of etcd kopf would wait for ever for what comes after the last version it saw."""
        while True:
            await self._engine.watch_again.wait()
            self._engine.watch_again.clear()
            self._end_of_one.set()

    def _watch_for_ever(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._watch(loop))
            except (Exception, asyncio.CancelledError) as error:  # the second: by kopf itself
                log.warning("the watch failed, and begins anew: %s: %s", type(error).__name__, error)
            metrics.WATCH_ENDS.inc()
            self._stop.wait(AGAIN_AFTER)

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        # kopf waits for its flag in a thread of the loop's own, for which the loop waits at its end: a flag that
        # nobody sets would keep a watch that has failed from ever returning.
        flag = self._end_of_one = threading.Event()
        if self._stop.is_set():
            return
        try:
            await kopf.operator(
                registry=registry(self._engine, self._configuration, loop),
                settings=operator_settings(),
                # Its own guess asks for the name of our user, who has none in a pod; nothing else asks for this one.
                identity=self._settings.identity,  # type: ignore[arg-type]  # a str; kopf exports no name for it
                standalone=True,
                clusterwide=not self._settings.namespaces,
                namespaces=self._settings.namespaces,
                stop_flag=flag,
            )
        finally:
            flag.set()
