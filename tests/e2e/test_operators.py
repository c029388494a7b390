"""The operators, the sensor and the connection on a real Airflow, with Kubernetes and Spark behind them.

The judges are what the Job controller made and the fake kubelet started, and what the Spark Worker ran.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import durablejob_airflow.example_dags
from tests.e2e.desk import Desk, Object
from tests.testbed import airflow, kube
from tests.testbed.controller import Controller
from tests.testbed.kube import kubelet
from tests.testbed.kube.kubelet import FakeKubelet
from tests.testbed.spark.standalone import Standalone

END = ("success", "failed", "skipped")


class Runs:
    """DAG runs, and the DurableJobs of their tasks."""

    def __init__(self, running: airflow.Airflow, desk: Desk, fake: FakeKubelet) -> None:
        self.airflow = running
        self.desk = desk
        self.fake = fake

    def start(self, dag: str) -> str:
        """Start a run; return its id."""
        return self.airflow.trigger(dag)

    def end(self, dag: str, run: str, task: str = "job", timeout: float = 180) -> str:
        """How a task ended."""
        return str(self.airflow.wait_state(dag, run, task, END, timeout)["state"])

    def log(self, dag: str, run: str, task: str = "job", tries: int = 1) -> str:
        return self.airflow.task_log(dag, run, task, tries)

    def jobs(self, dag: str, run: str, task: str = "job") -> list[Object]:
        """The DurableJobs of a task."""
        wanted = {"durablejob.io/dag-id": dag, "durablejob.io/run-id": run, "durablejob.io/task-id": task}
        return [job for job in self.desk.jobs() if wanted.items() <= job["metadata"].get("annotations", {}).items()]

    def starts(self, job: Object) -> int:
        """How often the program of the job's current attempt was started."""
        return self.fake.count(job["status"]["current"]["key"])

    def links(self, dag: str, run: str, task: str) -> dict[str, str | None]:
        """What Airflow's page of the task shows."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/links"
        found: dict[str, str | None] = self.airflow.api("GET", path)["extra_links"]
        return found


@pytest.fixture(scope="module")
def fake(crds: kube.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubelet]:
    with kubelet.running(crds, tmp_path_factory.mktemp("kubelet")) as running:
        yield running


@pytest.fixture(scope="module")
def connection(crds: kube.Cluster, desk: Desk, backend: str, standalone: Standalone) -> dict[str, Any]:
    """What a person types into the form."""
    extra = {
        "deployment_id": "e2e",
        "namespace": "default",
        "backend": f"JobBackend/{backend}:SparkStandalone",
        "spark_home": f"local://{standalone.spark_home}",
        "kube_config_path": str(crds.kubeconfig),
    }
    return {"conn_type": "durablejob", "extra": extra}


@pytest.fixture(scope="module")
def runs(
    crds: kube.Cluster, controller: Controller, desk: Desk, fake: FakeKubelet, connection: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runs]:  # fmt: skip
    desk.backend("here", {"kubernetes": {}})
    dags = tmp_path_factory.mktemp("dags")
    for folder in (Path(durablejob_airflow.example_dags.__file__).parent, Path(__file__).with_name("operator_dags")):
        for path in folder.glob("*.py"):
            shutil.copy(path, dags)
    env = {
        "AIRFLOW_CONN_DURABLEJOB_DEFAULT": json.dumps(connection),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    with airflow.running(dags, crds, env) as running:
        yield Runs(running, desk, fake)


def test_all_dags_are_read_without_an_error(runs: Runs) -> None:
    for dag in ("moved", "kubernetes_mapped", "example_durablejob", "example_durablejob_yarn"):
        runs.airflow.wait_dag(dag)
    assert runs.airflow.import_errors() == []


def test_the_spark_providers_own_example_moved_over_runs(runs: Runs, standalone: Standalone) -> None:
    run = runs.start("moved")
    assert runs.end("moved", run, "submit_job", 300) == "success", runs.log("moved", run, "submit_job")
    driver = runs.airflow.xcom("moved", run, "submit_job")["externalId"]
    (folder,) = [found for found in standalone.driver_dirs() if found.name == driver]
    assert "Pi is roughly 3.1" in (folder / "stdout").read_text()
    assert len(runs.jobs("moved", run, "submit_job")) == 1


def test_the_example_for_kubernetes_runs_each_job_once(runs: Runs) -> None:
    dag = "example_durablejob_kubernetes"
    run = runs.start(dag)
    for task in ("load", "report"):
        assert runs.end(dag, run, task) == "success", runs.log(dag, run, task)
        (job,) = runs.jobs(dag, run, task)
        assert runs.starts(job) == 1
    (load,), (report,) = runs.jobs(dag, run, "load"), runs.jobs(dag, run, "report")
    container = load["spec"]["kubernetesJob"]["template"]["template"]["spec"]["containers"][0]
    assert container["args"][0] == "--day"
    assert container["args"][1].startswith("20")
    container = report["spec"]["kubernetesJob"]["template"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["--after", load["status"]["externalID"]]


def test_the_resource_is_linked_on_the_tasks_page(runs: Runs, crds: kube.Cluster) -> None:
    dag = "kubernetes_skips"
    run = runs.start(dag)
    runs.end(dag, run)
    (job,) = runs.jobs(dag, run)
    url = f"{crds.url}/apis/durablejob.io/v1alpha1/namespaces/default/durablejobs/{job['metadata']['name']}"
    links = runs.links(dag, run, "job")
    assert links["DurableJob"] == url
    assert not links["External job"], "a Kubernetes Job has no page of its own"


def test_an_exit_code_skips_the_task(runs: Runs) -> None:
    run = runs.start("kubernetes_skips")
    assert runs.end("kubernetes_skips", run) == "skipped"
    (job,) = runs.jobs("kubernetes_skips", run)
    assert (job["status"]["state"], runs.starts(job)) == ("Failed", 1)
    assert "[exit code 99]" in runs.log("kubernetes_skips", run)


def test_a_failed_job_is_retried_as_the_next_attempt_with_what_its_templates_say_then(runs: Runs) -> None:
    dag = "kubernetes_fails_first"
    run = runs.start(dag)
    assert runs.end(dag, run) == "success"
    (job,) = runs.jobs(dag, run)
    assert job["status"]["current"]["number"] == 2
    container = job["spec"]["kubernetesJob"]["template"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "TRY", "value": "2"}]
    assert "ended with exit code 3" in runs.log(dag, run)
    assert "env[TRY].value: was '1', would be '2'" in runs.log(dag, run, tries=2)


def test_a_killed_worker_is_followed_by_a_retry_that_re_attaches_to_the_job(runs: Runs) -> None:
    dag = "kubernetes_polling"
    run = runs.start(dag)
    deadline = time.monotonic() + 60
    while not (jobs := runs.jobs(dag, run)) or jobs[0].get("status", {}).get("state") != "Running":
        assert time.monotonic() < deadline, jobs
        time.sleep(0.3)
    for pid in reversed(runs.airflow.task_pid(dag, run, "job")):
        os.kill(pid, signal.SIGKILL)
    assert runs.end(dag, run) == "success"
    assert runs.airflow.task_instance(dag, run, "job")["try_number"] == 2
    (job,) = runs.jobs(dag, run)
    assert (job["status"]["current"]["number"], runs.starts(job)) == (1, 1)


def test_a_mapped_function_has_a_job_for_each_of_its_values(runs: Runs) -> None:
    dag = "kubernetes_mapped"
    run = runs.start(dag)
    assert runs.airflow.wait_state(dag, run, None, ("success", "failed"), 180)["state"] == "success"
    jobs = runs.jobs(dag, run, "load")
    templates = [job["spec"]["kubernetesJob"]["template"]["template"] for job in jobs]
    assert sorted(template["spec"]["containers"][0]["args"] for template in templates) == [
        ["--table", "sales"],
        ["--table", "stock"],
    ]
    assert [runs.starts(job) for job in jobs] == [1, 1]


def test_a_sensor_waits_for_the_job_of_another_task_and_returns_the_same(runs: Runs) -> None:
    dag = "example_durablejob_spec"
    run = runs.start(dag)
    assert runs.end(dag, run, "wait") == "success", runs.log(dag, run, "wait")
    assert runs.airflow.xcom(dag, run, "wait") == runs.airflow.xcom(dag, run, "run")


def test_a_sensor_is_deferred_until_the_job_of_somebody_else_is_there_and_has_ended(runs: Runs) -> None:
    dag, name = "waits_for_theirs", f"theirs-{uuid.uuid4().hex[:6]}"
    runs.airflow.wait_dag(dag)
    run = runs.airflow.trigger(dag, conf={"name": name})
    runs.airflow.wait_state(dag, run, "wait", "deferred")
    pod = {"spec": {"containers": [{"name": "main", "image": "etl:1"}]}}
    ref = {"name": "here", "type": "Kubernetes"}
    runs.desk.submit({"backendRef": ref, "kubernetesJob": {"template": {"template": pod}}}, name)
    assert runs.end(dag, run, "wait") == "success"
    job = runs.desk.get(name)
    assert runs.airflow.xcom(dag, run, "wait")["externalId"] == job["status"]["externalID"]
    assert not {"holder", "cancel"} & set(job["spec"])
    log = runs.log(dag, run, "wait")
    assert f"There is no DurableJob default/{name}" in log
    assert f"DurableJob default/{name}, attempt 1: Succeeded" in log


def test_a_function_gives_a_spark_application_its_arguments(runs: Runs, standalone: Standalone) -> None:
    run = runs.start("spark_function")
    assert runs.end("spark_function", run, "estimate", 300) == "success", runs.log("spark_function", run, "estimate")
    (job,) = runs.jobs("spark_function", run, "estimate")
    assert job["spec"]["spark"]["arguments"] == ["3"]
    (folder,) = [found for found in standalone.driver_dirs() if found.name == job["status"]["externalID"]]
    assert "Pi is roughly 3.1" in (folder / "stdout").read_text()


def test_the_form_of_the_connection_is_ours(runs: Runs) -> None:
    headers = {"Authorization": f"Bearer {runs.airflow.token()}"}
    answer = httpx.get(f"{runs.airflow.url}/ui/connections/hook_meta", headers=headers, timeout=60, trust_env=False)
    (form,) = [one for one in answer.json() if one["connection_type"] == "durablejob"]
    assert {"deployment_id", "namespace", "backend", "spark_home", "resource_url"} <= set(form["extra_fields"])


@pytest.mark.parametrize(
    ("changes", "good", "words"),
    [
        ({}, True, "JobBackend spark is Ready"),
        ({"deployment_id": ""}, False, "set the field 'Deployment id'"),
        ({"backend": "JobBackend/nowhere:Yarn"}, False, "there is no JobBackend 'nowhere'"),
    ],
)
def test_the_test_button_says_what_works_and_what_does_not(
    runs: Runs, connection: dict[str, Any], changes: dict[str, str], good: bool, words: str
) -> None:
    body = {
        "connection_id": "from_the_form",
        "conn_type": "durablejob",
        "extra": json.dumps({**connection["extra"], **changes}),
    }
    answer = runs.airflow.api("POST", "/connections/test", body)
    assert (answer["status"], words in answer["message"]) == (good, True), answer
