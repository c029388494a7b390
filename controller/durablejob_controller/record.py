"""How a status follows from the one before: every write of ours is made here, and all of it is pure.

State, conditions and the attempt are written together, so that no reader can find them at odds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from durablejob_api.conditions import job_conditions
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import (
    Claim,
    ClaimState,
    Current,
    DurableJobStatus,
    Outcome,
    PastAttempt,
    State,
)
from durablejob_controller.backends.contract import Run
from durablejob_controller.reasons import Why

HISTORY_LENGTH = 10


def fresh_attempt(job: DurableJob) -> Current:
    """The attempt that the spec asks for, before anything was reserved for it."""
    return Current(number=job.spec.attempt, key=attempt_key(job.metadata.uid, job.spec.attempt))


def attempt_of(job: DurableJob) -> Current:
    """The attempt to work on: the recorded one, or the first."""
    return job.current or fresh_attempt(job)


def _past(job: DurableJob, current: Current) -> tuple[PastAttempt, ...]:
    status = job.status
    old = status.history if status else ()
    last = job.current
    if status is None or last is None or last.number == current.number or last.outcome is None:
        return old
    entry = PastAttempt(
        number=last.number,
        outcome=last.outcome,
        reason=last.reason,
        message=(last.message or "")[:256] or None,
        external_id=status.external_id,
        started_at=last.started_at,
        finished_at=last.finished_at,
    )
    return (entry, *old)[:HISTORY_LENGTH]


def advanced(
    job: DurableJob,
    current: Current,
    state: State,
    why: Why,
    now: datetime,
    *,
    run: Run | None = None,
    reachable: bool | None = None,
) -> DurableJobStatus:
    """The next status: ``current`` in ``state`` for the reason ``why``; ``run`` adds what it shows of itself."""
    old = job.status if job.current is not None and job.current.number == current.number else None
    changes: dict[str, Any] = {"reason": why.reason, "message": why.message[:1024]}
    current = current.model_copy(update=changes)
    external = _external_id(current, run) or (old.external_id if old else None)
    claimed = current.claim is not None and current.claim.state in (ClaimState.STARTED, ClaimState.ENDED)
    running = state is State.RUNNING or (state is State.CANCELLING and (claimed or current.started_at is not None))
    submitted = claimed or external is not None or running or state is State.SUBMITTED
    return DurableJobStatus(
        observed_generation=job.metadata.generation,
        state=state,
        external_id=external,
        tracking_url=(run.tracking_url if run else None) or (old.tracking_url if old else None),
        progress=(run.progress if run else None) or (old.progress if old else None),
        current=current,
        history=_past(job, current),
        conditions=job_conditions(
            old.conditions if old else (),
            state=state,
            accepted=state is not State.FAILED or current.reservation is not None,
            submitted=submitted,
            running=running,
            reachable=reachable,
            reason=why.reason,
            message=why.message,
            generation=job.metadata.generation,
            now=now,
        ),
    )


def _external_id(current: Current, run: Run | None) -> str | None:
    """What people call the one run that counts; never a run that might lose its claim."""
    if current.claim is not None:
        return current.claim.driver
    reservation = current.reservation
    if reservation is None:
        return None
    if run is not None and run.external_id is not None and run.id == reservation.object_uid:
        return run.external_id
    return reservation.application_id


def ended(
    job: DurableJob, current: Current, outcome: Outcome, why: Why, now: datetime, *, run: Run | None = None
) -> DurableJobStatus:
    """The terminal status. An open claim is revoked in the same write: closing and ending are one."""
    claim = current.claim
    if claim is not None and claim.state is ClaimState.OPEN:
        claim = claim.model_copy(update={"state": ClaimState.REVOKED})
    final = current.model_copy(
        update={
            "claim": claim,
            "outcome": outcome,
            "finished_at": now,
            "exit_code": run.exit_code if run else None,
        }
    )
    # How far it was is of no interest any more, and would look as if it had stopped there.
    said = run.progress if run else None
    return advanced(job, final, State(outcome.value), why, now, run=run).model_copy(update={"progress": said})


def next_claim(current: Current, unstarted: bool) -> Claim:
    """A new open claim; making it revokes the last by construction."""
    old = current.claim
    if old is None:
        return Claim(number=1, state=ClaimState.OPEN)
    return Claim(number=old.number + 1, state=ClaimState.OPEN, unstarted=old.unstarted + int(unstarted))
