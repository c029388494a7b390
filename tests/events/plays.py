"""What happens, done: one function for each event, for any side and mode."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.events.run import END, TASK, NotSo, Run, gone
from tests.testbed import airflow

SETTLE = 3.0
"""Seconds in which what must not happen would begin to."""
NOBODY_LOOKS = 20.0
"""Seconds in which an observer, if there were one, would have looked twice (see ``preload``)."""
KEPT_AFTER_REMOVAL = 20.0
"""The same: two looks are not enough for an index that is removed; the preload says how many are."""


# Processes that end ------------------------------------------------------------------------------


def task_killed(run: Run) -> None:
    run.begin()
    run.kill_task()
    run.taken_over()
    run.end()


def supervisor_killed(run: Run) -> None:
    run.begin()
    run.processes()[1].send(signal.SIGKILL)
    run.taken_over()
    run.end()


def machine_killed(run: Run) -> None:
    run.begin()
    run.kill_machine()
    run.taken_over()
    run.end()


def killed_at_a_point(run: Run) -> None:
    """The DAG's task kills itself in its first try."""
    run.trigger()
    run.until(lambda: run.ti()["try_number"] == 2, "the first try is dead")
    run.end()


def killed_after_success(run: Run) -> None:
    """The DAG's task kills itself between the program's end and the task's."""
    run.begin()
    run.end()


def frozen_and_thawed(run: Run) -> None:
    run.begin()
    processes = run.processes()
    for process in processes:
        process.send(signal.SIGSTOP)
    run.taken_over()
    for process in processes:
        process.send(signal.SIGCONT)
    run.until(lambda: gone(processes[0]), "the thawed process has ended")
    time.sleep(SETTLE)
    run.end()


def deployed(run: Run) -> None:
    run.begin()
    run.processes()[1].send(signal.SIGTERM)
    run.state("up_for_reschedule", "up_for_retry", *END)
    time.sleep(SETTLE)
    run.end()


def shared_fault(run: Run) -> None:
    """Wait, meet the fault, and go on."""
    run.begin()
    run.faults()
    run.end()


def shared_fault_with_retry(run: Run) -> None:
    run.begin()
    run.faults()
    run.taken_over()
    run.end()


def marked_without_triggerer(run: Run) -> None:
    run.begin()
    run.fault()  # it goes
    run.mark("failed")
    run.fault()  # it comes back
    run.state("failed")


# Clears ------------------------------------------------------------------------------------------


def clear_success(run: Run) -> None:
    run.begin()
    run.end("success")
    run.over()
    run.clear()
    run.ended_in_try(2)


def clear_run(run: Run) -> None:
    run.begin()
    run.end("success")
    run.over()
    run.af.api("POST", f"/dags/{run.dag}/dagRuns/{run.id}/clear", {"dry_run": False})
    run.ended_in_try(2)


def clear_by_cli(run: Run) -> None:
    run.begin()
    run.end("success")
    run.over()
    run.af.cli("dags", "clear", run.dag, "--run-id", run.id, "--yes")
    run.ended_in_try(2)


def backfill_twice(run: Run) -> None:
    days = int(time.time()) % 300 + (300 if run.mode == "deferred" else 0)  # a day that no other run of the DAG has
    day = (datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=days)).isoformat()
    body = {"dag_id": run.dag, "from_date": day, "to_date": day, "dag_run_conf": {"hold": "yes"}}
    run.af.wait_dag(run.dag)

    def backfilled(behavior: str) -> None:
        run.af.api("POST", "/backfills", body | {"reprocess_behavior": behavior})

    def found() -> bool:
        runs = run.af.api("GET", f"/dags/{run.dag}/dagRuns", params={"limit": 100})["dag_runs"]
        ours = [one["dag_run_id"] for one in runs if str(one["logical_date"])[:10] == day[:10]]
        run.id = ours[0] if ours else ""
        return bool(ours)

    backfilled("none")
    deadline = time.monotonic() + 60
    while not found():
        if time.monotonic() > deadline:
            raise NotSo("the backfill made no run")
        time.sleep(0.5)
    run.waiting()
    run.end("success")
    run.over()

    def begun_again() -> bool:
        try:
            backfilled("completed")
        except airflow.ApiError as error:  # the first backfill counts as active until the scheduler has looked
            if error.status != 409:
                raise
            return False
        return True

    run.until(begun_again, "the backfill is taken again")
    run.ended_in_try(2)


def clear_failed(run: Run) -> None:
    run.begin(outcomes=["fail", "succeed"])
    run.end("failed")
    run.over()
    run.clear()
    run.ended_in_try(2)


def clear_while_waiting(run: Run) -> None:
    run.begin()
    run.clear()
    run.running(2)
    run.end("success", "failed")


def clear_with_upstream(run: Run) -> None:
    """Cleared with the task before it, which takes long: the cleared task has no state meanwhile, and no process."""
    run.begin()
    run.tell("slow")
    run.af.clear(run.dag, run.id, task_ids=["before", TASK])
    run.until(lambda: run.side.programs(run) == ["Cancelled"], "the program is cancelled before the task's next try")
    run.tell("go")
    run.running(2)
    run.end("success", "failed")


def clear_up_for_retry(run: Run) -> None:
    """The first try is killed, its job runs on, and the retry is an hour away."""
    run.begin()
    run.kill_task()
    run.state("up_for_retry")
    run.clear()
    run.running(2)
    run.end("success", "failed")


def clear_scheduled(run: Run) -> None:
    """The retry waits for a place in its pool."""
    run.pool(1)
    run.begin()
    run.pool(0)
    run.kill_task()
    run.state("scheduled")
    run.clear()
    run.state("scheduled")
    run.pool(1)
    run.running(2)
    run.end("success", "failed")


def clear_resume_pending(run: Run) -> None:
    """The trigger has fired, and the task waits for a place in its pool."""
    run.pool(1)
    run.begin()
    run.pool(0)
    run.release()
    run.state("scheduled")
    run.clear()
    run.state("scheduled")
    run.pool(1)
    run.ended_in_try(2)


def clear_on_dead_worker(run: Run) -> None:
    run.begin()
    run.kill_machine()
    run.clear()
    run.state("restarting")
    run.taken_over()
    run.end()


def clear_on_kubernetes_executor(run: Run) -> None:
    """That executor leaves max_tries as it was, where LocalExecutor raises it: it is put back before the next try."""
    run.pool(1)
    run.begin()
    tries = run.ti()["max_tries"]
    run.pool(0)
    run.clear()
    run.state("scheduled")
    run.sql(
        "UPDATE task_instance SET max_tries = :tries WHERE dag_id = :dag AND run_id = :run AND task_id = 'job'",
        tries=tries, dag=run.dag, run=run.id,
    )  # fmt: skip
    run.pool(1)
    run.running(2)
    if run.ti()["max_tries"] != tries:
        raise NotSo("max_tries was not put back: the row shows nothing")
    run.end("success", "failed")


# Marks, and what else ends a task ----------------------------------------------------------------


def marked(state: str) -> Callable[[Run], None]:
    def play(run: Run) -> None:
        run.begin()
        run.mark(state)
        run.state(state)

    return play


def run_marked(run: Run) -> None:
    run.begin()
    run.af.mark(run.dag, run.id, None, "failed")
    run.state("failed")


def failed_fast(run: Run) -> None:
    run.begin()
    run.tell("stop")
    run.state("failed", "skipped")


def run_timed_out(run: Run) -> None:
    run.begin()
    run.state("skipped")


def marked_up_for_retry(run: Run) -> None:
    run.begin()
    run.kill_task()
    run.state("up_for_retry")
    run.mark("failed")
    run.state("failed")


def marked_and_reconciled(run: Run) -> None:
    marked_up_for_retry(run)
    run.unchanged(["running"], NOBODY_LOOKS)
    run.af.cli("durablejobs", "reconcile", "--conn-id", "durablejob_apart", "--interval", "2")


def zombie_without_retries(run: Run) -> None:
    run.begin()
    run.kill_machine()
    run.state("failed")


def index_removed(run: Run) -> None:
    """The upstream task is cleared with the first index, and returns one item where it had returned two.

    (With the upstream task alone Airflow looks at no index: none of them is to be scheduled.)
    """
    first, run.map_index = replace(run, map_index=0), 1
    run.begin()
    first.id = run.id
    run.tell("count", "1")
    run.af.clear(run.dag, run.id, task_ids=["numbers", [TASK, 0]])
    run.state("removed")
    run.unchanged(["running"], KEPT_AFTER_REMOVAL)
    first.end()


def recreated(run: Run) -> None:
    """The finished run is deleted, and made again under its id."""
    run.begin()
    run.end("success")
    run.over()
    run.forgotten()
    run.af.api("DELETE", f"/dags/{run.dag}/dagRuns/{run.id}")
    run.trigger()
    run.until(lambda: len(run.side.programs(run)) > 1, "the second program")
    run.state("success", "failed")


def recreated_while_running(run: Run) -> None:
    """The run is deleted while its job runs (Airflow wants it queued for that), and made again under its id."""
    run.begin()

    def deleted() -> bool:
        run.af.mark(run.dag, run.id, None, "queued")
        try:
            run.af.api("DELETE", f"/dags/{run.dag}/dagRuns/{run.id}")
        except airflow.ApiError as error:  # the scheduler was quicker, and it runs again
            if error.status != 409:
                raise
            return False
        return True

    run.until(deleted, "the run is deleted")
    run.trigger()
    run.running(2)
    run.end("success", "failed")


def requeued_run(run: Run) -> None:
    """The run is PATCHed to queued, and then its task is killed."""
    run.begin()
    run.af.mark(run.dag, run.id, None, "queued")
    run.af.wait_state(run.dag, run.id, None, "running")
    run.kill_task()
    run.taken_over()
    run.end()


def timed_out(run: Run) -> None:
    """The first try takes too long; the second does not."""
    run.begin()
    run.running(2)
    run.end()


def trigger_failed(run: Run) -> None:
    run.trigger()
    run.running()
    run.until(lambda: "waiting in the worker instead" in run.log(), "the task waits in the worker")
    run.end()


def ended(*states: str, **conf: object) -> Callable[[Run], None]:
    """The programs end at once, as they are told."""

    def play(run: Run) -> None:
        run.trigger(hold="", **conf)
        run.state(*(states or END))

    return play


def lost_and_cleared(run: Run) -> None:
    run.trigger(hold="", outcomes=["lost"])
    run.state("failed")
    run.over()
    run.clear()
    run.ended_in_try(2)


def deleted_by_hand(run: Run) -> None:
    run.begin()
    run.side.delete(run)
    run.state(*END)


def ten_in_one_slot(run: Run) -> None:
    """Ten mapped tasks in a pool of one slot; all of their jobs are to run at the same time."""
    run.pool(1)
    run.trigger(count=10)
    runs = [replace(run, map_index=index) for index in range(10)]
    run.map_index = 0
    for one in runs:
        one.running()
        one.state("deferred")
    slots = run.af.api("GET", f"/pools/gate-narrow-{run.mode}")
    if (slots["deferred_slots"], slots["open_slots"]) != (10, 1):
        raise NotSo(f"the pool is not free while ten jobs run: {slots}")
    for one in runs:
        one.release()
    for one in runs:
        one.state("success")
        if one.side.programs(one) != ["Succeeded"]:
            raise NotSo(f"programs of index {one.map_index}: {one.side.programs(one)}")


def handed_over_to_another_triggerer(run: Run) -> None:
    run.begin()
    before = _triggerer(run)
    run.fault()  # it is frozen
    run.until(lambda: _triggerer(run) not in (None, before), "another triggerer has the trigger")
    run.fault()  # it thaws, and the other one goes
    time.sleep(SETTLE)
    run.end()


def _triggerer(run: Run) -> object:
    """Which triggerer has the task's trigger."""
    job = run.ti()["triggerer_job"]
    return job and job["id"]
