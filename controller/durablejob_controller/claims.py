"""The start gate's rules, without its server: who may start a program, and what its end report means.

A claim is won once, by compare-and-swap on the DurableJob's status. It is denied only on evidence from a
live read of the resource; every doubt means "ask again". See protocol, "the start gate".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from durablejob_api.job import DurableJob
from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Claim, ClaimState, Current, DurableJobStatus, Ending, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Run
from durablejob_controller.record import advanced


@dataclass(frozen=True, slots=True)
class ClaimId:
    """Which claim a driver holds in its hand."""

    namespace: str
    name: str
    uid: str
    attempt: int
    number: int


@dataclass(frozen=True, slots=True)
class Denied:
    """For good: this JVM must not run the program."""

    why: str


@dataclass(frozen=True, slots=True)
class Granted:
    """Run it, once ``status`` is written; None: it was granted before, to this very JVM."""

    status: DurableJobStatus | None


def wishes_end(job: DurableJob, attempt: int) -> bool:
    """Somebody wishes that this attempt ends: its cancel, or the deletion of the resource."""
    cancel = job.spec.cancel
    if cancel is not None and cancel.attempt == attempt:
        return True
    return job.deleting and job.spec.deletion_policy is DeletionPolicy.CANCEL


def grant_start(
    job: DurableJob | None,
    claim: ClaimId,
    nonce: str,
    driver: str,
    now: datetime,
    run: Run | None = None,
) -> Granted | Denied:
    """Whether the JVM ``nonce`` of ``driver`` may run the program.

    ``job`` is what a quorum read just returned (None: it is gone). Keyed by the nonce, not by the driver id: a
    JVM that the worker launches again has the same driver id, and must not run the program again.
    ``run`` is that JVM's run, as the external system lists it: its start, where ids alone do not identify it, and its
    tracking URL, which then costs no write of its own.
    """
    if job is None or job.metadata.uid != claim.uid:
        return Denied("the DurableJob is gone")
    current = job.current
    if current is None or current.number != claim.attempt or current.claim is None:
        return Denied(f"attempt {claim.attempt} is not the current one")
    record = current.claim
    if current.outcome is not None:
        # Also for the winner: while it asks, it has not begun, and after an end nothing may begin.
        return Denied(f"the attempt has ended: {current.outcome.value}")
    if record.state in (ClaimState.STARTED, ClaimState.ENDED) and record.nonce == nonce:
        # Also when it was cancelled since: this JVM may have been told, and will be killed by its id.
        return Granted(None)
    refusal = _refusal(job, current, record, claim)
    if refusal is not None:
        return Denied(refusal)
    return Granted(_won(job, current, record, nonce, driver, now, run))


def _won(
    job: DurableJob, current: Current, record: Claim, nonce: str, driver: str, now: datetime, run: Run | None
) -> DurableJobStatus:
    won = record.model_copy(update={"state": ClaimState.STARTED, "nonce": nonce, "driver": driver})
    begun = (run.started_time if run else None) or current.run_started_time
    running = current.model_copy(update={"claim": won, "started_at": now, "run_started_time": begun})
    return advanced(job, running, State.RUNNING, reasons.RUNNING, now, run=run, reachable=True)


def _refusal(job: DurableJob, current: Current, record: Claim, claim: ClaimId) -> str | None:
    if record.number != claim.number:
        return f"claim {claim.number} was replaced by claim {record.number}"
    if record.state is ClaimState.REVOKED:
        return "the claim was revoked"
    if record.state is not ClaimState.OPEN:
        return f"another run has won the claim: {record.driver}"
    if wishes_end(job, current.number):
        return "the job is being cancelled"
    return None


def is_unrecorded_winner(job: DurableJob, claim: ClaimId) -> bool:
    """Whether who reports an end has won this claim by a record that is no more (rule 4).

    Only a JVM that was given leave reports its end, so a claim that is still open was won once: etcd was restored.
    """
    current = job.current
    record = current.claim if current is not None and current.number == claim.attempt else None
    if record is None or job.metadata.uid != claim.uid:
        return False
    return record.number == claim.number and record.state is ClaimState.OPEN


def adopted(job: DurableJob, nonce: str, driver: str, now: datetime, run: Run) -> DurableJobStatus:
    """The status with this winner, whatever was wished since: its program has run."""
    current = job.current
    if current is None or current.claim is None:
        raise ValueError("there is no claim to win")
    return _won(job, current, current.claim, nonce, driver, now, run)


def note_ended(
    job: DurableJob | None, claim: ClaimId, nonce: str, how: Ending, now: datetime, message: str | None = None
) -> DurableJobStatus | None:
    """The status that notes the winner's own report of its end; None: there is nothing to note.

    Only the winner's nonce counts: the claim's URL is seen by many, the nonce by the gate alone, which gives its hash
    here, and to the record.
    """
    if job is None or job.metadata.uid != claim.uid:
        return None
    current = job.current
    if current is None or current.claim is None or current.number != claim.attempt or current.outcome is not None:
        return None
    record = current.claim
    if record.state is not ClaimState.STARTED or record.number != claim.number or record.nonce != nonce:
        return None
    done = record.model_copy(update={"state": ClaimState.ENDED, "how": how, "message": message})
    status = job.status
    state = status.state if status is not None else State.RUNNING
    why = reasons.Why(current.reason or reasons.RUNNING.reason, current.message or reasons.RUNNING.message)
    return advanced(job, current.model_copy(update={"claim": done}), state, why, now)
