"""Decisions about an attempt whose program asks the start gate for leave: an open claim, and the winner."""

from __future__ import annotations

from datetime import datetime

from durablejob_api.job import DurableJob
from durablejob_api.status import Claim, Current, Outcome, Reservation, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Identity, Phase, Run, Verdict
from durablejob_controller.claims import wishes_end
from durablejob_controller.reasons import Why
from durablejob_controller.record import advanced, next_claim
from durablejob_controller.steps import (
    QUEUED_GRACE,
    REPORTED,
    active,
    end,
    given_up,
    inform,
    is_recorded,
    judge,
    not_to_be_sent,
    overdue,
    state_of,
    submit_again,
    unanswered,
    with_detail,
)
from durablejob_controller.views import Decision, LookUp, Record, Seen, Site, Submit, Unguard, Wait

MAX_UNSTARTED_CLAIMS = 5
LOST_GRACE = 60.0
"""Seconds for which a run that was healthy may be unknown before it counts as lost."""
MAX_CLAIMS = 50
"""Claims after which an attempt is given up, whose submissions all seemed to arrive: with the engine's growing pauses,
twenty minutes."""
STARTING_GRACE = 30.0
"""Seconds of queueing after which it is worth one although nothing is known to hinder it: a JVM takes its time."""


def open_claim(
    job: DurableJob, current: Current, claim: Claim, reservation: Reservation, site: Site, seen: Seen, now: datetime
) -> Decision:
    """Nobody has started the program, and whoever would has to ask: every end is safe, in one write."""
    stopped = stop_unstarted(job, current, now)
    if stopped is not None:
        return stopped
    if seen.rejected is not None:
        return end(job, current, Outcome.FAILED, Why(seen.rejected.reason, seen.rejected.message), now)
    if seen.sighting is None:
        return unanswered(job, current, seen, now)
    if site.traits.identity is Identity.CLAIM:
        mine = [run for run in seen.runs if run.claim == claim.number]
    else:
        mine = [run for run in seen.runs if run.id == reservation.application_id]
    alive = next((run for run in mine if run.active), None)
    if any(run.foreign for run in mine) and seen.fresh:
        return end(job, current, Outcome.FAILED, reasons.ID_TAKEN, now)  # what is ours never gets under this id
    if alive is not None:
        return _queued(job, current, reservation, alive, now)
    if not seen.fresh:
        return LookUp()
    if mine:
        return _ended_unstarted(job, current, claim, reservation, site, mine, now, seen)
    if site.traits.identity is Identity.CLAIM:
        return _new_claim(job, current, reservation, site, now, seen, unstarted=False)
    if not seen.confirmed:
        return LookUp(exactly=True)
    if seen.sighting.ended_cleanly:
        return end(job, current, Outcome.LOST, reasons.LOST, now)  # it was given leave by a record that is no more
    if not seen.sighting.remembers:
        return end(job, current, Outcome.FAILED, reasons.FORGOTTEN_BEFORE_START, now)
    refusal = not_to_be_sent(site, reservation)
    if refusal is not None:
        return end(job, current, Outcome.FAILED, refusal, now)
    if seen.sighting.closed:
        return end(job, current, Outcome.FAILED, reasons.CLOSED_BEFORE_START, now)
    refusal = given_up(seen)
    if refusal is not None:
        return end(job, current, Outcome.FAILED, refusal, now)
    return submit_again(job, current, site, seen, now)


def stop_unstarted(job: DurableJob, current: Current, now: datetime) -> Record | None:
    """The end that is wished or due while the claim is open; it needs no external system."""
    if wishes_end(job, current.number):
        return end(job, current, Outcome.CANCELLED, reasons.CANCELLED_BEFORE_START, now)
    if overdue(job, current, now):
        return end(job, current, Outcome.FAILED, reasons.DEADLINE, now)
    return None


def _ended_unstarted(
    job: DurableJob,
    current: Current,
    claim: Claim,
    reservation: Reservation,
    site: Site,
    mine: list[Run],
    now: datetime,
    seen: Seen,
) -> Decision:
    finished = next((run for run in mine if run.verdict is Verdict.SUCCEEDED), None)
    if finished is not None:
        # Who is denied leave never ends well: this one was given leave by a record that is no more (rule 4).
        return end(job, current, Outcome.LOST, reasons.FOUND_WITHOUT_RESERVATION, now, run=finished)
    run = mine[-1]
    last = run.message or (run.verdict.value if run.verdict else "ended")
    if run.reason is not None:
        return end(job, current, Outcome.FAILED, Why(run.reason, last), now, run=run)
    if site.traits.identity is Identity.RESERVED_ID:
        return end(job, current, Outcome.FAILED, reasons.ended_before_start(last), now, run=run)
    times = claim.unstarted + 1
    if times >= MAX_UNSTARTED_CLAIMS:
        return end(job, current, Outcome.FAILED, reasons.gate_unreachable(times, last), now, run=run)
    return _new_claim(job, current, reservation, site, now, seen, unstarted=True)


def _new_claim(
    job: DurableJob,
    current: Current,
    reservation: Reservation,
    site: Site,
    now: datetime,
    seen: Seen,
    *,
    unstarted: bool,
) -> Decision:
    """Submit again under a new claim: the write revokes the old one, whose submission may still be on its way."""
    refusal = not_to_be_sent(site, reservation)
    if refusal is not None:
        return end(job, current, Outcome.FAILED, refusal, now)
    if current.claim is not None and current.claim.number >= MAX_CLAIMS:
        return end(job, current, Outcome.FAILED, reasons.never_listed(current.claim.number, seen.doubt), now)
    if seen.hold > 0:
        return Wait(seen.hold)
    if site.unfit is not None:
        return inform(job, current, state_of(job), site.unfit.why, now, closely=True)
    if site.blocked is not None:  # the backend has ceased to be ready: no further claim, but the reason
        return inform(job, current, state_of(job), site.blocked, now, reachable=False, closely=True)
    if not site.probed:
        return Wait()
    renewed = current.model_copy(update={"claim": next_claim(current, unstarted)})
    why = with_detail(reasons.SUBMITTING, seen.doubt)
    return Record(advanced(job, renewed, State.SUBMITTING, why, now, reachable=True), then=Submit())


def winner(job: DurableJob, current: Current, claim: Claim, seen: Seen, now: datetime) -> Decision:
    """The claim is won: only the winner's fate counts."""
    if job.deleting and not wishes_end(job, current.number):
        return Unguard()  # Orphan: it runs on, and answers to nobody
    if seen.sighting is None:
        return unanswered(job, current, seen, now)
    run = next((r for r in seen.runs if is_recorded(r, claim.driver or "", current)), None)
    if run is not None and run.active:
        return active(job, current, run, seen, now)
    if run is not None and run.verdict is not Verdict.UNKNOWN:
        outcome, why = judge(job, current, run, now)
        return end(job, current, outcome, why, now, run=run)
    if not seen.confirmed:
        return LookUp(exactly=True)
    if claim.how in REPORTED:
        return end(job, current, *REPORTED[claim.how], now, run=run)
    if seen.lasting < LOST_GRACE:
        return Wait(LOST_GRACE - seen.lasting)
    why = reasons.LOST if run is None else with_detail(reasons.LOST_SIGHT, run.message)
    return end(job, current, Outcome.LOST, why, now, run=run)


def _queued(job: DurableJob, current: Current, reservation: Reservation, run: Run, now: datetime) -> Decision:
    """Accepted, and not started: worth a write only when it lasts, or when there is a reason to give."""
    patience = (QUEUED_GRACE if run.reason else STARTING_GRACE) - (now - reservation.at).total_seconds()
    if patience > 0:
        return Wait(patience)
    why = reasons.WAITING_FOR_GATE if run.phase is Phase.RUNNING else with_detail(reasons.SUBMITTED, run.message)
    if run.reason is not None:
        why = Why(run.reason, run.message or why.message)
    return inform(job, current, State.SUBMITTED, why, now, run=run, reachable=True)
