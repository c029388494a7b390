"""Decisions about an attempt that asks nobody for leave: an inert object, or a reserved id with a fence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from durablejob_api.job import DurableJob
from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Current, Outcome, Reservation, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Phase, Run, Sighting, Verdict
from durablejob_controller.claims import wishes_end
from durablejob_controller.reasons import Why
from durablejob_controller.record import advanced
from durablejob_controller.steps import (
    active,
    end,
    ended_by_us,
    given_up,
    is_recorded,
    judge,
    not_to_be_sent,
    overdue,
    put_down,
    submit_again,
    unanswered,
)
from durablejob_controller.views import (
    Close,
    Decision,
    Kill,
    LookUp,
    Record,
    Release,
    Seen,
    Site,
    Unguard,
)

# --- an inert object ---------------------------------------------------------------------------------


def inert_object(
    job: DurableJob, current: Current, reservation: Reservation, site: Site, seen: Seen, now: datetime
) -> Decision:
    """Activated by its uid: a late activation finds another uid, or nothing."""
    if seen.sighting is None:
        return unanswered(job, current, seen, now)
    impostor = next((r for r in seen.runs if r.id != reservation.object_uid and r.active), None)
    if impostor is not None:
        return Kill(impostor.id)  # killed, not believed
    run = next((r for r in seen.runs if r.id == reservation.object_uid), None)
    if run is None:
        if not seen.confirmed:
            return LookUp(exactly=True)
        if job.deleting and job.spec.deletion_policy is DeletionPolicy.ORPHAN:
            return Unguard()  # released, and then removed in its own time
        # Once activated it cannot vanish, our finalizer holds it. If the end was ours, this is it.
        outcome, why = ended_by_us(job, current, now) or (Outcome.LOST, reasons.LOST)
        return end(job, current, outcome, why, now)
    # Suspending and resuming an object gives it another start time, or takes it away: what was recorded has stopped.
    again = current.run_started_time is not None and run.started_time != current.run_started_time
    if again and not seen.fresh:
        return LookUp()  # another controller has recorded it since we looked
    if run.phase is Phase.ENDED:
        outcome, why = judge(job, current, run, now)
        if again and run.verdict in (Verdict.SUCCEEDED, Verdict.FAILED):
            outcome, why = Outcome.FAILED, reasons.PREEMPTED  # the end of another start
        return end(job, current, outcome, why, now, run=run)
    if run.phase is Phase.INERT:
        return _activate(job, current, run, reservation, site, seen, now)
    if job.deleting and not wishes_end(job, current.number):
        return Release() if run.held else Unguard()  # Orphan
    if again:
        run = replace(run, condemned=reasons.PREEMPTED.reason)
    elif run.started_time is not None:
        current = current.model_copy(update={"run_started_time": run.started_time})  # in whatever is written next
    return active(job, current, run, seen, now)


def _activate(
    job: DurableJob, current: Current, run: Run, reservation: Reservation, site: Site, seen: Seen, now: datetime
) -> Decision:
    if wishes_end(job, current.number) or overdue(job, current, now) or current.cancel_requested_at is not None:
        why = reasons.CANCELLING if wishes_end(job, current.number) else reasons.DEADLINE
        return put_down(job, current, run, why, now)
    refusal = given_up(seen) or not_to_be_sent(site, reservation)
    if refusal is not None:
        # By an older look it may be active by now, and what runs is not ended for what would be sent today.
        return put_down(job, current, run, refusal, now) if seen.fresh else LookUp()
    return submit_again(job, current, site, seen, now)


# --- a reserved id, behind a fence -----------------------------------------------------------------------


def reserved_id(
    job: DurableJob, current: Current, reservation: Reservation, site: Site, seen: Seen, now: datetime
) -> Decision:
    """Submitted under its id: the fence must be closed before any end is written."""
    if seen.sighting is None:
        return unanswered(job, current, seen, now)
    if current.run_started_time is None and seen.sighting.seen is not None:
        # Who closed the fence had seen this one, and has not come to record it.
        current = current.model_copy(update={"run_started_time": seen.sighting.seen})
    known = [r for r in seen.runs if r.id == reservation.application_id]
    if any(r.foreign for r in known):
        return _close_then_end(job, current, seen, Outcome.LOST, reasons.FOREIGN_RUN, now)
    run = next((r for r in known if is_recorded(r, r.id, current)), None)
    if run is None and known:
        if known[-1].active:
            return Kill(known[-1].id)
        return _close_then_end(job, current, seen, Outcome.LOST, reasons.FOREIGN_RUN, now)
    if run is None or run.verdict is Verdict.REFUSED:
        return _never_seen_running(job, current, reservation, site, seen, now, run)
    first = current.run_started_time is None and run.started_time is not None
    if first and _is_copy(run, seen.sighting):
        return _close_then_end(job, current, seen, Outcome.LOST, reasons.COPY, now)
    if run.phase is Phase.ENDED:
        outcome, why = judge(job, current, run, now)
        return _close_then_end(job, current, seen, outcome, why, now, run=run)
    if first:
        return _first_seen(job, current, run, seen, now)
    if job.deleting and not wishes_end(job, current.number):
        return Unguard()  # Orphan
    return active(job, current, run, seen, now)


def _is_copy(run: Run, sighting: Sighting) -> bool:
    """Killed, and seen first when the fence had gone with a clean end: it was not this run that took it."""
    return sighting.ended_cleanly and run.verdict is Verdict.KILLED


def _first_seen(job: DurableJob, current: Current, run: Run, seen: Seen, now: datetime) -> Decision:
    """Record which run counts, before anything else is done about it."""
    if seen.sighting is None or not seen.confirmed:
        return LookUp(exactly=True)  # a list knows nothing of the fence
    if seen.sighting.ended_cleanly:
        return Kill(run.id)  # the run that counts has taken the fence with it: this is a copy
    noted = current.model_copy(update={"run_started_time": run.started_time})
    state, why = State.SUBMITTED, reasons.SUBMITTED
    if current.cancel_requested_at is not None and current.reason is not None:
        state, why = State.CANCELLING, Why(current.reason, current.message or "")  # why it is to end is not lost
    return Record(advanced(job, noted, state, why, now, run=run, reachable=True))


def _never_seen_running(
    job: DurableJob,
    current: Current,
    reservation: Reservation,
    site: Site,
    seen: Seen,
    now: datetime,
    refused: Run | None,
) -> Decision:
    """Nothing is known under the id, or only a copy that the fence has turned away."""
    sighting = seen.sighting
    if sighting is None or not seen.confirmed:
        return LookUp(exactly=True)
    accepted = current.run_started_time is not None and refused is None
    if accepted or sighting.ended_cleanly or not sighting.remembers:
        why = reasons.LOST if refused is None else reasons.REFUSED_COPY
        return _close_then_end(job, current, seen, Outcome.LOST, why, now)
    ours = ended_by_us(job, current, now)
    refusal = given_up(seen)
    if ours is None and refusal is not None:
        if not sighting.closed:  # note it before the fence is closed: the reason outlives this process
            noted = current.model_copy(update={"cancel_requested_at": now})
            return Record(advanced(job, noted, State.CANCELLING, refusal, now))
        ours = Outcome.FAILED, refusal
    unsent = not_to_be_sent(site, reservation)
    if ours is None and unsent is not None:
        ours = Outcome.FAILED, unsent
    if ours is None and (sighting.closed or refused is not None):
        ours = Outcome.FAILED, reasons.CLOSED_BEFORE_START
        if refused is not None and refused.reason is not None:
            # Not by the fence: another of its files was not to be had.
            ours = Outcome.FAILED, Why(refused.reason, refused.message or reasons.CLOSED_BEFORE_START.message)
    if ours is not None:
        return _close_then_end(job, current, seen, *ours, now)
    return submit_again(job, current, site, seen, now)


def _close_then_end(
    job: DurableJob, current: Current, seen: Seen, outcome: Outcome, why: Why, now: datetime, run: Run | None = None
) -> Decision:
    """The end, once nothing can begin, and once it is known which run has ended, if that is not recorded.

    Else the system may forget it before the end is written, and who looks then would take it for one that never began.
    """
    start = run.started_time if run is not None and current.run_started_time is None else None
    sighting = seen.sighting
    if sighting is None or not sighting.closed or (start is not None and not sighting.ended_cleanly):
        return Close(seen=start)
    if start is not None:
        current = current.model_copy(update={"run_started_time": start})
    return end(job, current, outcome, why, now, run=run)
