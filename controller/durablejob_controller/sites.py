"""The backends as this process knows them: their clients and pollers; and which one a job means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable

from pydantic import ValidationError

from durablejob_api.backend import ClusterJobBackend, JobBackend
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendKind
from durablejob_controller import metrics, reasons
from durablejob_controller.admission import Admission, form_of
from durablejob_controller.backend_entry import BackendEntry
from durablejob_controller.backend_report import hold, is_deleting, is_held, kind_of
from durablejob_controller.backends.bounded import Bounded
from durablejob_controller.backends.contract import Backend, Run
from durablejob_controller.backends.registry import Registry
from durablejob_controller.backends.surroundings import GateTokens, Surroundings
from durablejob_controller.credentials import backend_token
from durablejob_controller.errors import Conflict, InvalidBackend, KubernetesError, NotFound
from durablejob_controller.events import EventRecorder
from durablejob_controller.jobs import Address, JobEntry, Jobs, address_of, describe_errors
from durablejob_controller.kube import Kube, Object, is_newer
from durablejob_controller.poller import Poller
from durablejob_controller.prober import Prober
from durablejob_controller.queue import WorkQueue
from durablejob_controller.reasons import Why
from durablejob_controller.settings import Settings
from durablejob_controller.views import NoSite, Site

log = logging.getLogger(__name__)

APART = 0.05
"""Seconds between two backends' probes when this process begins to lead."""
PATIENCE = 6
"""Times the request timeout: how long a verb may take, which may need several requests."""


class Sites:
    """All backends of the namespaces that this controller watches."""

    def __init__(
        self, kube: Kube, registry: Registry, settings: Settings, tokens: GateTokens, jobs: Jobs, queue: WorkQueue,
        events: EventRecorder,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._for_backends = kube.apart()
        """However many backends of this cluster there are, and however slow: the engine's own calls do not wait."""
        self._registry = registry
        self._settings = settings
        self._tokens = tokens
        self._jobs = jobs
        self._queue = queue
        self._entries: dict[Address, BackendEntry] = {}
        self._changing = asyncio.Lock()
        """The watch and the periodic list tell of the same resource at the same time."""
        self._admission = Admission(kube)
        self._prober = Prober(self, kube, self._admission, jobs, settings, events)
        self._mark: str | None = None
        """The storage has gone back from this resourceVersion, and not all that is there was listed since."""
        self.cluster_uid = ""
        self.leading = False
        metrics.HELD.set_function(lambda: sum(entry.held is not None for entry in self._entries.values()))

    # --- the resources come and go ------------------------------------------------------------------

    async def put(self, raw: Object) -> None:
        """A backend resource appeared or changed; an older version than is known is ignored."""
        meta = raw["metadata"]
        address = (raw["kind"], meta.get("namespace", ""), meta["name"])
        async with self._changing:
            old = self._entries.get(address)
            if old is not None and not is_newer(raw, old.raw):
                return
            if old is not None and old.uid == meta["uid"] and old.raw.get("spec") == raw.get("spec"):
                old.take(raw)
                old.asked.set()
                return
            if old is not None:
                await old.stop()
            entry = BackendEntry(address, raw, mark=old.mark if old is not None else self._mark)
            await self.equip(entry)  # before anybody can find it
            self._entries[address] = entry
            entry.tasks.append(asyncio.create_task(self._prober.run(entry), name=f"probe {address}"))
        self.wake(entry)

    async def remove(self, uid: str) -> None:
        """The backend resource of this uid is gone."""
        async with self._changing:
            entry = next((e for e in self._entries.values() if e.uid == uid), None)
            if entry is None:
                return
            del self._entries[entry.address]
            await entry.stop()
        self.wake(entry)

    def roll_back(self, mark: int) -> None:
        """The API server's storage has gone back: nothing is submitted anywhere until a person agrees."""
        self._mark = str(mark)
        for entry in self._entries.values():
            entry.go_back(self._mark)
            entry.asked.set()

    def listed(self) -> None:
        """All that is there was listed: what appears from now on is of the time after the restore."""
        self._mark = None

    @property
    def recorded(self) -> bool:
        """A restore that was noticed is written down where the next process finds it."""
        return self._mark is None and all(entry.recorded for entry in self._entries.values())

    def held(self, job: DurableJob) -> Why | None:
        """Why nothing may begin on this job's backend."""
        entry = self.entry(job)
        return entry.held if entry is not None else None

    async def drop_if_gone(self, uid: str) -> None:
        """A list lacks the backend resource of this uid: ask for it by its name, and believe that."""
        entry = next((e for e in self._entries.values() if e.uid == uid), None)
        if entry is None:
            return
        raw = await self._read(entry.address)
        if raw is None or raw["metadata"]["uid"] != uid:
            await self.remove(uid)
        if raw is not None:
            await self.put(raw)

    async def _read(self, address: Address) -> Object | None:
        """The backend resource by a quorum read; None: there is none."""
        kind, namespace, name = address
        try:
            return await self._kube.get(kind_of({"kind": kind}), namespace or None, name)
        except NotFound:
            return None

    def uids(self) -> set[str]:
        """uids of the backends that are known."""
        return {entry.uid for entry in self._entries.values()}

    def entries(self) -> list[BackendEntry]:
        return list(self._entries.values())

    def lead(self, leading: bool) -> None:
        """From now on this process decides, or stands by."""
        self.leading = leading
        if leading:  # reports what the probes find; a thousand of them at once would cost the lease again
            loop = asyncio.get_running_loop()
            for number, entry in enumerate(self._entries.values()):
                loop.call_later(number * APART, entry.asked.set)
        else:
            metrics.STRAYS.clear()  # the leader's to tell

    async def aclose(self) -> None:
        for entry in self._entries.values():
            await entry.stop()
        await self._for_backends.aclose()

    def wake(self, entry: BackendEntry) -> None:
        for uid in self._jobs.users(entry.address):
            self._queue.add(uid)

    def _changed(self, keys: set[str]) -> None:
        for key in keys:
            uid = self._jobs.uid_of(key)
            if uid is not None:
                self._queue.add(uid)

    def _progress_due(self, key: str, runs: tuple[Run, ...]) -> bool:
        known = self._jobs.get(self._jobs.uid_of(key) or "")
        return known is not None and known.progress_due(runs)

    async def equip(self, entry: BackendEntry) -> None:
        """Make its client and its poller; ``entry.problem`` says why not."""
        model = ClusterJobBackend if entry.address[0] == BackendKind.CLUSTER_JOB_BACKEND.value else JobBackend
        try:
            entry.resource = model.model_validate(entry.raw)
            entry.token = await backend_token(self._kube, entry.resource, self._settings.own_namespace)
            backend = entry.backend = self._make(entry.resource, entry.token)
        except ValidationError as error:
            entry.problem = Why("InvalidSpec", describe_errors(error))
        except (InvalidBackend, KubernetesError) as error:
            entry.problem = Why(type(error).__name__, str(error))
        except Exception as error:  # one bad object never stops the rest
            log.exception("backend %s: unexpected error", entry.address[2])
            entry.problem = Why("InvalidBackend", f"unexpected {type(error).__name__}, see the controller's log")
        else:
            poller = entry.poller = Poller(
                entry.address[2],
                backend,
                changed=self._changed,
                moved=self._progress_due,
                recovered=lambda: self.wake(entry),
                wanted=lambda: len(self._jobs.users(entry.address)) if self.leading else 0,
                interval=self._settings.poll_interval,
            )
            entry.tasks.append(asyncio.create_task(poller.run(), name=f"poll {entry.address}"))

    def _make(self, resource: JobBackend, token: str | None) -> Backend:
        surroundings = Surroundings(
            cluster_uid=self.cluster_uid,
            gate_url=self._gate_url(resource),
            gate_token=self._tokens,
            token=token,
            timeout=self._settings.request_timeout,
            kubernetes=self._for_backends,
            namespace=resource.metadata.namespace,
            admission_policy=self._settings.admission_policy,
        )
        backend = self._registry.plugin(resource.spec).make(resource.spec, surroundings)
        return Bounded(backend, PATIENCE * self._settings.request_timeout)

    async def renew(self, entry: BackendEntry) -> None:
        """The Secret may hold another token by now, from which its client is made anew."""
        if entry.resource is None or entry.poller is None:
            return
        try:
            token = await backend_token(self._kube, entry.resource, self._settings.own_namespace)
        except (InvalidBackend, KubernetesError) as error:
            log.warning("backend %s: its token cannot be read again: %s", entry.address[2], error)
            return
        if token == entry.token:
            return
        old, entry.token = entry.backend, token
        entry.backend = entry.poller.backend = self._make(entry.resource, token)
        if old is not None:
            await old.aclose()

    def _gate_url(self, resource: JobBackend) -> str:
        fence = resource.spec.fence
        if fence is not None and fence.gate is not None:
            return fence.gate.url.rstrip("/")
        return self._settings.public_gate_url

    # --- which one a job means -------------------------------------------------------------------------

    def entry(self, job: DurableJob) -> BackendEntry | None:
        """The backend that the job names.

        Of an attempt that has ended it is the one that has run it, as long as it is there: the next attempt may name
        another, and begins only when nothing of the last one is held there any more.
        """
        named = self._entries.get(address_of(job))
        current = job.current
        if current is None or current.outcome is None or current.reservation is None:
            return named
        uid = current.reservation.backend_uid
        if named is not None and named.uid == uid:
            return named
        return next((entry for entry in self._entries.values() if entry.uid == uid), named)

    def system(self, uid: str) -> Hashable:
        """The external system that this job is now worked on with; several backends may mean the same."""
        known = self._jobs.get(uid)
        if known is None:
            return None
        entry = self.entry(known.job)
        return entry.backend.cluster_id if entry is not None and entry.backend is not None else address_of(known.job)

    async def _find(self, address: Address) -> BackendEntry | None:
        """It is not known, perhaps as the watch is late: that it is missing is the end of a job."""
        raw = await self._read(address)
        if raw is not None:
            await self.put(raw)
        return self._entries.get(address)

    async def site(self, known: JobEntry) -> Site | NoSite:
        """The backend as this job sees it; raises ``KubernetesError`` when that cannot be known now."""
        job, key = known.job, known.key
        ref = job.spec.backend_ref
        namespace = job.metadata.namespace or ""
        reserved = job.current is not None and job.current.reservation is not None
        if known.invalid is not None and not reserved:
            return known.invalid
        entry = self.entry(job) or await self._find(address_of(job))
        if entry is None:
            known.missing_since = known.missing_since or time.monotonic()
            absent = reasons.backend_not_found(ref.kind.value, ref.name, namespace)
            return NoSite(absent, final=False, missing=time.monotonic() - known.missing_since)
        known.missing_since = None
        if entry.resource is None or entry.backend is None:
            problem = entry.problem or Why("NotProbed", "it was not looked at yet")
            return NoSite(reasons.backend_not_ready(ref.name, *problem), final=False)
        if known.invalid is not None:  # nothing of it is sent, and what has begun is followed
            return self._site(entry, entry.backend, known.invalid)
        try:
            why = await self._admission.refusal(entry.resource, job)
        except KubernetesError:
            if not reserved:
                raise
            why = None  # what runs is looked at, closed and killed also while the API server is away
        form = NoSite(why, final=True) if why else form_of(entry.backend, job, key)
        if reserved:
            # Admission was asked for before the reservation. What has begun is followed to its end; what would be
            # said or submitted today only says whether anything is to be submitted any more.
            return self._site(entry, entry.backend, form)
        if isinstance(form, str):
            if self.leading and not is_held(entry.raw):
                await self._hold(entry)
            return self._site(entry, entry.backend, form)
        if not form.final:
            return form
        live = await self._kube.get(kind_of(entry.raw), entry.address[1] or None, ref.name)
        if is_newer(live, entry.raw):  # the watch is late: a refusal for good needs today's backend
            await self.put(live)
            return await self.site(known)
        return form

    @staticmethod
    def _site(entry: BackendEntry, backend: Backend, form: str | NoSite) -> Site:
        probe, name = entry.probe, entry.address[2]
        blocked: Why | None = None
        if is_deleting(entry.raw):
            blocked = reasons.backend_not_ready(name, "Deleting", "it is being deleted")
        elif probe is not None and not probe.ready:
            blocked = reasons.backend_not_ready(name, probe.reason, probe.message)
        return Site(
            uid=entry.uid,
            type=entry.resource.spec.type.value if entry.resource else "",
            cluster_id=backend.cluster_id,
            traits=backend.traits,
            body_hash=form if isinstance(form, str) else "",
            unfit=None if isinstance(form, str) else form,
            probed=probe is not None,
            blocked=blocked,
            held=entry.held,
        )

    async def _hold(self, entry: BackendEntry) -> None:
        """Our finalizer comes before the first reservation: a backend in use must not vanish."""
        try:
            entry.take(await hold(self._kube, entry.raw))
        except Conflict:
            entry.take(await self._kube.get(kind_of(entry.raw), entry.address[1] or None, entry.address[2]))
            entry.take(await hold(self._kube, entry.raw))
