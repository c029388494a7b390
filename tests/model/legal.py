"""Whether the API server would take a status write: the CRD's CEL rules on ``status``, said in Python.

The compare-and-swap comes first, these rules are the last line. The explorer takes a write that passes the
one and not the other for a violation: it would park the job for ever.
``test_legal`` compares the list with the rules that the CRD carries.
"""

from __future__ import annotations

from durablejob_api.job import DurableJob
from durablejob_api.status import Claim, ClaimState, Current, DurableJobStatus

_FORWARD = {
    (ClaimState.OPEN, ClaimState.STARTED),
    (ClaimState.OPEN, ClaimState.REVOKED),
    (ClaimState.STARTED, ClaimState.ENDED),
}
_WON = (ClaimState.STARTED, ClaimState.ENDED)


def legal(old: DurableJob, new: DurableJobStatus) -> str | None:
    """Why the API server would refuse to replace the status of ``old`` by ``new``; None: it would not."""
    current = new.current
    if current is not None and current.number > old.spec.attempt:
        return "current.number is greater than spec.attempt"
    outcome = current.outcome if current is not None else None
    if new.state.terminal and outcome is None:
        return "a terminal state without an outcome"
    if outcome is not None and outcome.value != new.state.value:
        return "the state is not the outcome"
    if current is not None and (broken := _of_itself(current)) is not None:
        return broken
    before = old.status
    if before is None or before.current is None:
        return None
    if current is None:
        return "current is removed"
    if current.number != before.current.number:
        return _next_attempt(before.current, current)
    if before.external_id is not None and new.external_id != before.external_id:
        return "externalID changes"
    return _same_attempt(before.current, current)


def _of_itself(new: Current) -> str | None:
    claim = new.claim
    if claim is None:
        return None
    if new.outcome is not None and claim.state is ClaimState.OPEN:
        return "an outcome with an open claim"
    if claim.state not in _WON and (claim.nonce or claim.driver or claim.how):
        return "an open or revoked claim with a winner"
    return None


def _next_attempt(old: Current, new: Current) -> str | None:
    if new.number != old.number + 1 or old.outcome is None:
        return "number grows by more than one, or from an attempt without an outcome"
    if new.key == old.key:
        return "the next attempt has the same key"
    if new.claim is not None and new.claim.state is not ClaimState.OPEN:
        return "a new claim that is not open"
    return None


def _same_attempt(old: Current, new: Current) -> str | None:
    if new.key != old.key:
        return "key changes"
    if old.reservation is not None and new.reservation != old.reservation:
        return "reservation changes"
    if old.run_started_time is not None and new.run_started_time != old.run_started_time:
        return "runStartedTime changes"
    if old.outcome is not None:
        fields = ("outcome", "reason", "exit_code", "finished_at")
        if any(getattr(new, name) != getattr(old, name) for name in fields):
            return "an outcome changes"
        if (new.reservation is None) != (old.reservation is None):
            return "something is reserved after the end"
    return _claim(old.claim, new.claim)


def _claim(old: Claim | None, new: Claim | None) -> str | None:
    if old is None:
        return "a new claim that is not open" if new is not None and new.state is not ClaimState.OPEN else None
    if new is None:
        return "the claim is removed"
    if new.number != old.number:
        if new.number != old.number + 1 or old.state is not ClaimState.OPEN:
            return "claim.number grows by more than one, or from a claim that is not open"
        return "a new claim that is not open" if new.state is not ClaimState.OPEN else None
    if new.state is not old.state and (old.state, new.state) not in _FORWARD:
        return f"claim.state goes from {old.state} to {new.state}"
    for name in ("nonce", "driver", "how"):
        if getattr(old, name) is not None and getattr(new, name) != getattr(old, name):
            return f"claim.{name} changes"
    return None
