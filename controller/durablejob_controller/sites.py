"""The backends as this process knows them: their clients, probes and pollers; and which one a job means."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from durablejob_api.backend import BackendStatus, ClusterJobBackend, Guarantee, JobBackend, SparkStandaloneBackend
from durablejob_api.conditions import set_condition
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendKind
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Backend, GateTokens, Probe, Surroundings, Traits
from durablejob_controller.backends.registry import Registry
from durablejob_controller.errors import BackendError, Conflict, InvalidBackend, InvalidWork, KubernetesError, NotFound
from durablejob_controller.jobs import Address, Jobs, address_of, describe_errors
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, NAMESPACES, SECRETS, Kube, Object
from durablejob_controller.poller import Poller
from durablejob_controller.queue import WorkQueue
from durablejob_controller.reasons import Why
from durablejob_controller.settings import BACKEND_FINALIZER, Settings
from durablejob_controller.views import NoSite, Site

log = logging.getLogger(__name__)

PROBE_AGAIN = 5.0
"""Seconds between probes of a backend that is not ready."""


@dataclass
class Entry:
    """One backend resource and everything that follows from it."""

    address: Address
    raw: Object
    resource: JobBackend | None = None
    backend: Backend | None = None
    poller: Poller | None = None
    probe: Probe | None = None
    problem: Why | None = None
    """Why there is no client for it."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.backend is not None:
            await self.backend.aclose()


class Sites:
    """All backends of the namespaces that this controller watches."""

    def __init__(
        self, kube: Kube, registry: Registry, settings: Settings, tokens: GateTokens, jobs: Jobs, queue: WorkQueue
    ) -> None:
        self._kube = kube
        self._registry = registry
        self._settings = settings
        self._tokens = tokens
        self._jobs = jobs
        self._queue = queue
        self._entries: dict[Address, Entry] = {}
        self._namespace_labels: dict[str, dict[str, str]] = {}
        self.cluster_uid = ""
        self.leading = False

    # --- the resources come and go ------------------------------------------------------------------

    async def put(self, raw: Object) -> None:
        """A backend resource appeared or changed."""
        meta = raw["metadata"]
        address = (raw["kind"], meta.get("namespace", ""), meta["name"])
        old = self._entries.get(address)
        if old is not None and old.uid == meta["uid"] and old.raw.get("spec") == raw.get("spec"):
            old.raw = raw
            old.asked.set()
            return
        if old is not None:
            await old.stop()
        entry = Entry(address, raw)
        self._entries[address] = entry
        await self._equip(entry)
        entry.tasks.append(asyncio.create_task(self._probe_for_ever(entry), name=f"probe {address}"))
        if entry.poller is not None:
            entry.tasks.append(asyncio.create_task(entry.poller.run(), name=f"poll {address}"))
        self._wake(entry)

    async def remove(self, address: Address) -> None:
        entry = self._entries.pop(address, None)
        if entry is not None:
            await entry.stop()
            self._wake(entry)

    def lead(self, leading: bool) -> None:
        """From now on this process decides, or stands by."""
        self.leading = leading
        for entry in self._entries.values():
            entry.asked.set()  # a leader reports what the probes find

    async def aclose(self) -> None:
        for entry in self._entries.values():
            await entry.stop()

    def _wake(self, entry: Entry) -> None:
        for uid in self._jobs.users(entry.address):
            self._queue.add(uid)

    def _changed(self, keys: set[str]) -> None:
        for key in keys:
            uid = self._jobs.uid_of(key)
            if uid is not None:
                self._queue.add(uid)

    async def _equip(self, entry: Entry) -> None:
        model = ClusterJobBackend if entry.address[0] == BackendKind.CLUSTER_JOB_BACKEND.value else JobBackend
        try:
            entry.resource = model.model_validate(entry.raw)
            plugin = self._registry.plugin(entry.resource.spec)
            surroundings = Surroundings(
                cluster_uid=self.cluster_uid,
                gate_url=self._gate_url(entry.resource),
                gate_token=self._tokens,
                token=await self._credential(entry.resource),
                timeout=self._settings.request_timeout,
            )
            entry.backend = plugin.make(entry.resource.spec, surroundings)
        except ValidationError as error:
            entry.problem = Why("InvalidSpec", describe_errors(error))
        except (InvalidBackend, KubernetesError) as error:
            entry.problem = Why(type(error).__name__, str(error))
        else:
            entry.poller = Poller(
                entry.address[2],
                entry.backend,
                changed=self._changed,
                recovered=lambda: self._wake(entry),
                wanted=lambda: len(self._jobs.users(entry.address)) if self.leading else 0,
                interval=self._settings.poll_interval,
            )

    def _gate_url(self, resource: JobBackend) -> str:
        fence = resource.spec.fence
        if fence is not None and fence.gate is not None:
            return fence.gate.url.rstrip("/")
        return self._settings.public_gate_url

    async def _credential(self, resource: JobBackend) -> str | None:
        """The token that the backend's tokenSecretRef names; from the controller's namespace for a cluster backend."""
        system: SparkStandaloneBackend | None = resource.spec.spark_standalone
        if system is None or system.token_secret_ref is None:
            return None
        namespace = resource.metadata.namespace or self._settings.own_namespace
        name = system.token_secret_ref.name
        try:
            secret = await self._kube.get(SECRETS, namespace, name)
            return base64.b64decode(secret["data"]["token"], validate=True).decode()
        except NotFound as error:
            raise InvalidBackend(
                f"spec.sparkStandalone.tokenSecretRef: no Secret {name} in namespace {namespace}"
            ) from error
        except (KeyError, ValueError) as error:
            raise InvalidBackend(
                f"spec.sparkStandalone.tokenSecretRef: Secret {name} has no usable key token"
            ) from error

    # --- which one a job means -------------------------------------------------------------------------

    def entry(self, job: DurableJob) -> Entry | None:
        return self._entries.get(address_of(job))

    async def site(self, job: DurableJob, key: str) -> Site | NoSite:
        """The backend as this job sees it; raises ``KubernetesError`` when that cannot be known now."""
        ref = job.spec.backend_ref
        namespace = job.metadata.namespace or ""
        entry = self.entry(job)
        if entry is None:
            return NoSite(reasons.backend_not_found(ref.kind.value, ref.name, namespace), final=False)
        if entry.resource is None or entry.backend is None:
            problem = entry.problem or Why("NotProbed", "it was not looked at yet")
            return NoSite(reasons.backend_not_ready(ref.name, *problem), final=False)
        actual = entry.resource.spec.type
        if actual is not ref.type:
            return NoSite(reasons.backend_type_mismatch(ref.name, ref.type.value, actual.value), final=True)
        if not await self._admits(entry.resource, namespace):
            return NoSite(reasons.backend_not_allowed(ref.name, namespace), final=True)
        try:
            entry.backend.validate(job)
        except InvalidWork as error:
            return NoSite(Why(error.reason, f"spec.{error}"), final=True)
        return self._site(entry, entry.backend, job, key, actual.value)

    @staticmethod
    def _site(entry: Entry, backend: Backend, job: DurableJob, key: str, kind: str) -> Site:
        probe = entry.probe
        blocked: Why | None = None
        if probe is None:
            blocked = reasons.backend_not_ready(entry.address[2], "NotProbed", "it was not looked at yet")
        elif not probe.ready:
            blocked = reasons.backend_not_ready(entry.address[2], probe.reason, probe.message)
        traits = backend.traits
        if probe is not None and probe.remembers != traits.remembers:
            traits = Traits(identity=traits.identity, gated=traits.gated, remembers=probe.remembers)
        return Site(
            uid=entry.uid,
            type=kind,
            cluster_id=backend.cluster_id,
            traits=traits,
            body_hash=backend.body_hash(job, key),
            incarnation=probe.incarnation if probe else "",
            blocked=blocked,
        )

    async def _admits(self, resource: JobBackend, namespace: str) -> bool:
        if not isinstance(resource, ClusterJobBackend):
            return True
        if namespace in resource.spec.namespaces:
            return True
        selector = resource.spec.namespace_selector
        if selector is None:
            return False
        if namespace not in self._namespace_labels:
            found = await self._kube.get(NAMESPACES, None, namespace)
            self._namespace_labels[namespace] = found["metadata"].get("labels") or {}
        labels = self._namespace_labels[namespace]
        return all(labels.get(key) == value for key, value in selector.match_labels.items())

    # --- probing ---------------------------------------------------------------------------------------

    async def _probe_for_ever(self, entry: Entry) -> None:
        while True:
            entry.asked.clear()
            before = entry.probe
            self._namespace_labels.clear()
            if entry.backend is None:
                await self._equip(entry)  # a Secret may have appeared
                if entry.poller is not None:
                    entry.tasks.append(asyncio.create_task(entry.poller.run()))
            entry.probe = await self._probe(entry)
            if before is None or before.ready != entry.probe.ready or before.message != entry.probe.message:
                log.info("backend %s: %s: %s", entry.address[2], entry.probe.reason, entry.probe.message)
                self._wake(entry)
            if self.leading:
                try:
                    await self._report(entry, entry.probe)
                except Conflict:
                    continue  # the watch brings the newer version
                except KubernetesError as error:
                    log.warning("status of backend %s not written: %s", entry.address[2], error)
            pause = self._settings.probe_interval if entry.probe.ready else PROBE_AGAIN
            try:
                await asyncio.wait_for(entry.asked.wait(), pause)
                await asyncio.sleep(0.2)  # our own status write comes back as an event
            except TimeoutError:
                pass

    async def _probe(self, entry: Entry) -> Probe:
        if entry.backend is None:
            why = entry.problem or Why("InvalidSpec", "")
            return Probe(False, why.reason, why.message, Guarantee.NONE)
        try:
            return await entry.backend.probe()
        except BackendError as error:
            return Probe(False, type(error).__name__, str(error), Guarantee.NONE)

    async def _report(self, entry: Entry, probe: Probe) -> None:
        """Write what the probe found, if it is news; keep the finalizer while unfinished jobs name the backend."""
        kind = CLUSTER_BACKENDS if not entry.address[1] else BACKENDS
        meta = entry.raw["metadata"]
        users = len(self._jobs.users(entry.address))
        finalizers = list(meta.get("finalizers") or ())
        wanted = users > 0 or (BACKEND_FINALIZER in finalizers and not meta.get("deletionTimestamp"))
        if wanted != (BACKEND_FINALIZER in finalizers) and not (wanted and meta.get("deletionTimestamp")):
            rest = [name for name in finalizers if name != BACKEND_FINALIZER]
            changes = {"finalizers": [*rest, BACKEND_FINALIZER] if wanted else rest}
            entry.raw = await self._kube.patch_metadata(kind, meta, changes)
            if not wanted and meta.get("deletionTimestamp"):
                return  # it is gone with its last finalizer
        old = BackendStatus.model_validate(entry.raw.get("status") or {})
        new = _status(old, entry, probe)
        if new.model_copy(update={"conditions": ()}) == old.model_copy(update={"conditions": ()}) and _same(old, new):
            return
        body: dict[str, Any] = {**entry.raw, "status": new.to_api()}
        entry.raw = await self._kube.replace(kind, body, "status")


def _status(old: BackendStatus, entry: Entry, probe: Probe) -> BackendStatus:
    generation = entry.raw["metadata"].get("generation", 0)
    conditions = set_condition(
        old.conditions,
        type_="Ready",
        status=str(probe.ready),
        reason=probe.reason,
        message=probe.message,
        generation=generation,
        now=datetime.now(UTC).replace(microsecond=0),
    )
    changes: dict[str, Any] = {
        "observed_generation": generation,
        "guarantee": probe.guarantee if probe.ready else old.guarantee,
        "version": probe.version or old.version,
        "incarnation": probe.incarnation or old.incarnation,
        "cluster_id": entry.backend.cluster_id if entry.backend else old.cluster_id,
        "message": probe.message,
        "conditions": conditions,
    }
    if entry.resource is not None:
        changes["type"] = entry.resource.spec.type.value
    return old.model_copy(update=changes)


def _same(old: BackendStatus, new: BackendStatus) -> bool:
    return [(c.type, c.status, c.reason, c.message) for c in old.conditions] == [
        (c.type, c.status, c.reason, c.message) for c in new.conditions
    ]
