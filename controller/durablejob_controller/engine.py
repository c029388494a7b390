"""The engine: what runs in this process, and how its parts are connected.

::

    watch -> Jobs -> WorkQueue -> Reconciler -> one status write
                         ^
    Poller of each backend    Gate (every replica)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from durablejob_api import API_VERSION
from durablejob_controller import metrics
from durablejob_controller.backends.registry import Registry
from durablejob_controller.certificate import Certificate
from durablejob_controller.errors import KubernetesError, KubernetesUnavailable, NotFound, NotServed
from durablejob_controller.events import EventRecorder
from durablejob_controller.gate import Gate
from durablejob_controller.jobs import Jobs
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, JOBS, NAMESPACES, Kube, Object, Resource
from durablejob_controller.lease import Elector
from durablejob_controller.queue import WorkQueue
from durablejob_controller.reconcile import Reconciler
from durablejob_controller.settings import Settings
from durablejob_controller.sites import Sites
from durablejob_controller.sweep import Sweeper
from durablejob_controller.tokens import load

log = logging.getLogger(__name__)

T = TypeVar("T")
START_PATIENCE = 1.0
"""Seconds between tries to begin while the API server is away."""
CRD_PATIENCE = 5.0
"""Seconds between looks for the CRDs."""
CHECK_INTERVAL = 5.0
"""Seconds between looks whether the API server's storage has gone back."""
IDLE_PATIENCE = 30.0
"""Seconds after which a connection is ended that brings no (further) request, or not its whole head."""


class Engine:
    """Everything but the watch, which is kopf's."""

    def __init__(self, kube: Kube, settings: Settings, registry: Registry) -> None:
        self._kube = kube
        self._settings = settings
        self._registry = registry
        self._jobs = Jobs()
        # A bulkhead: the verbs of one slow external system take half of the workers at most.
        self._queue = WorkQueue(self._system_of, max(1, settings.workers // 2))
        self._events = EventRecorder(kube, settings.identity)
        self._sites: Sites | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._elector: Elector | None = None
        self._electing: Kube | None = None
        """The lease has connections of its own: hundreds of status writes at once must not cost the leadership."""
        self._listed = False
        self._stopping = False
        self._relist_now = asyncio.Event()
        self.watch_again = asyncio.Event()
        """What the watch waits for will not come: the storage has gone back."""

    # --- beginning and end ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve health at once, wait for the CRDs, then begin."""
        await self._serve(self._health(), self._settings.http_listen, None)
        await self._wait_for_crds()
        tokens = await self._patiently(lambda: load(self._kube, self._settings.own_namespace))
        sites = self._sites = Sites(
            self._kube, self._registry, self._settings, tokens, self._jobs, self._queue, self._events
        )
        system = await self._patiently(lambda: self._kube.get(NAMESPACES, None, "kube-system"))
        sites.cluster_uid = system["metadata"]["uid"]
        self._kube.high_water.told = self._go_back
        if self._settings.high_water_file:
            self._kube.high_water.load(Path(self._settings.high_water_file), sites.cluster_uid)
        gate = Gate(self._kube, tokens, self._registry, sites, self._jobs, self._queue, self._events)
        await self._serve(gate.application(), self._settings.gate_listen, self._tls())
        await self._patiently(self._relist)
        self._listed = True
        reconciler = Reconciler(self._kube, self._jobs, sites, self._queue, self._events, self._settings.poll_interval)
        for number in range(self._settings.workers):
            self._spawn(self._work(reconciler), f"worker {number}")
        self._spawn(self._events.run(), "events")
        self._spawn(self._relist_for_ever(), "relist")
        self._spawn(tokens.run(), "gate keys")
        self._spawn(Sweeper(self._kube, self._jobs, sites, self._settings).run(), "sweep")
        self._spawn(self._check_for_ever(), "high water")
        if self._settings.elect:
            own, self._electing = self._settings, self._kube.apart()
            self._elector = Elector(
                self._electing, own.own_namespace, own.lease_name, own.identity, own.lease_duration, self._lead
            )
            self._spawn(self._elector.run(), "elector")
        else:
            self._lead(True)

    async def stop(self) -> None:
        """Finish the steps under way, give the lease back, go. The external jobs are left as they are."""
        self._stopping = True
        if self._sites is not None:
            self._sites.leading = False
        workers = [task for task in self._tasks if task.get_name().startswith("worker")]
        for task in workers:
            task.cancel()
        await asyncio.wait(workers, timeout=5.0) if workers else None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sites is not None:
            await self._sites.aclose()
        for runner in self._runners:
            await runner.cleanup()
        if self._electing is not None:
            await self._electing.aclose()
        await self._kube.aclose()

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(coroutine, name=name))

    def _lead(self, leading: bool) -> None:
        if self._sites is None:
            return
        self._sites.lead(leading)
        if leading:
            for uid, _ in self._jobs:
                self._queue.add(uid)

    def _system_of(self, uid: str) -> Hashable:
        return self._sites.system(uid) if self._sites is not None else None

    async def _work(self, reconciler: Reconciler) -> None:
        """One worker. Being cancelled, it finishes the job in its hands."""
        while True:
            uid = await self._queue.get()
            try:
                if self._sites is not None and self._sites.leading:
                    step = asyncio.ensure_future(reconciler.reconcile(uid))
                    try:
                        await asyncio.shield(step)
                    except asyncio.CancelledError:
                        await step
                        raise
            finally:
                self._queue.done(uid)

    # --- what the watch brings ------------------------------------------------------------------------

    def job_seen(self, kind: str | None, raw: Object) -> None:
        """A DurableJob was listed, added, changed (None, ADDED, MODIFIED) or DELETED."""
        uid = raw["metadata"]["uid"]
        try:
            if kind == "DELETED":
                self._jobs.remove(uid)
                self._queue.forget(uid)
            elif self._jobs.put(raw) is not None:
                self._queue.add(uid)
        except Exception:  # one bad object never stops the rest
            log.exception("DurableJob %s cannot be taken in", raw["metadata"].get("name"))

    async def backend_seen(self, kind: str | None, raw: Object) -> None:
        """The same of a backend."""
        if self._sites is None:
            return
        try:
            if kind == "DELETED":
                await self._sites.remove(raw["metadata"]["uid"])
            else:
                await self._sites.put(raw)
        except Exception:  # nobody waits for this call's result
            log.exception("backend %s cannot be taken in", raw["metadata"].get("name"))

    async def _relist_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.relist_interval):
                    await self._relist_now.wait()
            try:
                self._relist_now.clear()
                await self._relist()
            except KubernetesError as error:
                log.warning("list failed: %s", error)
            except Exception:  # whatever it is: without the list nobody would miss what the watch has missed
                log.exception("list failed")
            else:
                continue
            await asyncio.sleep(START_PATIENCE)
            self._relist_now.set()

    async def _relist(self) -> None:
        """Take in everything, and drop what is gone: after a 410 the watch lists again, but tells no deletions.

        What a list lacks is asked for by its name (rule 6): a cache that is behind answers from the past.
        """
        if self._sites is None:
            return
        namespaces: tuple[str | None, ...] = self._settings.namespaces or (None,)
        era = self._kube.high_water.era
        jobs, backends = {uid for uid, _ in self._jobs}, self._sites.uids()
        seen: set[str] = set()
        lists: list[tuple[Resource, str, str | None]] = [(CLUSTER_BACKENDS, "ClusterJobBackend", None)]
        for namespace in namespaces:
            lists += [(BACKENDS, "JobBackend", namespace), (JOBS, "DurableJob", namespace)]
        for resource, kind, namespace in lists:
            async for item in self._kube.pages(resource, namespace):
                raw = {"apiVersion": API_VERSION, "kind": kind, **item}
                seen.add(raw["metadata"]["uid"])
                if resource is JOBS:
                    self.job_seen(None, raw)
                else:
                    await self.backend_seen(None, raw)
        if era == self._kube.high_water.era:
            self._sites.listed()
        for uid in backends - seen:
            await self._sites.drop_if_gone(uid)
        for uid in jobs - seen:
            await self._drop_if_gone(uid)
        counts = Counter(e.job.status.state.value if e.job.status else "Pending" for _, e in self._jobs)
        metrics.JOBS.clear()
        for state, number in counts.items():
            metrics.JOBS.labels(state=state).set(number)
        metrics.PARKED.set(sum(entry.parked for _, entry in self._jobs))

    # --- a restore of etcd ----------------------------------------------------------------------------

    def _go_back(self, before: int, found: int) -> None:
        """All that was read is of a time that is no more: hold everything, forget it, and read it anew."""
        metrics.ROLLBACKS.inc()
        if self._sites is None:
            return
        self._sites.roll_back(before)
        self._jobs.clear()
        self._relist_now.set()
        self.watch_again.set()

    async def _check_for_ever(self) -> None:
        """Notice a restore also while nothing is written; and keep what is known for the next process."""
        path, namespace = self._settings.high_water_file, (self._settings.namespaces or (None,))[0]
        while True:
            try:
                await self._kube.check(namespace)
            except KubernetesError as error:
                log.debug("the storage's revision is not known: %s", error)
            # Not before every backend's status says it: until then the file is what a new process knows of the restore.
            if path and self._sites is not None and self._sites.recorded:
                water = self._kube.high_water
                await asyncio.to_thread(water.save, Path(path), self._sites.cluster_uid, water.mark)
            await asyncio.sleep(CHECK_INTERVAL)

    async def _drop_if_gone(self, uid: str) -> None:
        entry = self._jobs.get(uid)
        if entry is None:
            return
        meta = entry.raw["metadata"]
        try:
            raw = await self._kube.get(JOBS, meta["namespace"], meta["name"])
        except NotFound:
            raw = None
        if raw is None or raw["metadata"]["uid"] != uid:
            self._jobs.remove(uid)
            self._queue.forget(uid)
        if raw is not None:
            self.job_seen(None, raw)

    async def _wait_for_crds(self) -> None:
        told = False
        while True:
            try:
                for resource in (JOBS, BACKENDS, CLUSTER_BACKENDS):
                    async for _ in self._kube.pages(resource, (self._settings.namespaces or (None,))[0]):
                        break
            except NotServed:
                if not told:
                    log.warning("the CRDs are not installed (kubectl apply -f crds/): waiting for them")
                told = True
            except KubernetesError as error:
                log.warning("the Kubernetes API: %s", error)
            else:
                return
            await asyncio.sleep(CRD_PATIENCE)

    @staticmethod
    async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
        """The step's result, however long the API server is away: an outage at the start is one like any other."""
        while True:
            try:
                return await step()
            except KubernetesUnavailable as error:
                log.warning("the Kubernetes API: %s", error)
            await asyncio.sleep(START_PATIENCE)

    # --- listeners ------------------------------------------------------------------------------------

    def _tls(self) -> ssl.SSLContext | None:
        settings = self._settings
        if not settings.gate_tls_cert or not settings.gate_tls_key:
            return None
        certificate = Certificate(settings.gate_tls_cert, settings.gate_tls_key)
        self._spawn(certificate.run(), "certificate")
        return certificate.context

    async def _serve(self, app: web.Application, address: str, tls: ssl.SSLContext | None) -> None:
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE_PATIENCE)
        await runner.setup()
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
        self._runners.append(runner)

    def _health(self) -> web.Application:
        async def healthz(_: web.Request) -> web.Response:
            dead = [t.get_name() for t in self._tasks if t.done()] if not self._stopping else []
            return web.Response(status=500 if dead else 200, text=f"ended: {dead}\n" if dead else "ok\n")

        async def readyz(_: web.Request) -> web.Response:
            # Not "is it the leader": a standby serves the gate as well.
            return web.Response(status=200 if self._listed else 503, text="ok\n" if self._listed else "listing\n")

        async def scrape(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/healthz", healthz)
        app.router.add_get("/readyz", readyz)
        app.router.add_get("/metrics", scrape)
        return app
