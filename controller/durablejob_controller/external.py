"""What a decision asks of the external system, and what this process remembers of the answers.

An answer is remembered with the moment at which it was asked for. That there is none is remembered, too: what lasts is
told to the job, and nothing is concluded from it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

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
from durablejob_controller.errors import BackendError, BackendUnavailable, Forbidden
from durablejob_controller.jobs import JobEntry
from durablejob_controller.kube import Kube, Object
from durablejob_controller.logs import fields
from durablejob_controller.queue import WorkQueue
from durablejob_controller.sites import Sites
from durablejob_controller.views import Close, Release

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_AGAIN = 30.0
"""Seconds after which a system in trouble is asked again for what a job that has ended may have left there."""

FORBIDDEN_TIMES = 3
"""Refusals of a Secret that are not believed yet."""


def backoff(times: int, first: float = 0.5, most: float = 30.0) -> float:
    """Seconds before try number ``times`` + 1."""
    return float(min(most, first * 2 ** min(times, 16)))


class External:
    """The external systems, as the reconciler talks to them."""

    def __init__(self, kube: Kube, sites: Sites, queue: WorkQueue, poll_interval: float) -> None:
        self._kube = kube
        self._sites = sites
        self._queue = queue
        self._poll_interval = poll_interval

    async def look_up(self, uid: str, entry: JobEntry, exactly: bool, first: Close | Release | None = None) -> bool:
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

    async def kill(self, uid: str, entry: JobEntry, run: str) -> bool:
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

    async def secrets(self, entry: JobEntry) -> Values | Rejected:
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

    async def reserve(self, entry: JobEntry) -> None:
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

    async def submit(self, uid: str, entry: JobEntry, version: Object, secrets: Values | Rejected) -> bool:
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

    def _backend(self, entry: JobEntry) -> Backend:
        found = self._sites.entry(entry.job)
        if found is None or found.backend is None:
            raise BackendError(f"backend {entry.job.spec.backend_ref.name} has just gone")
        return found.backend
