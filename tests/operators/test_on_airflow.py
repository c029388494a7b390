"""What a task shows and returns on a real Airflow; what happens to it is in ``tests/events``.

The judge is the ledger of who starts programs (here the scripted controller), never Airflow's word.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.operators.conftest import CONN_ID, connection
from tests.operators.scripted import Controller
from tests.testbed import airflow
from tests.testbed.kube import Cluster

DAGS = Path(__file__).parent / "dags"
END = ("success", "failed")


@dataclass
class Run:
    """One run of one DAG, with its jobs."""

    af: airflow.Airflow
    controller: Controller
    dag: str
    id: str

    def wait(self, *states: str, task: str = "job", timeout: float = 120) -> dict[str, Any]:
        """Wait until the task is in one of these states."""
        return self.af.wait_state(self.dag, self.id, task, states or END, timeout)

    def job(self, state: str | None = None, attempt: int = 1, task: str = "job") -> dict[str, Any]:
        """The task's job, once it is in this state."""

        def fits(job: dict[str, Any]) -> bool:
            status = job.get("status") or {}
            ours = job["metadata"]["annotations"]["durablejob.io/task-id"] == task
            number = (status.get("current") or {}).get("number")
            return ours and (state is None or (status.get("state") == state and number == attempt))

        return self.controller.await_job(fits, dag_id=self.dag, run_id=self.id)

    def name(self, task: str = "job") -> str:
        return str(self.job(task=task)["metadata"]["name"])

    def starts(self, task: str = "job") -> list[int]:
        """Attempts that were started, each as often as it was."""
        return self.controller.starts(self.name(task))

    def log(self, try_number: int = 1, task: str = "job") -> str:
        """A try's log; empty as long as there is none."""
        try:
            return self.af.task_log(self.dag, self.id, task, try_number)
        except airflow.ApiError as error:
            if error.status != 404:
                raise
            return ""

    def story(self, task: str = "job") -> str:
        """The logs of all tries."""
        last = self.af.task_instance(self.dag, self.id, task)["try_number"]
        return "\n\n".join(self.log(number, task) for number in range(1, last + 1))

    def state(self, task: str = "job") -> str:
        return str(self.af.task_instance(self.dag, self.id, task)["state"])

    def until(self, holds: Callable[[], object], timeout: float = 120) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < deadline, f"not within {timeout} s"
            time.sleep(0.3)

    def taken_over(self) -> None:
        """Wait until a later try holds the job."""
        name = self.name()
        self.until(lambda: self.controller.job(name)["spec"]["holder"]["tryNumber"] > 1)


@pytest.fixture(scope="module")
def af(crds: Cluster, namespace: str) -> Iterator[airflow.Airflow]:
    """Airflow, started once."""
    settings = {
        f"AIRFLOW_CONN_{CONN_ID.upper()}": connection(crds.kubeconfig, namespace),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "PYTHONPATH": str(DAGS.parent / "preload"),
    }
    ours = os.environ.pop("AIRFLOW_HOME")  # of the test process; the testbed gives each Airflow its own
    try:
        with airflow.running(DAGS, crds, settings) as running:
            yield running
    finally:
        os.environ["AIRFLOW_HOME"] = ours


@pytest.fixture
def start(af: airflow.Airflow, controller: Controller):
    """Start a run of a DAG; what its jobs do is given by name."""

    def started(dag: str, **conf: Any) -> Run:
        return Run(af, controller, dag, af.trigger(dag, conf=conf))

    return started


@pytest.mark.parametrize("dag", ["deferred", "polling"])
def test_success(start, dag):
    run = start(dag, hold="yes")
    name = run.job("Running")["metadata"]["name"]
    run.until(lambda: "attempt 1: Running (Started)" in run.log())
    run.controller.release(name)
    assert run.wait()["state"] == "success"
    assert run.starts() == [1]
    job = run.controller.job(name)
    assert run.af.xcom(dag, run.id, "job") == {
        "name": name,
        "namespace": job["metadata"]["namespace"],
        "uid": job["metadata"]["uid"],
        "attempt": 1,
        "externalId": "run-1",
        "trackingUrl": f"http://tracking.example/{name}/1",
    }
    assert job["spec"]["holder"]["acknowledged"] == 1
    assert run.af.xcom(dag, run.id, "job", "_link_ExternalJobLink") == f"http://tracking.example/{name}/1"
    log = run.log()
    for line in ("attempt 1: Running (Started)", "External id: run-1", "attempt 1: Succeeded (Completed)"):
        assert line in log


def test_the_link_is_there_while_the_task_is_deferred(start):
    run = start("deferred", hold="yes")
    run.wait("deferred")
    name = run.job("Running")["metadata"]["name"]
    url = f"http://tracking.example/{name}/1"
    run.until(lambda: run.af.xcom("deferred", run.id, "job", "_link_ExternalJobLink") == url)
    run.controller.release(name)
    assert run.wait()["state"] == "success"


@pytest.mark.parametrize("dag", ["deferred", "polling"])
def test_a_failure_is_retried_as_the_next_attempt(start, dag):
    run = start(dag, outcomes=["fail", "succeed"])
    instance = run.wait()
    assert (instance["state"], instance["try_number"]) == ("success", 2), run.story()
    assert run.starts() == [1, 2]
    assert run.af.xcom(dag, run.id, "job")["attempt"] == 2
    assert "Failed (ExitCode): the program ended: Failed" in run.log(1)


def test_a_killed_worker_process_is_followed_by_a_retry_that_re_attaches(start):
    run = start("polling", hold="yes")
    name = run.job("Running")["metadata"]["name"]
    pid, _ = run.af.task_pid("polling", run.id, "job")
    os.kill(pid, signal.SIGKILL)
    run.taken_over()
    run.controller.release(name)
    instance = run.wait()
    assert (instance["state"], instance["try_number"]) == ("success", 2)
    assert run.starts() == [1]
    assert run.af.xcom("polling", run.id, "job")["attempt"] == 1


def test_mapped_tasks_have_a_job_each(start, af):
    run = start("mapped")
    assert af.wait_state("mapped", run.id, None, END)["state"] == "success"
    jobs = run.controller.jobs(dag_id="mapped", run_id=run.id)
    assert sorted(job["metadata"]["labels"]["durablejob.io/map-index"] for job in jobs) == ["0", "1"]


def test_what_the_api_server_refuses_fails_without_a_retry_and_says_why(start):
    run = start("refused")
    instance = run.wait()
    assert (instance["state"], instance["try_number"]) == ("failed", 1)
    log = run.log()
    assert "Kubernetes refuses (HTTP 422)" in log
    assert "spec.backendRef.type: does not fit the work" in log
    assert "Plugin takes plugin" in log


def test_airflow_knows_the_provider(af):
    found = af.api("GET", "/providers", params={"limit": 100})["providers"]
    assert "durablejob" in [provider["package_name"] for provider in found]


def test_no_retry_was_burned_by_the_late_exit_of_a_process_that_had_deferred(af):
    """The last test. (A killed process is reported in the same words, with another state.)"""
    mistakes = re.findall(r"the task instance's state attribute is (?:queued|scheduled)", af.log("scheduler"))
    assert mistakes == []
