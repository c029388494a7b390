"""Reconciles one job: look, decide, do one thing, and again, until there is nothing to do but wait.

All decisions are ``decide``'s. What is here carries them out (``external`` where an external system is to do
something), and turns every error into "again later": an error may delay a job, and never decides about it.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from durablejob_api import FINALIZER
from durablejob_api.job import DurableJob
from durablejob_api.status import DurableJobStatus
from durablejob_controller import metrics
from durablejob_controller.decide import decide
from durablejob_controller.errors import Conflict, DurableJobError, KubernetesError, NotFound, Refused
from durablejob_controller.events import EventRecorder, Transition
from durablejob_controller.external import External, backoff
from durablejob_controller.jobs import JobEntry, Jobs
from durablejob_controller.kube import JOBS, Kube, Object, is_newer
from durablejob_controller.logs import fields, note_transition
from durablejob_controller.queue import WorkQueue
from durablejob_controller.sites import Sites
from durablejob_controller.views import (
    Close,
    Decision,
    Delete,
    Guard,
    Kill,
    LookUp,
    Record,
    Release,
    Reserve,
    Seen,
    Submit,
    Unguard,
    Wait,
)

log = logging.getLogger(__name__)

MAX_STEPS = 20
"""Steps in one go; a job that wants more has its turn again after the others."""
PARKED_SECONDS = 300.0
"""After a write of ours was refused by schema, rule or webhook: those change too, and the resource need not."""


class Reconciler:
    """Carries out decisions."""

    def __init__(
        self, kube: Kube, jobs: Jobs, sites: Sites, queue: WorkQueue, events: EventRecorder, poll_interval: float
    ) -> None:
        self._kube = kube
        self._jobs = jobs
        self._sites = sites
        self._queue = queue
        self._events = events
        self._poll_interval = poll_interval
        self._external = External(kube, sites, queue, poll_interval)

    async def reconcile(self, uid: str) -> None:
        """Bring one job as far as it goes. Raises nothing: what goes wrong is tried again later."""
        entry = self._jobs.get(uid)
        if entry is None:
            return
        if entry.parked:  # whoever wakes it drops what was planned for it
            self._queue.add_after(uid, entry.parked_until - time.monotonic())
            return
        metrics.RECONCILES.inc()
        try:
            await self._as_far_as_it_goes(uid, entry)
        except DurableJobError as error:
            self._later(uid, entry, error)
            log.warning("%s: %s: %s", entry.job.metadata.name, type(error).__name__, error, extra=fields(entry.job))
        except Exception as error:  # one bad object never stops the rest
            self._later(uid, entry, error)
            log.exception("%s: unexpected error", entry.job.metadata.name, extra=fields(entry.job))

    async def _as_far_as_it_goes(self, uid: str, entry: JobEntry) -> None:
        try:
            with metrics.RECONCILE_SECONDS.time():
                for _ in range(MAX_STEPS):
                    if not await self._step(uid, entry):
                        break
                    if self._jobs.get(uid) is not entry:  # all was forgotten meanwhile: the storage has gone back
                        self._queue.add(uid)
                        break
                else:
                    self._queue.add_after(uid, self._poll_interval)
            entry.failures = 0
        except (Conflict, NotFound) as error:
            log.debug("%s: %s", entry.job.metadata.name, error)
            await self._read_again(uid, entry)

    def _later(self, uid: str, entry: JobEntry, error: Exception) -> None:
        entry.trying_since = None
        metrics.RECONCILE_ERRORS.labels(error=type(error).__name__).inc()
        self._queue.add_after(uid, backoff(entry.failures))
        entry.failures += 1

    async def _read_again(self, uid: str, entry: JobEntry) -> None:
        meta = entry.raw["metadata"]
        asked = self._kube.high_water.ask()
        try:
            raw = await self._kube.get(JOBS, meta["namespace"], meta["name"])
        except NotFound:
            self._jobs.remove(uid)
            return
        except KubernetesError as error:
            self._later(uid, entry, error)
            return
        if raw["metadata"]["uid"] != uid:
            self._jobs.remove(uid)
        elif is_newer({"metadata": meta}, raw):
            self._kube.high_water.contradicted(asked, raw["metadata"]["resourceVersion"])
        self._jobs.put(raw)
        # At once the first time, then with a pause: what reading does not cure must not spin.
        self._queue.add_after(raw["metadata"]["uid"], backoff(entry.failures - 1) if entry.failures else 0.0)
        entry.failures += 1

    # --- one step ----------------------------------------------------------------------------------

    async def _step(self, uid: str, entry: JobEntry) -> bool:
        """Decide and do one thing; True: decide again at once."""
        version, site = entry.raw, await self._sites.site(entry)
        if not entry.is_at(version):
            return True  # somebody wrote meanwhile: the site is the one of another version
        decision = decide(entry.job, site, self._seen(entry), self._kube.clock.now().replace(microsecond=0))
        log.debug("%s: %s", entry.job.metadata.name, decision, extra=fields(entry.job))
        return await self._carry_out(uid, entry, decision)

    def _seen(self, entry: JobEntry) -> Seen:
        found = self._sites.entry(entry.job)
        poller = found.poller if found is not None else None
        if poller is not None and poller.last is not None and poller.last.sent > entry.asked:
            entry.saw(poller.last.sighting(entry.key), poller.last.sent, exact=False)
        trouble = (poller.trouble if poller is not None else None) or entry.trouble
        now = time.monotonic()
        due = entry.sighting is not None and entry.progress_due(entry.sighting.runs)
        if due:  # whatever comes of it: not again at the next look
            entry.progress_since = now
        return Seen(
            sighting=entry.sighting,
            fresh=entry.fresh,
            confirmed=entry.confirmed,
            lasting=now - entry.since if entry.sighting is not None else 0.0,
            offer=entry.offer,
            rejected=entry.rejected,
            hold=max(0.0, entry.not_before - now),
            progress_due=due,
            trouble=trouble if entry.sighting is None else None,
            doubt=entry.doubt,
            deferred=entry.deferred,
            tries=entry.tries,
            trying=now - entry.trying_since if entry.trying_since is not None else 0.0,
        )

    async def _carry_out(self, uid: str, entry: JobEntry, decision: Decision) -> bool:
        match decision:
            case Wait(seconds=seconds):
                # Exact look-ups that are not answered wake nobody when they would be: batches may have been all along.
                unanswered = self._poll_interval if entry.trouble is not None and entry.unfinished else None
                for pause in (seconds, _until_deadline(entry.job, self._kube.clock.now()), unanswered):
                    if pause is not None:
                        self._queue.add_after(uid, pause)
                return False
            case Record(status=status, then=Submit()):
                # Before the write: where Secrets cannot be read now, no claim is used up for nothing.
                version, secrets = entry.raw, await self._external.secrets(entry)
                if not entry.is_at(version):
                    return True  # somebody wrote meanwhile, a cancel perhaps: what is replaced is what was decided upon
                written = await self._record(entry, status)
                return written is not None and await self._external.submit(uid, entry, written, secrets)
            case Record(status=status, then=then):
                if await self._record(entry, status) is None:
                    return False
                return True if then is None else await self._carry_out(uid, entry, then)
            case LookUp(exactly=exactly):
                return await self._external.look_up(uid, entry, exactly)
            case Guard() | Unguard() | Delete():
                return await self._mark(entry, decision)
            case Submit():
                version = entry.raw
                # No write of ours comes before it, whose answer would tell that the storage has gone back.
                await self._kube.check(entry.job.metadata.namespace)
                return await self._external.submit(uid, entry, version, await self._external.secrets(entry))
            case Reserve():
                await self._external.reserve(entry)
                return True
            case Kill(run=run):
                return await self._external.kill(uid, entry, run)
            case Close() | Release():
                return await self._external.look_up(uid, entry, exactly=True, first=decision)

    # --- towards Kubernetes ---------------------------------------------------------------------------

    async def _record(self, entry: JobEntry, status: DurableJobStatus) -> Object | None:
        """The compare-and-swap; the version that it made. None: it is refused, and the job is parked."""
        old = entry.job
        body = {**entry.raw, "status": status.to_api()}
        try:
            raw = await self._kube.replace(JOBS, body, "status")
        except Refused as error:
            metrics.STATUS_WRITES.labels(result="refused").inc()
            self._park(entry, "status", error)
            return None
        except Conflict:
            metrics.STATUS_WRITES.labels(result="conflict").inc()
            raise
        metrics.STATUS_WRITES.labels(result="ok").inc()
        entry.offer = entry.rejected = None
        self._jobs.put(raw)
        self._events.transition(old, old.status, status)
        note_transition(entry.job, old.status, status)
        return raw

    def _park(self, entry: JobEntry, what: str, error: Refused) -> None:
        """The same write would be refused again: a rule forbids it, or what is stored is not valid (any more).

        The rule may change (a CRD is upgraded, a webhook mended), so it is tried again, but seldom.
        """
        entry.parked_until = time.monotonic() + PARKED_SECONDS
        self._queue.add_after(entry.job.metadata.uid, PARKED_SECONDS)
        name = entry.job.metadata.name
        log.error("%s: parked, the API server refuses our %s: %s", name, what, error, extra=fields(entry.job))
        again = f"it is tried again in {PARKED_SECONDS / 60:.0f} minutes, or when the resource changes"
        note = f"A write of {what} was refused; {again}: {error}"
        self._events.post(entry.job, Transition("Parked", note, warning=True, action="Park"))

    async def _mark(self, entry: JobEntry, decision: Decision) -> bool:
        try:
            return await self._set_mark(entry, decision)
        except Refused as error:
            self._park(entry, "finalizers", error)
            return False

    async def _set_mark(self, entry: JobEntry, decision: Decision) -> bool:
        meta = entry.raw["metadata"]
        finalizers = [name for name in meta.get("finalizers", ()) if name != FINALIZER]
        if isinstance(decision, Delete):
            await self._kube.delete(JOBS, meta)
            return False
        if isinstance(decision, Guard):
            self._jobs.put(await self._kube.patch_metadata(JOBS, meta, {"finalizers": [*finalizers, FINALIZER]}))
            return True
        await self._kube.patch_metadata(JOBS, meta, {"finalizers": finalizers})
        return False


def _until_deadline(job: DurableJob, now: datetime) -> float | None:
    """Seconds until the attempt's deadline: it passes without anything else happening. None: there is none ahead."""
    current, seconds = job.current, job.spec.active_deadline_seconds
    if seconds is None or current is None or current.reservation is None or current.outcome is not None:
        return None
    left = (current.reservation.at + timedelta(seconds=seconds) - now).total_seconds()
    return left if left > 0 else None
