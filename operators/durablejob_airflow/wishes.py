"""Who wishes a job to end? Telling a person's wish from the loss of a process. Pure.

A signal, a lost heartbeat or a trigger taken away says nothing: deploys, evictions and outages of
Airflow's API server look the same (``on_kill`` is called for all of them). Only what Airflow's
database says about the task instance counts; what cannot be learnt means: keep the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Own(Enum):
    """Is the id under which this process runs still that of the task instance?"""

    LIVE = "live"
    ARCHIVED = "archived"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SeenState:
    """The task instance's state as Airflow answers it."""

    known: bool = True
    exists: bool = True
    state: str | None = None


UNKNOWN = SeenState(known=False)
ABSENT = SeenState(exists=False)


class Act(Enum):
    """What follows from it."""

    KEEP = "keep the job"
    RESCHEDULE = "keep the job, give the slot back and come again"
    CANCEL = "cancel the job"


@dataclass(frozen=True)
class Verdict:
    """What to do with the job, and the cause to record."""

    act: Act
    cause: str = ""


KEEP = Verdict(Act.KEEP)
_FINAL = {"failed": "MarkedFailed", "success": "MarkedSuccess", "skipped": "Skipped"}


def of_worker(own: Own, seen: SeenState) -> Verdict:
    """``on_kill`` in a worker: SIGTERM, or too many failed heartbeats.

    ``restarting`` is set by a clear of a running task only. Any other archived state means that a next
    try exists or will: that one decides.
    """
    if own is Own.UNKNOWN or not seen.known:
        return KEEP
    if not seen.exists:
        return Verdict(Act.CANCEL, "User")
    if own is Own.ARCHIVED:
        return Verdict(Act.CANCEL, "Cleared") if seen.state == "restarting" else KEEP
    if seen.state in _FINAL:
        return Verdict(Act.CANCEL, _FINAL[seen.state])
    return Verdict(Act.RESCHEDULE) if seen.state == "running" else KEEP


def of_trigger(seen: SeenState) -> Verdict:
    """``on_kill`` of a trigger, which Airflow also calls when another triggerer takes it over.

    Not only ``deferred`` is kept: None, scheduled, queued and running mean a clear or a resumption,
    which only the next try can tell apart.
    """
    if not seen.known:
        return KEEP
    if not seen.exists:
        return Verdict(Act.CANCEL, "User")
    return Verdict(Act.CANCEL, _FINAL[seen.state]) if seen.state in _FINAL else KEEP


def of_observer(seen: SeenState, waited_for: bool) -> Verdict:
    """What an observer makes of a task whose job is active; it acts only on what it has seen several times.

    No state means a clear only while the task's own trigger waits for the job: a worker that is lost with its scheduler
    leaves none either. A mapped index that is ``removed`` may be restored; that it stays so is for the observer to see.
    ``upstream_failed`` is no state of a task that runs: the job is of a try before, and no try follows without a clear.

    :param waited_for: a trigger of this process waits for the job on behalf of its holder: the task was deferred
    """
    if seen.known and seen.exists and seen.state is None and waited_for:
        return Verdict(Act.CANCEL, "Cleared")
    if seen.known and seen.state in ("removed", "upstream_failed"):
        return Verdict(Act.CANCEL, "Skipped")
    return of_trigger(seen)


def pick(states: object, run_id: str, task_id: str, map_index: int) -> SeenState:
    """The one task instance in the answer of ``get_task_states``: ``{run: {task or task_index: state}}``."""
    if not isinstance(states, dict):
        return UNKNOWN
    run = states.get(run_id)
    key = task_id if map_index < 0 else f"{task_id}_{map_index}"
    if not isinstance(run, dict) or key not in run:
        return ABSENT
    state = run[key]
    return SeenState(state=None if state is None else str(getattr(state, "value", state)))
