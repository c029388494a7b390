"""Probes each backend, tells its jobs what is news to them, and reports it in the backend's status."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from durablejob_api.backend import Guarantee
from durablejob_controller.admission import Admission
from durablejob_controller.backend_entry import BackendEntry
from durablejob_controller.backend_report import Findings, is_deleting, report
from durablejob_controller.backends.contract import Probe
from durablejob_controller.errors import BackendError, KubernetesError
from durablejob_controller.events import EventRecorder, Transition
from durablejob_controller.jobs import Jobs
from durablejob_controller.kube import Kube
from durablejob_controller.reasons import Why
from durablejob_controller.settings import Settings

log = logging.getLogger(__name__)

PROBE_AGAIN = 5.0
"""Seconds between probes of a backend that is not ready; of one that no job needs, after the first failure."""


class Keeper(Protocol):
    """Who has the backends, and makes their clients."""

    leading: bool

    async def equip(self, entry: BackendEntry) -> None: ...

    async def renew(self, entry: BackendEntry) -> None: ...

    def wake(self, entry: BackendEntry) -> None: ...


class Prober:
    """Looks at backends."""

    def __init__(
        self, keeper: Keeper, kube: Kube, admission: Admission, jobs: Jobs, settings: Settings, events: EventRecorder
    ) -> None:
        self._keeper = keeper
        self._kube = kube
        self._admission = admission
        self._jobs = jobs
        self._settings = settings
        self._events = events

    async def run(self, entry: BackendEntry) -> None:
        """Probe this one for ever."""
        failures = 0
        while True:
            entry.asked.clear()
            try:
                await self._look_at(entry)
            except KubernetesError as error:
                log.warning("status of backend %s not written: %s", entry.address[2], error)
            except Exception:  # whatever it is, the next look may be better
                log.exception("backend %s: probing failed", entry.address[2])
            failures = 0 if entry.probe is not None and entry.probe.ready else failures + 1
            try:
                async with asyncio.timeout(self._pause(entry, failures)):
                    await entry.asked.wait()
                await asyncio.sleep(0.2)  # our own status write comes back as an event
            except TimeoutError:
                pass

    def _pause(self, entry: BackendEntry, failures: int) -> float:
        """Seconds to the next probe: soon where jobs wait for it, ever later for what nobody uses."""
        if failures == 0:
            return self._settings.probe_interval
        if self._jobs.users(entry.address):
            return PROBE_AGAIN
        return min(PROBE_AGAIN * 2.0 ** min(failures - 1, 8), max(self._settings.probe_interval, PROBE_AGAIN))

    async def _look_at(self, entry: BackendEntry) -> None:
        """Probe once, tell the jobs what is news to them, and (leading) everybody else."""
        before = entry.probe
        self._admission.forget()
        if entry.backend is None:
            await self._keeper.equip(entry)  # a Secret may have appeared
        elif before is not None and before.reason == "CredentialsRefused":
            await self._keeper.renew(entry)
        probe = entry.probe = await self._probe(entry)
        held = entry.held
        news = before is None or before.ready != probe.ready or before.message != probe.message
        if news:
            log.info("backend %s: %s: %s", entry.address[2], probe.reason, probe.message)
        if news or entry.told_held is not (held is not None):
            self._keeper.wake(entry)
        entry.told_held = held is not None
        if held is not None:
            probe = replace(probe, ready=False, reason=held.reason, message=held.message)
        if self._keeper.leading:
            cluster_id = entry.backend.cluster_id if entry.backend else None
            kind = entry.resource.spec.type.value if entry.resource else None
            found = Findings(probe, self._is_in_use(entry), cluster_id, kind, entry.mark)
            recorded = entry.recorded
            entry.take(await report(self._kube, entry.raw, found))
            if held is not None and entry.recorded and not recorded and entry.resource is not None:
                self._events.post(entry.resource, Transition(held.reason, held.message, True, "Hold"))

    def _is_in_use(self, entry: BackendEntry) -> bool:
        """Jobs need it; while it is being deleted only those that may have something there."""
        entries = [self._jobs.get(uid) for uid in self._jobs.users(entry.address)]
        currents = [known.job.current for known in entries if known is not None]
        if not is_deleting(entry.raw):
            return bool(currents)
        return any(current is not None and current.reservation is not None for current in currents)

    async def _probe(self, entry: BackendEntry) -> Probe:
        if entry.backend is None:
            why = entry.problem or Why("InvalidSpec", "")
            return Probe(False, why.reason, why.message, Guarantee.NONE)
        try:
            return await entry.backend.probe()
        except BackendError as error:
            return Probe(False, type(error).__name__, str(error), Guarantee.NONE)
