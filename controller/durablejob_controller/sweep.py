"""The slow sweep: what an external system keeps for DurableJobs that are no more.

A DurableJob goes only when everything of it was let go, unless somebody removed its finalizer by force. What is left
then has nobody else who looks after it: what has ended is discarded; what runs is not ours to end any more (whoever
forced it may have meant just that), so it is an alarm: a metric and a warning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from durablejob_controller import metrics
from durablejob_controller.backends.contract import Backend, Leftover
from durablejob_controller.errors import DurableJobError, NotFound
from durablejob_controller.jobs import Address, Jobs
from durablejob_controller.kube import JOBS, Kube
from durablejob_controller.settings import Settings
from durablejob_controller.sites import Sites

log = logging.getLogger(__name__)


@contextmanager
def _going_on(what: str) -> Iterator[None]:
    """Say what is wrong with this one: neither a backend's fault nor a leftover's ever stops the rest."""
    try:
        yield
    except DurableJobError as error:
        log.warning("%s was not swept: %s", what, error)
    except Exception:  # whatever a backend's author has written
        log.exception("%s: sweeping failed", what)


class Sweeper:
    """Looks at every backend now and then, as long as this process leads."""

    def __init__(self, kube: Kube, jobs: Jobs, sites: Sites, settings: Settings) -> None:
        self._kube = kube
        self._jobs = jobs
        self._sites = sites
        self._settings = settings
        self._strays: dict[Address, int] = {}

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(self._settings.sweep_interval)
            if self._sites.leading:
                await self.sweep()

    async def sweep(self) -> None:
        """Look once at each; one that gives no answer has its turn the next time, and keeps its alarm until then."""
        strays: dict[Address, int] = {}
        for entry in self._sites.entries():
            if entry.backend is None:
                continue
            if entry.address in self._strays:
                strays[entry.address] = self._strays[entry.address]
            with _going_on(f"backend {entry.address[2]}"):
                strays[entry.address] = await self._sweep(entry.backend)
        # Who has ceased to lead meanwhile says nothing: nobody would take it back.
        self._strays = strays if self._sites.leading else {}
        metrics.STRAYS.clear()
        for address, number in self._strays.items():
            metrics.STRAYS.labels(*address).set(number)

    async def _sweep(self, backend: Backend) -> int:
        """Let go of what has ended; returns how many run."""
        strays = 0
        for found in await backend.leftovers():
            where = f"{found.external_id} in namespace {found.namespace}"
            with _going_on(where):
                if not await self._is_forgotten(found):
                    continue
                if found.runs:
                    strays += 1
                    log.warning("%s runs, and its DurableJob %s is no more: end it by hand", where, found.job)
                else:
                    await backend.discard(found)
                    log.info("%s was let go: its DurableJob %s is no more", where, found.job)
        return strays

    async def _is_forgotten(self, found: Leftover) -> bool:
        """Its DurableJob is no more, by a quorum read: a cache may lag. Other namespaces are other controllers'."""
        if self._settings.namespaces and found.namespace not in self._settings.namespaces:
            return False
        if self._jobs.get(found.job_uid) is not None or not found.job:
            return False
        try:
            live = await self._kube.get(JOBS, found.namespace, found.job)
        except NotFound:
            return True
        return bool(live["metadata"]["uid"] != found.job_uid)
