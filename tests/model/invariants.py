"""What must never be, whatever the external system is."""

from __future__ import annotations

from durablejob_api.status import ClaimState, Current, Outcome
from tests.model.resource import Resource


def overlaps(resource: Resource, running: list[int]) -> bool:
    """Something was reserved for attempt 2 while attempt 1 runs, and nobody has accepted that it is lost."""
    current = resource.current
    if current is None or 1 not in running or current.number != 2 or current.reservation is None:
        return False
    return resource.wishes.before is not Outcome.LOST


def outcome_violation(resource: Resource, runs: bool, succeeded: bool, orphan: bool) -> str | None:
    """The recorded outcome is the truth, and nothing runs on when the resource is gone."""
    current: Current | None = resource.current
    outcome = resource.outcome
    if resource.wishes.gone and runs and outcome is not Outcome.LOST and not (orphan and outcome is None):
        return "a program runs on, and its resource is gone"
    if outcome is Outcome.SUCCEEDED and not succeeded:
        return "Succeeded recorded, the program did not succeed"
    if outcome in (Outcome.FAILED, Outcome.CANCELLED):
        if runs:
            return f"{outcome.value} recorded, the program runs"
        if succeeded:
            return f"{outcome.value} recorded, the program succeeded"
    claim = current.claim if current is not None else None
    if outcome is not None and claim is not None and claim.state is ClaimState.OPEN:
        return "an end is recorded, and the claim is still open"
    return None
