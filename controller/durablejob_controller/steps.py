"""The small parts that ``decide``, ``gated`` and ``ungated`` share: ends, notes, kills, and who counts as whom."""

from __future__ import annotations

from datetime import datetime, timedelta

from durablejob_api.job import DurableJob
from durablejob_api.status import Current, Ending, Outcome, Reservation, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.claims import wishes_end
from durablejob_controller.reasons import Why
from durablejob_controller.record import advanced, ended
from durablejob_controller.views import Decision, Kill, LookUp, Record, Seen, Site, Submit, Wait

QUEUED_GRACE = 5.0
"""Seconds of queueing after which it is worth a write to say what hinders the start."""

AMBIGUITY_ENDS_AFTER = 900.0
"""Seconds after which an attempt is given up that was submitted again and again, and of which no run was ever seen."""
AMBIGUITY_ENDS_AT = 10
"""Submissions that it takes besides: time alone also passes while nothing is sent."""
DOUBT_GRACE = 10.0
"""Seconds for which submissions whose fate is unclear are not worth a write."""
REPORTED = {
    Ending.RETURNED: (Outcome.SUCCEEDED, reasons.RETURNED),
    Ending.THREW: (Outcome.FAILED, reasons.THREW),
}
"""What the winner's own last report proves. A bare exit proves nothing: its code is not known."""


# --- writes ----------------------------------------------------------------------------------------


def end(job: DurableJob, current: Current, outcome: Outcome, why: Why, now: datetime, run: Run | None = None) -> Record:
    """The terminal write. Whoever calls it has seen to it that nothing can begin any more."""
    return Record(ended(job, current, outcome, why, now, run=run))


def inform(
    job: DurableJob,
    current: Current,
    state: State,
    why: Why,
    now: datetime,
    *,
    run: Run | None = None,
    reachable: bool | None = None,
    again: float | None = None,
    closely: bool = False,
    progress_due: bool = False,
) -> Decision:
    """Say how it stands, if that is news; otherwise wait.

    ``closely``: other words for the same reason are news too; ``progress_due``: and so is another progress.
    """
    status = job.status
    last = job.current
    if (
        status is not None
        and last is not None
        and (status.state, last.number, last.reason) == (state, current.number, why.reason)
        and (run is None or run.tracking_url in (None, status.tracking_url))
        and (run is None or not progress_due or run.progress in (None, status.progress))
        and (not closely or last.message == why.message[:1024])
    ):
        return Wait(again)
    return Record(advanced(job, current, state, why, now, run=run, reachable=reachable))


def unanswered(job: DurableJob, current: Current, seen: Seen, now: datetime) -> Decision:
    """No usable answer: nothing may be concluded; say so when it lasts."""
    if seen.trouble is None:
        return LookUp()
    return inform(job, current, state_of(job), reasons.backend_unreachable(seen.trouble), now, reachable=False)


def put_down(job: DurableJob, current: Current, run: Run, why: Why, now: datetime) -> Decision:
    """Note that its end is wished and why, once, before the first kill: the reason outlives this process."""
    if current.cancel_requested_at is not None:
        return Kill(run.id)
    noted = current.model_copy(update={"cancel_requested_at": now})
    return Record(advanced(job, noted, State.CANCELLING, why, now, run=run), then=Kill(run.id))


def given_up(seen: Seen) -> Why | None:
    """Why no further submission is sent: one was refused, or no run of any was seen for long. None: go on."""
    if seen.rejected is not None:
        return Why(seen.rejected.reason, seen.rejected.message)
    again_and_again = seen.trying >= AMBIGUITY_ENDS_AFTER and seen.tries >= AMBIGUITY_ENDS_AT
    return reasons.never_listed(seen.tries, seen.doubt) if again_and_again else None


def not_to_be_sent(site: Site, reservation: Reservation) -> Why | None:
    """Why what was reserved will never be sent: it would be refused today, or be something else. None: it may be."""
    if site.unfit is not None:
        return site.unfit.why if site.unfit.final else None
    return reasons.BODY_CHANGED if site.body_hash != reservation.body_hash else None


def submit_again(job: DurableJob, current: Current, site: Site, seen: Seen, now: datetime) -> Decision:
    """Now, or after the pause; where it lasts, what the submissions are answered is told."""
    if site.unfit is not None:  # an error in judging it is no verdict, and nothing is sent either
        return inform(job, current, state_of(job), site.unfit.why, now, closely=True)
    if seen.hold <= 0:
        return Submit()
    if seen.doubt is None or seen.trying < DOUBT_GRACE:
        return Wait(seen.hold)
    why = reasons.backend_unreachable(seen.doubt)
    return inform(job, current, State.SUBMITTING, why, now, reachable=False, again=seen.hold, closely=True)


# --- the run that counts -----------------------------------------------------------------------------


def active(job: DurableJob, current: Current, run: Run, seen: Seen, now: datetime) -> Decision:
    """The run that counts is alive: end it if that is wished, else say how it is."""
    if wishes_end(job, current.number):
        return put_down(job, current, run, reasons.CANCELLING, now)
    if overdue(job, current, now):
        return put_down(job, current, run, reasons.DEADLINE, now)
    if current.cancel_requested_at is not None:
        return Kill(run.id)  # its end was noted, with the reason: that is carried through, whatever it looks like since
    if run.condemned is not None:
        why = reasons.CONDEMNED.get(run.condemned) or Why(run.condemned, run.message or "")
        return put_down(job, current, run, why, now)
    # A system may step back (its pod is being deleted, it recovers): what had started is not said to wait.
    started = current.claim is not None or run.phase is Phase.RUNNING or current.started_at is not None
    state = State.RUNNING if started else State.SUBMITTED
    if started and current.started_at is None:
        current = current.model_copy(update={"started_at": now})
    if started:
        due = seen.progress_due
        hindered = run.phase is Phase.QUEUED and run.reason is not None
        why = Why(str(run.reason), run.message or reasons.RUNNING.message) if hindered else reasons.RUNNING
        return inform(job, current, state, why, now, run=run, reachable=True, progress_due=due)
    if run.expires is not None and now >= run.expires:
        given_up = with_detail(reasons.NOT_STARTED, run.message)
        return put_down(job, current, run, Why(run.reason or given_up.reason, given_up.message), now)
    why = with_detail(reasons.SUBMITTED, run.message)
    patience = None
    if run.reason is not None and current.reservation is not None:
        patience = QUEUED_GRACE - (now - current.reservation.at).total_seconds()
        if patience <= 0:
            patience, why = None, Why(run.reason, run.message or why.message)
    left = (run.expires - now).total_seconds() if run.expires is not None else None
    again = min((each for each in (patience, left) if each is not None), default=None)
    return inform(job, current, state, why, now, run=run, reachable=True, again=again)


def judge(job: DurableJob, current: Current, run: Run, now: datetime) -> tuple[Outcome, Why]:
    """What the external system's word on the run that counts means."""
    if run.verdict is Verdict.SUCCEEDED:
        return Outcome.SUCCEEDED, reasons.SUCCEEDED
    how, said = (current.claim.how, current.claim.message) if current.claim else (None, None)
    if run.verdict is not Verdict.FAILED and how in REPORTED:
        outcome, why = REPORTED[how]  # it had ended of itself before it was killed, or lost from sight
        return outcome, with_detail(why, said)
    if run.verdict in (Verdict.KILLED, Verdict.DELETED):
        return ended_by_us(job, current, now) or (
            Outcome.FAILED,
            reasons.KILLED if run.verdict is Verdict.KILLED else reasons.DELETED_EXTERNALLY,
        )
    if run.verdict is Verdict.REFUSED:
        return Outcome.LOST, reasons.REFUSED_COPY
    if run.verdict is Verdict.UNKNOWN:
        return Outcome.LOST, with_detail(reasons.LOST_SIGHT, run.message)
    why = Why(run.reason or reasons.PROGRAM_FAILED.reason, run.message or reasons.PROGRAM_FAILED.message)
    return Outcome.FAILED, Why(why.reason, f"{said}. {why.message}") if said else why


def ended_by_us(job: DurableJob, current: Current, now: datetime) -> tuple[Outcome, Why] | None:
    """The outcome where the end was our doing, by a wish, the deadline or a noted refusal; else None."""
    if wishes_end(job, current.number):
        return Outcome.CANCELLED, reasons.CANCELLED
    if overdue(job, current, now):
        return Outcome.FAILED, reasons.DEADLINE
    if current.cancel_requested_at is not None and current.reason is not None:
        return Outcome.FAILED, Why(current.reason, current.message or "")
    return None


# --- who and when -----------------------------------------------------------------------------------


def with_detail(why: Why, detail: str | None) -> Why:
    return Why(why.reason, f"{why.message} ({detail})") if detail else why


def state_of(job: DurableJob) -> State:
    return job.status.state if job.status is not None else State.PENDING


def overdue(job: DurableJob, current: Current, now: datetime) -> bool:
    seconds = job.spec.active_deadline_seconds
    reservation: Reservation | None = current.reservation
    return seconds is not None and reservation is not None and now >= reservation.at + timedelta(seconds=seconds)


def is_recorded(run: Run, run_id: str, current: Current) -> bool:
    """Whether this is the recorded run: the same id, and the same start where that was noted."""
    if run.id != run_id or run.foreign:
        return False
    return current.run_started_time is None or run.started_time in (None, current.run_started_time)


def winner_id(current: Current) -> str | None:
    """Id of the one run that counts; None where there is none (yet)."""
    if current.claim is not None:
        return current.claim.driver
    reservation = current.reservation
    return (reservation.object_uid or reservation.application_id) if reservation else None
