"""Conditions: the contract that people and programs wait on.

They are a pure function of the state and of one reason, computed anew for every write, so that they can
never disagree with the state. ``Finished`` is true for every end, so that
``kubectl wait --for=condition=Finished`` returns also for a job that failed.
"""

from __future__ import annotations

from datetime import datetime

from durablejob_api.base import Condition
from durablejob_api.status import State


def set_condition(
    conditions: tuple[Condition, ...], *, type_: str, status: str, reason: str, message: str, generation: int,
    now: datetime,
) -> tuple[Condition, ...]:  # fmt: skip
    """``conditions`` with one of them set; its transition time moves only with its status."""
    old = next((c for c in conditions if c.type == type_), None)
    since = old.last_transition_time if old is not None and old.status == status else now
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message[:1024],
        last_transition_time=since,
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if c.type == type_ else c for c in conditions)


def job_conditions(
    old: tuple[Condition, ...],
    *,
    state: State,
    accepted: bool,
    submitted: bool,
    running: bool,
    reachable: bool | None,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """All conditions of a DurableJob.

    ``accepted``: it was not refused before anything was reserved. ``submitted``: the external system is known to have
    accepted it. ``running``: the program is known to have started and not to have ended. ``reachable``: None where this
    write says nothing about it.
    """
    known = next((c.status for c in old if c.type == "BackendReachable"), "Unknown")
    truth = {
        "Accepted": accepted,
        "Submitted": submitted,
        "Running": running,
        "Finished": state.terminal,
        "Succeeded": state is State.SUCCEEDED,
        "Failed": state in (State.FAILED, State.LOST),
    }
    result: tuple[Condition, ...] = ()
    for type_, value in truth.items():
        # The message stands where people look for it, not six times: an object stays small.
        awaited = type_ == "Running" and state is State.SUBMITTED
        tells = awaited or value != (type_ in ("Accepted", "Submitted"))
        result += _one(old, type_, str(value), reason, message if tells else "", generation, now)
    word = known if reachable is None else str(reachable)
    why = {"True": "Answered", "False": "Unreachable"}.get(word, "NotAskedYet")
    text = message if word == "False" else ""
    return result + _one(old, "BackendReachable", word, why, text, generation, now)


def _one(
    old: tuple[Condition, ...], type_: str, status: str, reason: str, message: str, generation: int, now: datetime
) -> tuple[Condition, ...]:
    mine = tuple(c for c in old if c.type == type_)
    return set_condition(
        mine, type_=type_, status=status, reason=reason, message=message, generation=generation, now=now
    )
