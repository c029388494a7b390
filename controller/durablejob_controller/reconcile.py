"""Reconciles one job: look, decide, do one thing, and again, until there is nothing to do but wait.

All decisions are ``decide``'s. What is here carries them out, knows what was asked when, and turns every
error into "again later": an error may delay a job, and never decides about it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TypeVar

from durablejob_api import FINALIZER
from durablejob_api.job import DurableJob
from durablejob_api.status import DurableJobStatus
from durablejob_controller import metrics
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Backend,
    Deferred,
    Rejected,
    Sighting,
    Submission,
    Unclear,
)
from durablejob_controller.credentials import Values, job_secrets
from durablejob_controller.decide import decide
from durablejob_controller.errors import (
    BackendError,
    BackendUnavailable,
    Conflict,
    DurableJobError,
    Forbidden,
    KubernetesError,
    NotFound,
    Refused,
)
from durablejob_controller.events import EventRecorder, Transition
from durablejob_controller.jobs import JobEntry, Jobs
from durablejob_controller.kube import JOBS, Kube, Object, is_newer
from durablejob_controller.logs import fields, note_transition
from durablejob_controller.queue import WorkQueue
from durablejob_controller.reasons import Why
from durablejob_controller.sites import Sites
from durablejob_controller.views import (
    Close,
    Decision,
    Delete,
    Guard,
    Kill,
    LookUp,
    NoSite,
    Record,
    Release,
    Reserve,
    Seen,
    Site,
    Submit,
    Unguard,
    Wait,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_STEPS = 20
"""Steps in one go; a job that wants more has its turn again after the others."""

LOOK_AGAIN = 30.0
"""Seconds after which a system in trouble is asked again for what a job that has ended may have left there."""

FORBIDDEN_TIMES = 3
"""Refusals of a Secret that are not believed yet."""


def backoff(times: int, first: float = 0.5, most: float = 30.0) -> float:
    """Seconds before try number ``times`` + 1."""
    return float(min(most, first * 2 ** min(times, 16)))


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

    async def reconcile(self, uid: str) -> None:
        """Bring one job as far as it goes. Raises nothing: what goes wrong is tried again later."""
        entry = self._jobs.get(uid)
        if entry is None or entry.parked:
            return
        metrics.RECONCILES.inc()
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
        except DurableJobError as error:
            self._later(uid, entry, error)
            log.warning("%s: %s: %s", entry.job.metadata.name, type(error).__name__, error, extra=fields(entry.job))
        except Exception as error:  # one bad object never stops the rest
            self._later(uid, entry, error)
            log.exception("%s: unexpected error", entry.job.metadata.name, extra=fields(entry.job))

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
        site: Site | NoSite
        version = entry.raw
        if entry.invalid is not None:
            site = NoSite(Why("InvalidSpec", f"spec: {entry.invalid}"), final=True)
        else:
            site = await self._sites.site(entry)
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
                version, secrets = entry.raw, await self._secrets(entry)
                if not entry.is_at(version):
                    return True  # somebody wrote meanwhile, a cancel perhaps: what is replaced is what was decided upon
                written = await self._record(entry, status)
                return written is not None and await self._submit(uid, entry, written, secrets)
            case Record(status=status, then=then):
                if await self._record(entry, status) is None:
                    return False
                return True if then is None else await self._carry_out(uid, entry, then)
            case LookUp(exactly=exactly):
                return await self._look_up(uid, entry, exactly)
            case Guard() | Unguard() | Delete():
                return await self._mark(entry, decision)
            case Submit():
                version = entry.raw
                # No write of ours comes before it, whose answer would tell that the storage has gone back.
                await self._kube.check(entry.job.metadata.namespace)
                return await self._submit(uid, entry, version, await self._secrets(entry))
            case Reserve():
                await self._reserve(entry)
                return True
            case Kill(run=run):
                return await self._kill(uid, entry, run)
            case Close() | Release():
                return await self._look_up(uid, entry, exactly=True, first=decision)

    def _backend(self, entry: JobEntry) -> Backend:
        found = self._sites.entry(entry.job)
        if found is None or found.backend is None:
            raise BackendError(f"backend {entry.job.spec.backend_ref.name} has just gone")
        return found.backend

    # --- towards Kubernetes ---------------------------------------------------------------------------

    async def _record(self, entry: JobEntry, status: DurableJobStatus) -> Object | None:
        """The compare-and-swap; the version that it made. None: it is refused for good, and the job is parked."""
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
        """The same write would be refused again: its rules forbid it, or what is stored is not valid (any more)."""
        entry.parked = True
        name = entry.job.metadata.name
        log.error("%s: parked, the API server refuses our %s: %s", name, what, error, extra=fields(entry.job))
        note = f"A write of {what} was refused; nothing more is tried until the resource changes: {error}"
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

    # --- towards the external system ------------------------------------------------------------------

    async def _look_up(self, uid: str, entry: JobEntry, exactly: bool, first: Close | Release | None = None) -> bool:
        """Ask, after this verb; a verb without an answer is as an unanswered look: told when it lasts, and repeated."""
        found = self._sites.entry(entry.job)
        if found is None or found.poller is None:
            self._queue.add_after(uid, self._poll_interval)
            return False
        poller = found.poller
        told = (poller.trouble or entry.trouble) is not None and entry.sighting is None
        try:
            if poller.hopeless:
                raise BackendUnavailable(poller.failure)  # the poller wakes the job; no worker waits with it
            if exactly:
                sent, sighting = time.monotonic(), await self._look_up_exactly(entry, first)
                poller.told(entry.key, sighting.runs, sent)
            else:
                taken = await poller.fresh()
                sent, sighting = taken.sent, taken.sighting(entry.key)
        except BackendError as error:
            log.debug("%s: no usable answer: %s", entry.job.metadata.name, error, extra=fields(entry.job))
            entry.trying_since = None  # an outage is waited for, however long it is
            self._queue.add_after(uid, LOOK_AGAIN if told and not entry.unfinished else self._poll_interval)
            if (poller.trouble or entry.trouble) is None or told:
                return False
            entry.forget_sighting()
            entry.asked = time.monotonic()  # nor is what a batch saw before of any use
            return True  # once more, so that the job says what is wrong
        entry.saw(sighting, sent, exact=exactly)
        return True

    async def _kill(self, uid: str, entry: JobEntry, run: str) -> bool:
        """End this run; where the system refuses that for long, the job says so."""
        try:
            await self._heard(entry, "kill", self._backend(entry).kill(run))
        except BackendError:
            if entry.trouble is None:
                raise
            self._queue.add_after(uid, LOOK_AGAIN)
            entry.forget_sighting()
            entry.asked = time.monotonic()
            return True  # once more, so that the job says what is wrong
        entry.read = time.monotonic()
        self._queue.add_after(uid, self._poll_interval)
        return False

    async def _look_up_exactly(self, entry: JobEntry, first: Close | Release | None) -> Sighting:
        backend, current = self._backend(entry), entry.job.current
        if isinstance(first, Close) and current is not None:
            await self._heard(entry, "close", backend.close(entry.job, current, seen=first.seen))
        elif first is not None and current is not None:
            await self._heard(entry, "release", backend.release(entry.job, current))
        sighting = await self._heard(entry, "look_up", backend.look_up(entry.key, current))
        if sighting.closed:
            entry.answered("close", None)  # by another replica, perhaps
        return sighting

    @staticmethod
    async def _heard(entry: JobEntry, verb: str, asked: Awaitable[T]) -> T:
        """The answer; that there is none is noted."""
        try:
            answer = await asked
        except BackendError as error:
            entry.answered(verb, str(error))
            raise
        entry.answered(verb, None)
        return answer

    async def _secrets(self, entry: JobEntry) -> Values | Rejected:
        """Missing rights are believed at the fourth time only: an API server that starts up says so at first."""
        if not self._backend(entry).traits.takes_secrets:
            return {}
        try:
            return await job_secrets(self._kube, entry.job)
        except Forbidden as error:
            if entry.failures < FORBIDDEN_TIMES:
                raise
            words = f"spec.spark.env: the controller's account lacks get on Secrets: {error}"
            return Rejected("SecretForbidden", words)

    async def _reserve(self, entry: JobEntry) -> None:
        """Set something aside; what keeps it from that is told to the job, and tried again after a pause."""
        key = entry.key
        try:
            answer = await self._backend(entry).reserve(entry.job, key)
        except BackendError as error:
            log.warning("%s: nothing is reserved: %s", entry.job.metadata.name, error, extra=fields(entry.job))
            entry.doubt, entry.deferred = str(error), None
            self._turned_away(entry)
            return
        if entry.key != key:
            return  # another controller has begun another attempt, of which this is not
        entry.deferred = answer if isinstance(answer, Deferred) else None
        entry.doubt = None
        if isinstance(answer, Deferred):
            self._turned_away(entry)
            return
        entry.not_before, entry.turned_away = 0.0, 0
        if isinstance(answer, Rejected):
            entry.rejected = answer
        else:
            entry.offer = answer

    @staticmethod
    def _turned_away(entry: JobEntry) -> None:
        entry.not_before = time.monotonic() + backoff(entry.turned_away)
        entry.turned_away += 1

    async def _submit(self, uid: str, entry: JobEntry, version: Object, secrets: Values | Rejected) -> bool:
        """Send what this version of the job has reserved, if nobody has made another since."""
        if self._sites.held(entry.job) is not None:
            return True  # the answer to our last call has told it: decide again
        if not entry.is_at(version):
            return True  # it may be cancelled by now, or another claim be open
        backend = self._backend(entry)
        entry.trying_since = entry.trying_since or time.monotonic()
        answer = secrets if isinstance(secrets, Rejected) else await self._send(entry, backend, secrets)
        # A list that was asked for while the submission was under way may rightly lack it.
        entry.read = time.monotonic()
        metrics.SUBMISSIONS.labels(entry.job.spec.backend_ref.name, type(answer).__name__.lower()).inc()
        entry.not_before = time.monotonic() + backoff(entry.tries)
        entry.tries += 1
        entry.doubt = answer.message if isinstance(answer, Unclear) else None
        if isinstance(answer, Accepted):
            self._queue.add_after(uid, self._poll_interval)
            return False
        if isinstance(answer, Rejected):
            if entry.is_at(version):  # else it may be about a claim that was replaced meanwhile
                entry.rejected = answer
            return True
        log.warning("%s: submission unclear: %s", entry.job.metadata.name, answer.message, extra=fields(entry.job))
        return True

    async def _send(self, entry: JobEntry, backend: Backend, secrets: Values) -> Answer:
        current = entry.job.current
        if current is None or current.reservation is None:
            raise BackendError("nothing is reserved")
        if backend.body_hash(entry.job, current.key) != current.reservation.body_hash:
            return Unclear("not sent: it is no longer what was reserved")
        began = time.monotonic()
        try:
            return await backend.submit(Submission(entry.job, current, secrets))
        except BackendError as error:
            return Unclear(str(error))
        finally:
            metrics.BACKEND_SECONDS.labels(entry.job.spec.backend_ref.name, "submit").observe(time.monotonic() - began)


def _until_deadline(job: DurableJob, now: datetime) -> float | None:
    """Seconds until the attempt's deadline: it passes without anything else happening. None: there is none ahead."""
    current, seconds = job.current, job.spec.active_deadline_seconds
    if seconds is None or current is None or current.reservation is None or current.outcome is not None:
        return None
    left = (current.reservation.at + timedelta(seconds=seconds) - now).total_seconds()
    return left if left > 0 else None
