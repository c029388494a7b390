"""The operators against a real API server, with a scripted controller; Airflow itself is imitated."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowRuntimeError,
    AirflowSkipException,
    AirflowTaskTimeout,
    ErrorType,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from durablejob_airflow.client import JobsClient
from durablejob_airflow.operators import DurableJobOperator
from durablejob_airflow.resource import Refused, Unavailable
from tests.operators.scripted import Controller


class Store(dict[str, Any]):
    """``task_state_store``; an archived id reads as empty and cannot be written."""

    archived = False

    def get(self, key: str, default: Any = None) -> Any:
        return default if self.archived else super().get(key, default)

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        if self.archived:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404}))
        self[key] = value


class Task:
    """One task in one run: makes operators and the contexts of its tries."""

    counter = itertools.count()

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.run_id = f"run-{next(self.counter)}-{secrets.token_hex(2)}"
        self.store = Store()
        self.states: dict[str, Any] = {}
        self.asked = threading.Event()

    def operator(self, parameters: dict[str, str] | None = None, **kwargs: Any) -> DurableJobOperator:
        arguments: dict[str, Any] = {
            "task_id": "task",
            "spec": {"plugin": {"parameters": parameters or {}}},
            "backend": "JobBackend/fake:Plugin",
            "durablejob_conn_id": self.conn_id,
            "deferrable": False,
            "poll_interval": 0.1,
            "retries": 1,
        }
        return DurableJobOperator(**arguments | kwargs)

    def context(self, id: str = "ti-1", number: int = 1, max_tries: int = 1, clears: int = 0) -> Any:
        ti = SimpleNamespace(
            id=f"{self.run_id}-{id}",
            dag_id="dag",
            run_id=self.run_id,
            task_id="task",
            map_index=-1,
            try_number=number,
            max_tries=max_tries,
            start_date=datetime.now(UTC),
            get_task_states=self._states,
        )
        return {"ti": ti, "task_state_store": self.store, "dag_run": SimpleNamespace(clear_number=clears)}

    def _states(self, **_: Any) -> dict[str, Any]:
        self.asked.set()
        return {self.run_id: self.states}

    def retry(self) -> Any:
        return self.context("ti-2", 2)

    def clear(self) -> Any:
        return self.context("ti-2", 2, max_tries=2, clears=1)


@pytest.fixture
def task(conn_id: str, controller: Controller) -> Task:
    return Task(conn_id)


def the_job(controller: Controller, task: Task) -> dict[str, Any]:
    return controller.await_job(lambda _: True, run_id=task.run_id)


def in_thread(operator: DurableJobOperator, context: Any) -> tuple[threading.Thread, list[Any]]:
    """Run a task beside the test; what it returned or raised is in the list."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(operator.execute(context))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def test_success_returns_the_same_result_from_any_try(task, controller):
    first = task.operator().execute(task.context())
    again = task.operator().execute(task.retry())
    assert first == again
    assert controller.starts(first["name"]) == [1]
    job = controller.job(first["name"])
    assert job["spec"]["holder"]["acknowledged"] == 1
    assert job["metadata"]["finalizers"] == ["durablejob.io/external-job"]
    assert job["metadata"]["annotations"]["durablejob.io/run-id"] == task.run_id
    made = datetime.fromisoformat(job["metadata"]["annotations"]["durablejob.io/created-at"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60


def test_a_deferrable_task_defers_and_its_resumption_returns_the_result(task, controller):
    with pytest.raises(TaskDeferred) as deferred:
        task.operator({"seconds": "0.5"}, deferrable=True).execute(task.context())
    trigger = deferred.value.trigger
    assert (trigger.attempt, trigger.holder_id) == (1, f"{task.run_id}-ti-1")
    controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Succeeded", run_id=task.run_id)
    result = task.operator().resume_execution("execute_complete", {"event": {"state": "Succeeded"}}, task.context())
    assert result["attempt"] == 1


def test_a_failure_may_be_retried_as_the_next_attempt_with_todays_work(task, controller):
    with pytest.raises(AirflowException, match="the program ended: Failed") as failed:
        task.operator({"outcome": "fail"}).execute(task.context())
    assert not isinstance(failed.value, AirflowFailException)
    assert task.operator({"outcome": "succeed"}).execute(task.retry())["attempt"] == 2
    assert controller.starts(the_job(controller, task)["metadata"]["name"]) == [1, 2]


def test_what_the_worker_fills_in_is_asked_for_once_in_a_try(task, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(DurableJobOperator, "fill_in", lambda self, context: asked.append(context["ti"].id))
    with pytest.raises(AirflowException, match="the program ended: Failed"):
        task.operator({"outcome": "fail"}).execute(task.context())
    assert task.operator().execute(task.retry())["attempt"] == 2
    assert [id.removeprefix(task.run_id) for id in asked] == ["-ti-1", "-ti-2"]


def test_a_worker_that_dies_before_it_skips_its_task_has_no_program_run_again(task, controller, monkeypatch):
    monkeypatch.setattr(DurableJobOperator, "is_skip", lambda self, job: job.ended == "Failed")
    with pytest.raises(TaskDeferred):
        task.operator({"outcome": "fail"}, deferrable=True).execute(task.context())
    controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Failed", run_id=task.run_id)
    with pytest.raises(AirflowSkipException, match="the program ended: Failed"):
        task.operator({"outcome": "fail"}).execute(task.retry())
    assert controller.starts(the_job(controller, task)["metadata"]["name"]) == [1]


def test_a_success_counts_whatever_todays_work_is(task, controller):
    with pytest.raises(TaskDeferred):
        task.operator({}, deferrable=True).execute(task.context())
    controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Succeeded", run_id=task.run_id)
    changed = task.operator({"message": "today's"}, on_work_changed="fail")
    assert changed.execute(task.retry())["attempt"] == 1


def test_a_clear_cancels_what_runs_and_waits_for_its_end(task, controller):
    old, _ = in_thread(task.operator({"hold": "yes"}), task.context())
    name = controller.await_job(lambda j: (j.get("status") or {}).get("state") == "Running", run_id=task.run_id)[
        "metadata"
    ]["name"]
    assert task.operator({}).execute(task.clear())["attempt"] == 2
    old.join(10)
    assert (name, 1, "Cleared") in controller.cancelled
    assert controller.starts(name) == [1, 2]


def test_a_superseded_worker_stops_and_touches_nothing(task, controller):
    old, found = in_thread(task.operator({"hold": "yes"}), task.context())
    controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Running", run_id=task.run_id)
    new, result = in_thread(task.operator({"hold": "yes"}), task.retry())
    old.join(20)
    assert "superseded" in str(found[0])
    name = the_job(controller, task)["metadata"]["name"]
    with pytest.raises(AirflowException, match="superseded"):
        task.operator().execute(task.context())
    controller.release(name)
    new.join(20)
    assert result[0]["attempt"] == 1
    assert controller.starts(name) == [1]


def test_an_archived_id_is_stale_before_anything_is_created(task, controller):
    task.store.archived = True
    with pytest.raises(AirflowException, match="archived"):
        task.operator().execute(task.context())
    assert controller.jobs(run_id=task.run_id) == []


def test_a_lost_job_fails_without_retry_and_is_resubmitted_only_if_asked(task, controller):
    with pytest.raises(AirflowFailException, match="acceptLost"):
        task.operator({"outcome": "lost"}).execute(task.context())
    with pytest.raises(AirflowFailException, match="acceptLost"):
        task.operator().execute(task.retry())
    assert task.operator(on_lost="resubmit").execute(task.retry())["attempt"] == 2
    assert the_job(controller, task)["spec"]["acceptLost"] == 1


def test_a_job_of_another_airflow_is_not_touched(task, controller):
    result = task.operator().execute(task.context())
    controller.patch(result["name"], {"metadata": {"annotations": {"durablejob.io/deployment": "other"}}})
    with pytest.raises(AirflowFailException, match="belongs to deployment 'other'"):
        task.operator().execute(task.retry())


def test_a_job_that_expired_after_success_still_gives_its_result(task, controller):
    result = task.operator().execute(task.context())
    controller.delete(result["name"])
    while controller.jobs(run_id=task.run_id):
        time.sleep(0.1)
    assert task.operator().execute(task.retry()) == result


def test_a_job_deleted_by_hand_fails_the_retry_and_a_clear_makes_it_anew(task, controller):
    with pytest.raises(AirflowException):
        task.operator({"outcome": "fail"}).execute(task.context())
    controller.delete(the_job(controller, task)["metadata"]["name"])
    while controller.jobs(run_id=task.run_id):
        time.sleep(0.1)
    with pytest.raises(AirflowFailException, match="was deleted, and nobody cleared"):
        task.operator().execute(task.retry())
    assert task.operator().execute(task.clear())["attempt"] == 1


def test_a_retry_that_finds_other_work_running_says_so(task, controller, capsys):
    with pytest.raises(TaskDeferred):
        task.operator({"hold": "yes", "message": "old"}, deferrable=True).execute(task.context())
    with pytest.raises(AirflowFailException, match=r"plugin\.parameters\.message: was 'old'"):
        task.operator({"hold": "yes"}, on_work_changed="fail").execute(task.retry())
    with pytest.raises(TaskDeferred):
        task.operator({"hold": "yes"}, deferrable=True).execute(task.retry())
    assert "The job goes on as it was submitted" in capsys.readouterr().out
    assert the_job(controller, task)["spec"]["plugin"]["parameters"]["message"] == "old"


def test_what_the_api_server_refuses_reaches_the_log_with_the_field(task):
    with pytest.raises(AirflowFailException, match=r"HTTP 422.*spec"):
        task.operator(backend="JobBackend/spark:SparkStandalone").execute(task.context())


def test_a_wrong_spec_fails_without_retry_and_names_the_field(task):
    with pytest.raises(AirflowFailException, match="activeDeadlineSeconds: Input should be greater"):
        task.operator(active_deadline_seconds=0).execute(task.context())


def test_a_namespace_that_does_not_exist_fails_without_retry(task):
    with pytest.raises(AirflowFailException, match="Is the namespace right"):
        task.operator(namespace="no-such-namespace").execute(task.context())


def test_an_outage_of_kubernetes_is_waited_for(task, monkeypatch, capsys):
    original, failures = JobsClient._call, itertools.count()

    def flaky(self: JobsClient, what: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if next(failures) % 3 == 0:
            raise Unavailable(f"{what}: connection refused")
        return original(self, what, *args, **kwargs)

    monkeypatch.setattr(JobsClient, "_call", flaky)
    assert task.operator().execute(task.context())["attempt"] == 1
    assert "Kubernetes does not answer" in capsys.readouterr().out


def test_a_proxys_404_is_no_deleted_job(task, monkeypatch, capsys):
    original, calls = JobsClient._call, itertools.count()

    def through_a_proxy(self: JobsClient, what: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if what.startswith("read") and next(calls) in (1, 3):
            raise Refused(404, f"{what}: HTTP 404: 404 page not found")
        return original(self, what, *args, **kwargs)

    monkeypatch.setattr(JobsClient, "_call", through_a_proxy)
    assert task.operator().execute(task.context())["attempt"] == 1
    assert "404 page not found" in capsys.readouterr().out


def test_a_lost_answer_to_the_creation_makes_no_second_job(task, controller, monkeypatch):
    original, lost = JobsClient.create, []

    def create(self: JobsClient, body: Any) -> dict[str, Any]:
        answer = original(self, body)
        if not lost:
            lost.append(answer)
            raise Unavailable("create: read timed out")
        return answer

    monkeypatch.setattr(JobsClient, "create", create)
    result = task.operator().execute(task.context())
    assert lost
    assert controller.starts(result["name"]) == [1]


@pytest.mark.parametrize(
    ("state", "archived", "cause"),
    [("failed", False, "MarkedFailed"), ("success", False, "MarkedSuccess"), ("restarting", True, "Cleared")],
)
def test_a_signal_after_a_persons_wish_cancels(task, controller, state, archived, cause):
    operator = task.operator({"hold": "yes"})
    thread, found = in_thread(operator, task.context())
    job = controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Running", run_id=task.run_id)
    task.states, task.store.archived = {"task": state}, archived
    operator.on_kill()
    thread.join(20)
    assert isinstance(found[0], AirflowException)
    controller.await_job(lambda job: job["status"]["state"] == "Cancelled", run_id=task.run_id)
    assert (job["metadata"]["name"], 1, cause) in controller.cancelled


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wish_that_comes_before_the_job_is_there_is_carried_out(task, controller, monkeypatch, deferrable):
    original = JobsClient.create
    operator = task.operator({"hold": "yes"}, deferrable=deferrable)

    def create(self: JobsClient, body: Any) -> dict[str, Any]:
        task.states = {"task": "failed"}
        operator.on_kill()
        task.asked.wait(5)
        time.sleep(0.3)
        return original(self, body)

    monkeypatch.setattr(JobsClient, "create", create)
    with pytest.raises(AirflowFailException, match="MarkedFailed"):
        operator.execute(task.context())
    controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Cancelled", run_id=task.run_id)


def test_a_signal_without_a_persons_wish_leaves_the_job_and_comes_back(task, controller):
    operator = task.operator({"hold": "yes"})
    thread, found = in_thread(operator, task.context())
    job = controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Running", run_id=task.run_id)
    task.states = {"task": "running"}
    operator.on_kill()
    thread.join(20)
    assert isinstance(found[0], AirflowRescheduleException)
    controller.release(job["metadata"]["name"])
    assert task.operator().execute(task.context())["attempt"] == 1
    assert controller.starts(job["metadata"]["name"]) == [1]


def test_a_signal_while_airflow_does_not_answer_changes_nothing(task, controller, monkeypatch):
    operator = task.operator({"hold": "yes"})
    thread, found = in_thread(operator, task.context())
    job = controller.await_job(lambda job: (job.get("status") or {}).get("state") == "Running", run_id=task.run_id)
    monkeypatch.setattr(task, "states", None)
    monkeypatch.setattr(task.store, "set", lambda *a, **k: (_ for _ in ()).throw(ConnectionError("away")))
    operator.on_kill()
    task.asked.wait(10)
    time.sleep(0.5)
    assert thread.is_alive()
    monkeypatch.undo()
    controller.release(job["metadata"]["name"])
    thread.join(20)
    assert found[0]["attempt"] == 1


def test_execution_timeout_in_the_worker_cancels(task, controller):
    operator = task.operator({"hold": "yes"}, execution_timeout=timedelta(seconds=1.5))
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(task.context())
    controller.await_job(lambda job: job["spec"].get("cancel", {}).get("cause") == "Timeout", run_id=task.run_id)
    operator.on_kill()  # as Airflow does after a timeout: nothing is left to do
    assert task.operator({}).execute(task.retry())["attempt"] == 2


def test_a_deferral_is_given_the_rest_of_the_time_and_its_timeout_cancels(task, controller):
    operator = task.operator({"hold": "yes"}, deferrable=True, execution_timeout=timedelta(minutes=5))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(task.context())
    assert timedelta(minutes=4) < deferred.value.timeout <= timedelta(minutes=5)
    with pytest.raises(TaskDeferralTimeout):
        operator.resume_execution(
            TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT.value}, task.context()
        )
    controller.await_job(lambda job: job["spec"].get("cancel", {}).get("cause") == "Timeout", run_id=task.run_id)


def test_a_broken_trigger_burns_no_retry(task, controller):
    with pytest.raises(TaskDeferred):
        task.operator({"seconds": "0.5"}, deferrable=True).execute(task.context())
    result = task.operator(deferrable=True).resume_execution(
        TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_FAILURE.value, "traceback": ["boom"]}, task.context()
    )
    assert result["attempt"] == 1


def test_airflow_tasks_test_uses_a_name_of_its_own_and_leaves_nothing_running(task, controller, monkeypatch):
    monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
    operator = task.operator({"hold": "yes"}, deferrable=True, execution_timeout=timedelta(seconds=2))
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(task.context())
    controller.await_job(lambda job: job["status"]["state"] == "Cancelled", run_id=task.run_id)
    assert dict(task.store) == {}
    monkeypatch.undo()
