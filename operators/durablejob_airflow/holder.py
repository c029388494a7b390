"""One try of a task as the holder of its DurableJob: what ``identity.decide`` says is done here.

Every write is a compare-and-swap (the resource version that was read is replaced), so that of two
processes only one succeeds and the other looks again. A process that is no longer the holder finds
that out from the job itself and stops; what it might still write is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from durablejob_airflow import story
from durablejob_airflow.contract import CannotRun, Log, Policy, Stale, Store
from durablejob_airflow.identity import Decision, Record, Relation, TaskIdentity, TryFacts, Verb, decide, relate
from durablejob_airflow.payload import differences, manifest
from durablejob_airflow.resource import Absent, Backoff, Conflict, Refused, Unavailable
from durablejob_airflow.view import JobView, view_of
from durablejob_api import CREATED_AT
from durablejob_api.base import format_time

if TYPE_CHECKING:
    from durablejob_airflow.client import JobsClient

T = TypeVar("T")
_DISBELIEF = {401: 3, 403: 3, 404: 7}
"""HTTP status -> how often it is not believed: for 3.5 s, and for a minute (``Backoff``)."""
_CONFLICTS = 7
"""So often in a row somebody else may have written first: for a minute. Then it is no other writer who answers so."""


def believed(call: Callable[[], T], pause: Callable[[float], None], log: Log) -> T:
    """The call's result; missing rights and a missing kind are believed only when they last.

    An API server that starts up, and a proxy whose API server is away, say so at first.

    :raises Refused: they last, or it is something else that is refused
    """
    backoff = Backoff()
    while True:
        try:
            return call()
        except Refused as error:
            if isinstance(error, Absent) or backoff.count >= _DISBELIEF.get(error.status, 0):
                raise
            seconds = backoff.next()
            log.warning("Kubernetes refuses, next try in %.1f s (%s)", seconds, error)
            pause(seconds)


@dataclass
class JobHolder:
    """This try, its job, and everything needed to bring the two together."""

    jobs: JobsClient
    identity: TaskIdentity
    facts: TryFacts
    store: Store
    log: Log
    work: Callable[[], Mapping[str, Any]]
    """Today's work, to compare with what runs; whatever it raises, what runs is held."""
    spec: Callable[[], dict[str, Any]]
    """Today's whole spec, checked; asked for only where it is submitted."""
    pause: Callable[[float], None]
    """Sleeps; raises if the process is to stop."""
    is_skip: Callable[[JobView], bool] = lambda job: False
    """Whether an end makes the task skipped: then a retry starts no next attempt."""
    count: Callable[[Verb], None] = lambda verb: None
    """Told of each decision, once until another one is made."""
    policy: Policy = field(default_factory=Policy)
    labels: Mapping[str, str] = field(default_factory=dict)
    told: JobView | None = None
    _record: Record | None = None
    _why: str = ""
    _conflicts: Backoff = field(default_factory=Backoff)

    def patiently(self, call: Callable[[], T], holding: bool = False) -> T:
        """The call's result, however long the API server is away: an outage burns no retry.

        :param holding: this try holds its job, so missing rights are waited for as well: the job goes on without them,
            and would be cancelled after the task's end
        """
        backoff = Backoff()
        while True:
            try:
                return believed(call, self.pause, self.log)
            except Unavailable as error:
                seconds = backoff.next()
                self.log.warning("Kubernetes does not answer, next try in %.1f s (%s)", seconds, error)
            except Refused as error:
                if not holding or error.status not in _DISBELIEF:
                    raise
                seconds = backoff.next()
                self.log.warning(
                    "Kubernetes refuses to %s%s. The job goes on; next try in %.1f s", error, error.hint, seconds
                )
            self.pause(seconds)

    def look(self, holding: bool = False) -> tuple[dict[str, Any] | None, JobView | None]:
        """The job as it is now, raw and as a view."""
        raw = self.patiently(lambda: self.jobs.get(self.identity.name), holding)
        return raw, view_of(raw) if raw else None

    def tell(self, job: JobView) -> None:
        """Each transition once into the log."""
        for line in story.tell(self.told, job):
            self.log.info("%s", line)
        self.told = job

    # Entering ------------------------------------------------------------------------------------

    def enter(self) -> JobView | dict[str, Any]:
        """Create, adopt or raise until this try holds an attempt to wait for; or the recorded result.

        :raises Stale, CannotRun, Refused:
        """
        found, proven = self.store.load(), False
        while True:
            raw, job = self.look()
            if job and self._not_yet_ours_to_judge(job):
                continue
            skips = job is not None and self.is_skip(job)
            decision = decide(found, job, self.facts, self.policy.on_lost, self.policy.durable, skips)
            if decision.verb is not Verb.STALE and not proven:
                # A nonce that is absent means a new run, or that our own id is archived: only a write tells.
                self._record, proven = found or Record(nonce=secrets.token_hex(16)), True
                self.store.save(self._record)
            result = self._act(decision, raw, job)
            if result is not None:
                return result
            found = self._record if proven else found

    def _not_yet_ours_to_judge(self, job: JobView) -> bool:
        """A job that is going away is waited for; one of another Airflow is an error."""
        if job.deployment != self.identity.deployment:
            raise CannotRun(
                f"DurableJob {job.namespace}/{job.name} belongs to deployment {job.deployment!r}, not to "
                f"{self.identity.deployment!r}: set another deployment id or namespace in the connection"
            )
        if job.deleting:
            if self._why != "deleting":
                self._why = "deleting"
                self.log.info("DurableJob %s is being deleted; waiting until it is gone", job.name)
            self.pause(1.0)
        return job.deleting

    def _act(
        self, decision: Decision, raw: dict[str, Any] | None, job: JobView | None
    ) -> JobView | dict[str, Any] | None:
        """Do what was decided; None means: look again."""
        if decision.why != self._why:
            self._why = decision.why
            self.log.info("DurableJob %s: %s. Now: %s", self.identity.name, decision.why, decision.verb.value)
            self.count(decision.verb)
        if decision.verb is Verb.CREATE:
            self._create()
        elif raw is None or job is None:
            return self._without_job(decision)
        elif decision.verb is Verb.RESUME or (decision.verb is Verb.TAKE_OVER and job.ended is not None):
            self._remember(job)
            return job  # an end that was seen counts, and there is nothing left to hold
        elif decision.verb is Verb.AWAIT_END:
            self.tell(job)
            self.pause(1.0)
        elif decision.verb is Verb.RAISE:
            self._raise(raw, job, decision)
        elif decision.verb is Verb.TAKE_OVER:
            self._compare(raw)
            self._swap(raw, holder=self._as_holder(job))
        elif decision.verb is Verb.CANCEL:
            cause = {"attempt": job.attempt, "holderID": self.facts.id, "cause": "Cleared"}
            self._swap(raw, holder=self._as_holder(job), cancel=cause)
        else:
            self._refuse(decision, job)
        return None

    def _as_holder(self, job: JobView | None = None) -> dict[str, Any]:
        """This try as ``spec.holder``."""
        return {
            "incarnation": self._record.nonce if self._record else "",
            "id": self.facts.id,
            "tryNumber": self.facts.try_number,
            "maxTries": self.facts.max_tries,
            "clearNumber": self.facts.clear_number,
            "acknowledged": job.holder.acknowledged if job and job.holder else 0,
        }

    def _create(self) -> None:
        spec = self.spec() | {"attempt": 1, "holder": self._as_holder()}
        labels = {**self.labels, **self.identity.labels}

        def create() -> None:
            # The stamp is of this very request: where it is much older than the resource, that is a restored copy.
            annotations = {**self.identity.annotations, CREATED_AT: format_time(datetime.now(UTC))}
            self.jobs.create(manifest(self.identity.name, self.jobs.namespace, spec, labels, annotations))

        # It may exist by our own request, repeated after a lost answer, or by another try's: the job will tell.
        self._unless_overtaken(create, "exists already")

    def _swap(self, raw: Mapping[str, Any], **changes: Any) -> None:
        """Write changes of the spec, unless somebody wrote since; then the next look decides anew."""
        try:
            write = partial(self.jobs.replace, {**raw, "spec": {**raw["spec"], **changes}})
            self._unless_overtaken(write, "was changed meanwhile")
        except Refused as error:
            if error.status != 404:
                raise

    def _unless_overtaken(self, write: Callable[[], object], what: str) -> None:
        """Write; where somebody else was faster, pause for the next look.

        :raises Conflict: somebody was, time and again
        """
        try:
            self.patiently(write)
            self._conflicts.reset()
        except Conflict as error:
            if self._conflicts.count >= _CONFLICTS:
                raise
            self.log.info("DurableJob %s %s; looking again (%s)", self.identity.name, what, error)
            self.pause(self._conflicts.next())

    def _raise(self, raw: Mapping[str, Any], job: JobView, decision: Decision) -> None:
        """The next attempt, with today's work, in one write."""
        changed = differences(raw["spec"], self.work())
        if changed:
            self.log.info("The work has changed since attempt %d: %s", job.attempt, "; ".join(changed))
        spec = self.spec() | {
            "attempt": job.attempt + 1,
            "acceptLost": max(job.accept_lost, decision.accept_lost),
            "holder": self._as_holder(job),
        }
        meta = {**raw["metadata"], "labels": {**(raw["metadata"].get("labels") or {}), **self.labels}}
        self._swap({**raw, "metadata": meta, "spec": spec})

    def _compare(self, raw: Mapping[str, Any]) -> None:
        """Adopting a job whose work is not today's is said, or refused where the author wants that."""
        try:
            changed = differences(raw["spec"], self.work())
        except Exception as error:  # the author's own code, too: it is no reason to leave a job that runs
            if self.policy.fail_on_changed_work:
                raise
            changed = [f"today's arguments cannot be made: {type(error).__name__}: {error}"]
        if not changed:
            return
        text = "The task's work has changed since the job was submitted: " + "; ".join(changed)
        if self.policy.fail_on_changed_work:
            raise CannotRun(f"{text}. Clear the task to run the new work (on_work_changed='fail')")
        self.log.warning("%s. The job goes on as it was submitted; clear the task to run the new work", text)

    def _without_job(self, decision: Decision) -> dict[str, Any]:
        if decision.verb is Verb.RETURN_RESULT and self._record and self._record.result is not None:
            return self._record.result
        raise CannotRun(
            f"DurableJob {self.jobs.namespace}/{self.identity.name} is missing: {decision.why}. Clear the task to run "
            "it anew"
        )

    def _refuse(self, decision: Decision, job: JobView) -> None:
        if decision.verb is Verb.STALE:
            raise Stale(decision.why)
        if decision.verb is Verb.LOST:
            raise CannotRun(story.lost_text(job))
        raise CannotRun(f"{decision.why}: {story.headline(job)}. Clear the task to run it anew")

    def _remember(self, job: JobView) -> None:
        """What a later try must know if the job is gone by then."""
        if self._record is None:
            return
        record = replace(
            self._record, uid=job.uid, max_tries=self.facts.max_tries, clear_number=self.facts.clear_number
        )
        if record != self._record:
            self._record = replace(record, result=None)
            self.store.save(self._record)

    # Holding -------------------------------------------------------------------------------------

    def again(self, seen: str = "") -> JobView:
        """The job this try holds.

        :param seen: what is known of its end, for whom it is gone by now
        :raises CannotRun: it was deleted
        :raises Stale: another try holds it
        """
        _, job = self.look(holding=True)
        if job is None:
            raise CannotRun(
                f"DurableJob {self.jobs.namespace}/{self.identity.name} was deleted while the task waited for it. "
                f"{seen}Clear the task to run it anew"
            )
        if job.holder is None or job.holder.id != self.facts.id:
            holder = f"try {job.holder.try_number}" if job.holder else "nobody"
            raise Stale(f"{holder} holds DurableJob {job.name}, this is try {self.facts.try_number}")
        return job

    def wait(self, job: JobView, interval: float) -> JobView:
        """Poll until the attempt has ended; ``pause`` raises when that takes too long."""
        self.tell(job)
        while job.ended is None:
            self.pause(interval)
            job = self.again()
            self.tell(job)
        return job

    def glance(self, result: Mapping[str, Any]) -> JobView | None:
        """The job of whose success this is the result, if it can be read at once."""
        try:
            raw = self.jobs.get(self.identity.name)
        except Exception as error:  # whatever it is, the success is known
            self.log.warning("DurableJob %s has succeeded, and cannot be read now: %s", self.identity.name, error)
            return None
        job = view_of(raw) if raw else None
        if job is None or not _gave(job, result):
            self.log.info("DurableJob %s has succeeded, and is gone since", self.identity.name)
            return None
        return job

    def take_result(self, result: dict[str, Any], acknowledge: bool = True) -> dict[str, Any]:
        """Record the result of a succeeded attempt, and acknowledge it: its job need not be kept for longer any more.

        Both once, without patience: the task has succeeded with its job, and only the job's time to live depends on
        the acknowledgement. A time limit may strike here; then, too, it is for the operator to return the result.
        """
        try:
            record = self._record or self.store.load()
            if record is not None:
                self._record = replace(record, result=result)
                self.store.save(self._record)
            if acknowledge:
                self._acknowledge(result)
        except Exception as error:  # whatever it is, it does not make a success of the job a failure of the task
            self.log.warning("The job has succeeded, but that could not be noted: %s", error)
        return result

    def _acknowledge(self, result: Mapping[str, Any]) -> None:
        """Write it into the job, as its holder: unless a later try is that by now."""
        raw = self.jobs.get(self.identity.name)
        job = view_of(raw) if raw else None
        if raw is None or job is None or not _gave(job, result):
            return
        if job.holder is None or job.holder.acknowledged >= job.attempt:
            return
        if relate(self._record, job, self.facts) in (Relation.SAME, Relation.RETRY, Relation.UNKNOWN):
            holder = self._as_holder(job) | {"acknowledged": job.attempt}
            self.jobs.replace({**raw, "spec": {**raw["spec"], "holder": holder}})


def _gave(job: JobView, result: Mapping[str, Any]) -> bool:
    """Whether the result is of the job's current attempt, which has succeeded."""
    return job.ended == "Succeeded" and (job.uid, job.attempt) == (result["uid"], result["attempt"])
