"""The event table: what happens, what is required, and how that is judged. Data only; ``plays`` does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from tests.events import plays
from tests.events.run import Run

Mode = Literal["deferred", "polling"]
BOTH: tuple[Mode, ...] = ("deferred", "polling")
DEFERRED: tuple[Mode, ...] = ("deferred",)
POLLING: tuple[Mode, ...] = ("polling",)
Fault = Literal[
    "triggerer killed",
    "triggerer deployed",
    "triggerer frozen",
    "scheduler killed with its workers",
    "scheduler killed alone",
    "api-server away",
    "kubernetes away",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
OF_THEIR_OWN: tuple[Fault, ...] = ("kubernetes away",)
"""Faults that only their own rows feel (by a connection of their own): these are played beside the others."""

ONCE = ("Succeeded",)
AGAIN = ("Cancelled", "Succeeded")
TWICE = ("Succeeded", "Succeeded")
CANCELLED = ("Cancelled",)

ADOPTED = "1 submission, re-attach"
KEPT = "the job lives, no retry burned"
NEXT = "attempt+1"
NEXT_AFTER_CANCEL = "cancelled, attempt+1"
ENDED = "cancelled"


@dataclass(frozen=True)
class Row:
    """One event."""

    event: str
    required: str
    play: Callable[[Run], None]
    programs: tuple[str, ...]
    """What must have become of each program that was started, in order: no more, no less."""
    state: str = "success"
    """The task's state in the end."""
    modes: tuple[Mode, ...] = BOTH
    variant: str = "plain"
    tries: int | None = None
    """The try number in the end; None: Airflow may take what it takes."""
    causes: tuple[str, ...] = ()
    """Why jobs were cancelled, in order; ``|`` where it depends on who is the first to notice."""
    says: str = ""
    """What one of the tasks' logs must say."""
    fault: Fault | None = None
    """What is done to a part of Airflow that all rows share: these rows are played together, apart from the others."""
    simulated: bool = False
    """An executor that is not run here: Airflow's database is put into the state which that one leaves."""
    peer: bool = True
    """Whether it can be asked of Airflow's own operator, too."""


POINTS = {
    "before_the_record": "SIGKILL before anything was recorded",
    "after_the_record": "SIGKILL after the record, before the job is created",
    "after_the_creation": "SIGKILL after the job was created, before the task knows",
    "before_waiting": "SIGKILL before the task waits",
}


def _processes() -> Iterator[Row]:
    killed = partial(Row, programs=ONCE, tries=2)
    yield killed("SIGKILL of the task's process", ADOPTED, plays.task_killed, modes=POLLING)
    yield killed("SIGKILL of the supervisor", ADOPTED, plays.supervisor_killed, modes=POLLING)
    yield killed("the worker's machine is lost (zombie)", ADOPTED, plays.machine_killed, modes=POLLING)
    for point, event in POINTS.items():
        yield killed(event, ADOPTED, plays.killed_at_a_point, variant=point, peer=False)
    yield killed(
        "SIGKILL after the program's success, before the task's",
        "the result, nothing is submitted",
        plays.killed_after_success,
        variant="before_the_result",
        peer=False,
    )
    yield killed(
        "a worker is frozen, and thawed after its successor has taken over",
        "its cancel and writes are refused",
        plays.frozen_and_thawed,
        modes=POLLING,
    )
    yield Row("SIGTERM to the worker (deploy, eviction)", KEPT, plays.deployed, ONCE, modes=POLLING, tries=1)
    yield Row(
        "Kubernetes' API is away",
        "the task waits, no retry burned",
        plays.shared_fault,
        ONCE,
        variant="cut",
        fault="kubernetes away",
        tries=1,
        peer=False,
    )
    yield Row(
        "the run is PATCHed to queued, then its worker is killed",
        "a retry: 1 submission",
        plays.requeued_run,
        ONCE,
        modes=POLLING,
    )
    # One that cannot be loaded cannot wait, either: the late exit of the process that deferred may burn a retry, as
    # ``triggers.SETTLE_SECONDS`` says.
    yield Row(
        "the trigger cannot be loaded",
        "re-attach by polling",
        plays.trigger_failed,
        ONCE,
        modes=DEFERRED,
        variant="broken_trigger",
        peer=False,
    )


def _faults() -> Iterator[Row]:
    yield Row(
        "SIGKILL of the triggerer",
        ADOPTED,
        plays.shared_fault,
        ONCE,
        modes=DEFERRED,
        tries=1,
        fault="triggerer killed",
        peer=False,
    )
    yield Row(
        "marked failed while no triggerer runs",
        "cancelled when one is back",
        plays.marked_without_triggerer,
        CANCELLED,
        state="failed",
        modes=DEFERRED,
        causes=("MarkedFailed",),
        fault="triggerer killed",
        peer=False,
    )
    yield Row(
        "SIGTERM to the triggerer (deploy)",
        KEPT,
        plays.shared_fault,
        ONCE,
        modes=DEFERRED,
        tries=1,
        fault="triggerer deployed",
        peer=False,
    )
    yield Row(
        "another triggerer takes over from one that is frozen and thaws later",
        "keep",
        plays.handed_over_to_another_triggerer,
        ONCE,
        modes=DEFERRED,
        tries=1,
        fault="triggerer frozen",
        peer=False,
    )
    yield Row(
        "SIGKILL of the scheduler with its workers (orphan reset)",
        ADOPTED,
        plays.shared_fault_with_retry,
        ONCE,
        modes=POLLING,
        tries=2,
        fault="scheduler killed with its workers",
    )
    yield Row(
        "SIGKILL of the scheduler with its workers",
        ADOPTED,
        plays.shared_fault,
        ONCE,
        modes=DEFERRED,
        tries=1,
        fault="scheduler killed with its workers",
        peer=False,
    )
    yield Row(
        "SIGKILL of the scheduler alone: the next one resets what still runs",
        ADOPTED,
        plays.shared_fault_with_retry,
        ONCE,
        modes=POLLING,
        tries=2,
        fault="scheduler killed alone",
    )
    # In a worker, each heartbeat that is not answered may cost a try: there are enough of them for any outage.
    away = partial(Row, "Airflow's API server is away", play=plays.shared_fault, programs=ONCE, fault="api-server away")
    yield away(required="the job lives, no retry burned", modes=DEFERRED, tries=1, peer=False)
    yield away(
        required="the job lives; where Airflow kills the worker, a retry re-attaches",
        modes=POLLING,
        variant="persistent",
    )


def _clears() -> Iterator[Row]:
    yield Row("cleared after success", NEXT, plays.clear_success, TWICE)
    yield Row("the run cleared after success", NEXT, plays.clear_run, TWICE, modes=DEFERRED)
    yield Row("cleared by the command line", NEXT, plays.clear_by_cli, TWICE, modes=DEFERRED)
    yield Row(
        "backfill that processes the run again", NEXT, plays.backfill_twice, TWICE, variant="nightly", modes=DEFERRED
    )
    yield Row("cleared after failure", NEXT, plays.clear_failed, ("Failed", "Succeeded"), variant="no_retries")
    again = partial(Row, required=NEXT_AFTER_CANCEL, programs=AGAIN, causes=("Cleared",))
    yield again("cleared while running, LocalExecutor", play=plays.clear_while_waiting, modes=POLLING)
    yield again("cleared while deferred", play=plays.clear_while_waiting, modes=DEFERRED)
    yield again(
        "cleared while deferred, with an upstream task that takes long",
        required="the observer cancels before the next try begins, attempt+1",
        play=plays.clear_with_upstream,
        variant="upstream",
        modes=DEFERRED,
    )
    yield again(
        "cleared while up_for_retry, its job running", play=plays.clear_up_for_retry, variant="patient", modes=POLLING
    )
    yield again("cleared while scheduled, its job running", play=plays.clear_scheduled, variant="pooled", modes=POLLING)
    yield Row(
        "cleared while its resumption is pending",
        NEXT,
        plays.clear_resume_pending,
        TWICE,
        variant="pooled",
        modes=DEFERRED,
        peer=False,
    )
    yield again(
        "cleared while running, Kubernetes executor (max_tries as before)",
        play=plays.clear_on_kubernetes_executor,
        variant="pooled_apart",
        modes=POLLING,
        simulated=True,
    )
    yield Row(
        "cleared while running on a worker that is dead",
        "Airflow does not tell: re-attach, and say so",
        plays.clear_on_dead_worker,
        ONCE,
        modes=POLLING,
        says="as far as Airflow tells",
    )
    yield Row("the run is deleted and made again under its id", NEXT, plays.recreated, TWICE, tries=1)
    # Airflow takes the old process's end for the new task's (they have the same try number), which may burn a retry.
    yield Row(
        "the run is deleted while its job runs, and made again under its id",
        NEXT_AFTER_CANCEL,
        plays.recreated_while_running,
        AGAIN,
        causes=("User|Cleared",),
    )


def _marks() -> Iterator[Row]:
    ends = partial(Row, required=ENDED, programs=CANCELLED)
    yield ends("marked failed", play=plays.marked("failed"), state="failed", causes=("MarkedFailed",))
    yield ends("marked successful", play=plays.marked("success"), state="success", causes=("MarkedSuccess",))
    yield ends("the run marked failed", play=plays.run_marked, state="failed", causes=("MarkedFailed",))
    yield ends(
        "fail_fast: another task of the run fails",
        play=plays.failed_fast,
        state="failed",
        modes=POLLING,
        variant="fail_fast",
        causes=("MarkedFailed",),
    )
    yield ends(
        "fail_fast: another task of the run fails",
        play=plays.failed_fast,
        state="skipped",
        modes=DEFERRED,
        variant="fail_fast",
        causes=("Skipped",),
    )
    yield ends("dagrun_timeout", play=plays.run_timed_out, state="skipped", variant="run_timed", causes=("Skipped",))
    observed = partial(
        Row,
        required="the observer cancels, where any task is deferred",
        programs=CANCELLED,
        state="failed",
        causes=("MarkedFailed",),
        modes=POLLING,
    )
    yield observed(
        "marked failed while up_for_retry, its job running", play=plays.marked_up_for_retry, variant="patient"
    )
    yield Row(
        "marked failed while up_for_retry, where no task is deferred",
        "it runs on until `airflow durablejobs reconcile` cancels",
        plays.marked_and_reconciled,
        CANCELLED,
        state="failed",
        causes=("MarkedFailed",),
        modes=POLLING,
        variant="apart",
        peer=False,
    )
    yield observed(
        "the worker's machine is lost, and no retries are left", play=plays.zombie_without_retries, variant="no_retries"
    )
    yield Row(
        "a mapped index is REMOVED",
        "keep; where any task is deferred, the observer cancels after a grace",
        plays.index_removed,
        CANCELLED,
        state="removed",
        variant="mapped",
        causes=("Skipped",),
        peer=False,
    )


def _ends() -> Iterator[Row]:
    yield Row(
        "execution_timeout (counted over a deferral)",
        "cancelled, attempt+1",
        plays.timed_out,
        AGAIN,
        variant="timed",
        causes=("Timeout",),
        tries=2,
    )
    yield Row(
        "the job is deleted by hand",
        "the task fails and says so",
        plays.deleted_by_hand,
        ("Deleted",),
        state="failed",
        tries=1,
        says="was deleted while the task waited for it",
        peer=False,
    )
    yield Row(
        "the program fails", "attempt+1", plays.ended(outcomes=["fail", "succeed"]), ("Failed", "Succeeded"), tries=2
    )
    yield Row(
        "retries are exhausted",
        "nothing is left running",
        plays.ended(outcomes=["fail"]),
        ("Failed", "Failed", "Failed"),
        state="failed",
        tries=3,
    )
    yield Row(
        "ten deferred tasks in a pool of one slot",
        "all jobs run at the same time",
        plays.ten_in_one_slot,
        ONCE,
        modes=DEFERRED,
        variant="narrow",
        tries=1,
        peer=False,
    )
    yield Row(
        "Lost",
        "the task fails with what is known, also when it is cleared",
        plays.lost_and_cleared,
        ("Lost",),
        state="failed",
        tries=2,
        says="It can no longer be known whether the program ran",
        peer=False,
    )
    yield Row(
        "Lost, on_lost='resubmit'",
        "attempt+1",
        plays.ended(outcomes=["lost", "succeed"]),
        ("Lost", "Succeeded"),
        variant="resubmitting",
        tries=2,
        peer=False,
    )


ROWS: Sequence[Row] = (*_processes(), *_faults(), *_clears(), *_marks(), *_ends())
