"""Airflow, controller and Spark together, all of them real; the judge is what Spark has run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import standalone_spec
from tests.e2e.desk import Desk
from tests.e2e.proxies import refusing
from tests.testbed import airflow, kube
from tests.testbed.spark.standalone import Standalone

DAGS = Path(__file__).with_name("dags")
Conf = dict[str, Any]


class Runs:
    """DAG runs, and the one DurableJob of each."""

    def __init__(self, running: airflow.Airflow, desk: Desk) -> None:
        self.airflow = running
        self.desk = desk

    def trigger(self, dag: str, name: str, *hows: str, **conf: Any) -> str:
        self.airflow.wait_dag(dag)
        return self.airflow.trigger(dag, conf={"name": name, "hows": list(hows) or ["succeed"], **conf})

    def job(self, dag: str, run: str, timeout: float = 120) -> str:
        """Name of the run's DurableJob, once it is there."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for item in self.desk.jobs():
                notes = item["metadata"].get("annotations", {})
                if (notes.get("durablejob.io/dag-id"), notes.get("durablejob.io/run-id")) == (dag, run):
                    return str(item["metadata"]["name"])
            time.sleep(0.3)
        raise AssertionError(f"no DurableJob of {dag} {run}")

    def end(self, dag: str, run: str, timeout: float = 180) -> dict[str, Any]:
        end: dict[str, Any] = self.airflow.wait_state(dag, run, "job", ("success", "failed"), timeout=timeout)
        return end

    def log(self, dag: str, run: str, tries: int = 1) -> str:
        return self.airflow.task_log(dag, run, "job", tries)

    def read(self, words: str, dag: str, run: str, tries: int = 1, timeout: float = 120) -> None:
        """Wait until the task's log says this; Airflow shows it a moment after it was written."""
        deadline = time.monotonic() + timeout
        log = ""
        while words not in log:
            assert time.monotonic() < deadline, f"{words!r} is not in\n{log}"
            time.sleep(0.5)
            with contextlib.suppress(airflow.ApiError):  # 404 until the try has begun
                log = self.log(dag, run, tries)


@pytest.fixture(scope="module")
def runs(crds: kube.Cluster, desk: Desk, backend: str, app_jar: Path) -> Iterator[Runs]:
    extra = {"deployment_id": "e2e", "namespace": "default", "kube_config_path": str(crds.kubeconfig)}
    env = {
        "AIRFLOW_CONN_DURABLEJOB_DEFAULT": json.dumps({"conn_type": "durablejob", "extra": extra}),
        "E2E_JAR": str(app_jar),
        "E2E_LEDGER": str(desk.ledger),
    }
    with airflow.running(DAGS, crds, env) as running:
        yield Runs(running, desk)


@pytest.mark.parametrize("dag", ["deferred", "polling"])
def test_a_success_runs_once_and_returns_what_is_known_of_the_job(runs: Runs, dag: str) -> None:
    run = runs.trigger(dag, f"ok-{dag}")
    assert runs.end(dag, run)["state"] == "success"
    result = runs.airflow.xcom(dag, run, "job")
    assert result["externalId"].startswith("driver-")
    assert result["attempt"] == 1
    assert runs.desk.starts()[f"ok-{dag}"] == 1
    assert "Succeeded" in runs.log(dag, run)


def test_a_failure_is_retried_as_the_next_attempt_with_todays_arguments(runs: Runs) -> None:
    run = runs.trigger("deferred", "twice", "throw", "succeed")
    end = runs.end("deferred", run)
    assert (end["state"], end["try_number"]) == ("success", 2)
    assert runs.desk.starts()["twice"] == 2
    assert "ProgramFailed" in runs.log("deferred", run, 1)


def test_a_killed_worker_is_replaced_by_a_retry_that_re_attaches(runs: Runs) -> None:
    run = runs.trigger("polling", "worker", "held-succeed", "throw")
    job = runs.job("polling", run)
    driver = runs.desk.state(job, "Running", timeout=120)["externalID"]
    for pid in reversed(runs.airflow.task_pid("polling", run, "job")):
        os.kill(pid, signal.SIGKILL)
    # The second try's arguments differ from the first's, and what runs already is not touched.
    runs.read("The task's work has changed since the job was submitted: spark.arguments[2]", "polling", run, 2)
    runs.read("was 'held-succeed', would be 'throw'", "polling", run, 2)
    runs.desk.release("worker")
    end = runs.end("polling", run)
    assert (end["state"], end["try_number"]) == ("success", 2)
    assert runs.desk.starts()["worker"] == 1
    assert runs.airflow.xcom("polling", run, "job")["externalId"] == driver


def test_a_killed_triggerer_loses_nothing(runs: Runs) -> None:
    run = runs.trigger("deferred", "triggerer", seconds=10)
    runs.desk.state(runs.job("deferred", run), "Running", timeout=120)
    runs.airflow.wait_state("deferred", run, "job", ("deferred",), timeout=60)
    runs.airflow.kill("triggerer")
    runs.airflow.start("triggerer")
    end = runs.end("deferred", run)
    assert (end["state"], end["try_number"]) == ("success", 1)
    assert runs.desk.starts()["triggerer"] == 1


def test_clearing_a_success_runs_the_program_again_as_attempt_2(runs: Runs) -> None:
    run = runs.trigger("deferred", "cleared")
    assert runs.end("deferred", run)["state"] == "success"
    runs.airflow.clear("deferred", run, "job")
    runs.airflow.wait_state("deferred", run, "job", ("queued", "running", "deferred", "scheduled"), timeout=60)
    assert runs.end("deferred", run)["state"] == "success"
    assert runs.desk.starts()["cleared"] == 2
    assert runs.airflow.xcom("deferred", run, "job")["attempt"] == 2


def test_marking_a_deferred_task_failed_cancels_the_job(runs: Runs) -> None:
    run = runs.trigger("deferred", "marked", seconds=120)
    job = runs.job("deferred", run)
    runs.desk.state(job, "Running", timeout=120)
    runs.airflow.wait_state("deferred", run, "job", ("deferred",), timeout=60)
    runs.airflow.mark("deferred", run, "job", "failed")
    assert runs.desk.end(job, timeout=60)["state"] == "Cancelled"
    assert runs.desk.starts()["marked"] == 1


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"application": "ftp://host/a.jar"}, "SchemeNotAllowed"),
        ({"application": "local:///no/such.jar"}, "/no/such.jar"),
        ({"backend": "ClusterJobBackend/others:SparkStandalone"}, "BackendNotAllowed"),
        ({"backend": "JobBackend/spark:Yarn"}, "BackendTypeMismatch"),
        ({"backend": "JobBackend/spark:Kubernetes"}, "BackendTypeMismatch"),
    ],
    ids=["scheme", "missing file", "not admitted", "wrong type", "wrong system"],
)
def test_what_is_wrong_with_the_input_is_read_in_the_tasks_log(
    runs: Runs, standalone: Standalone, conf: Conf, words: str
) -> None:
    spec = {**standalone_spec(standalone), "namespaces": ["another"]}
    runs.desk.apply({"kind": "ClusterJobBackend", "metadata": {"name": "others"}, "spec": spec})
    run = runs.trigger("polling", "wrong", **conf)
    job = runs.job("polling", run)
    runs.desk.end(job, timeout=120)
    runs.read(words, "polling", run)
    assert runs.desk.starts()["wrong"] == 0


def test_what_a_job_waits_for_is_read_in_the_tasks_log_while_it_waits(runs: Runs) -> None:
    with refusing() as url:
        for name, address in (("asleep", "http://127.0.0.1:9"), ("guarded", url)):
            masters = [{"rest": address, "ui": address}]
            runs.desk.backend(name, {"sparkStandalone": {"masters": masters}, "artifactSchemes": ["local"]})
        waiting = [
            ("polling", "nowhere", "no JobBackend nowhere in namespace default"),
            ("polling", "asleep", "127.0.0.1:9"),
            ("polling", "guarded", "CredentialsRefused"),
            ("too_large", "spark", "500 cores"),
        ]
        started = [
            (dag, runs.trigger(dag, "never", backend=f"JobBackend/{backend}:SparkStandalone"), words)
            for dag, backend, words in waiting
        ]
        for dag, run, words in started:
            runs.read(words, dag, run, timeout=120)
        for dag, run, _ in started:
            runs.desk.delete(runs.job(dag, run))
        for dag, run, _ in started:  # deleted by hand: no retry
            end = runs.end(dag, run)
            assert (end["state"], end["try_number"]) == ("failed", 1)
    assert runs.desk.starts()["never"] == 0


def test_what_the_api_server_refuses_is_read_in_the_tasks_log_with_the_field(runs: Runs) -> None:
    run = runs.trigger("polling", "refused", backend="JobBackend/spark:Plugin")
    end = runs.end("polling", run)
    assert (end["state"], end["try_number"]) == ("failed", 1)
    runs.read("Kubernetes refuses (HTTP 422)", "polling", run)
    runs.read("spec.backendRef.type: does not fit the work", "polling", run)
    runs.read("SparkStandalone takes spark", "polling", run)
