"""Spark applications as Pods, the controller as a process of the machine; judged by a ledger that the programs call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from durablejob_api.names import attempt_key
from tests.e2e.desk import Desk, Object
from tests.node.conftest import manifest
from tests.testbed import controller as controllers
from tests.testbed import node
from tests.testbed.controller import Controller
from tests.testbed.errors import TestbedError
from tests.testbed.images import Image
from tests.testbed.kube import Cluster
from tests.testbed.node import Node
from tests.testbed.spark import distribution
from tests.waiting import eventually

QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


@pytest.fixture(scope="module", autouse=True)
def controller(crds: Cluster, here: Node, desk: Desk, spark_image: Callable[[str], Image]) -> Iterator[Controller]:
    name = here.load(spark_image(distribution.VERSION))
    desk.cluster.kubectl("apply", "-f", str(manifest("spark-driver.yaml")))
    with controllers.running(crds, "--namespaces", "default", "--poll-interval", "0.5") as running:
        running.wait_leading()
        account: Object = {"image": name, "serviceAccountName": "spark-driver"}
        desk.backend("pods", {"kubernetes": {"spark": {**account, "ui": {}}}})
        desk.backend("telling", {"kubernetes": {"spark": account, "failureLogLines": 4}})
        nowhere = {**account, "image": "lab.local/none:1"}
        desk.backend("nowhere", {"kubernetes": {"spark": nowhere, "startDeadlineSeconds": 40}})
        yield running


@pytest.fixture
def job(ledger: str) -> Any:
    """Makes the spec of an application: ``job(name, how, seconds, python=False)``; ``settings`` are Kubernetes' own."""

    def make(
        name: str,
        how: str = "succeed",
        seconds: float = 0,
        *,
        python: bool = False,
        backend: str = "pods",
        conf: Object | None = None,
        settings: Object | None = None,
        **more: Any,
    ) -> Object:
        size = {"resources": {"cpuRequest": "100m"}}
        pods: Object = {"driver": size, "executor": size, **(settings or {})}
        work: Object = {
            "mainApplicationFile": f"local:///opt/app/job.{'py' if python else 'jar'}",
            "arguments": [ledger, name, how, str(seconds)],
            "driver": {"memory": "512m"},
            "executor": {"instances": 2, "cores": 1, "memory": "512m"},
            "conf": {
                "spark.driver.extraJavaOptions": QUICK,
                "spark.executor.extraJavaOptions": QUICK,
                "spark.ui.enabled": "false",
                **(conf or {}),
            },
            "kubernetes": pods,
        }
        if not python:
            work["mainClass"] = "Job"
        return {"backendRef": {"name": backend, "type": "Kubernetes"}, "spark": work, **more}

    return make


def driver(desk: Desk, name: str) -> str:
    """Name of the driver's Pod."""
    return f"dj-{key_of(desk, name)}"


def key_of(desk: Desk, name: str) -> str:
    return attempt_key(desk.get(name)["metadata"]["uid"], 1)


def of_app(desk: Desk, name: str, what: str = "pods") -> list[str]:
    """The driver of this job, and its executors; or what else was made for it."""
    label = f"spark-app-selector={driver(desk, name)}"
    if what != "pods":
        label = f"durablejob.io/attempt-key={key_of(desk, name)}"
    return desk.cluster.kubectl("-n", "default", "get", what, "-l", label, "-o", "name").split()


def executors(desk: Desk, name: str) -> list[Object]:
    label = f"spark-app-selector={driver(desk, name)},spark-role=executor"
    found: list[Object] = json.loads(desk.cluster.kubectl("-n", "default", "get", "pods", "-l", label, "-o", "json"))[
        "items"
    ]
    return found


def running(desk: Desk, name: str, count: int) -> list[Object]:
    """Its executors, once so many of them run."""

    def found() -> list[Object]:
        return [one for one in executors(desk, name) if one["status"]["phase"] == "Running"]

    eventually(lambda: len(found()) >= count, f"{name} has no {count} executors", 120)
    return found()


def started(desk: Desk, name: str) -> None:
    eventually(lambda: desk.starts()[name] > 0, f"{name} was never started", 120)


def outcome(desk: Desk, name: str, timeout: float = 240) -> tuple[str, str, int | None]:
    """State, reason and exit code at its end."""
    status = desk.end(name, timeout)
    return status["state"], status["current"]["reason"], status["current"].get("exitCode")


def message(desk: Desk, name: str) -> str:
    return str(desk.get(name)["status"]["current"]["message"])


# --- ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", [False, True], ids=["jar", "python"])
def test_it_counts_on_two_executors_and_leaves_none(desk: Desk, job: Any, python: bool) -> None:
    name = desk.submit(job(f"count-{python}", "count", python=python))
    assert outcome(desk, name) == ("Succeeded", "Succeeded", 0), message(desk, name)
    status = desk.get(name)["status"]
    assert status["externalID"] == f"Pod/{driver(desk, name)}"
    assert desk.starts()[f"count-{python}"] == 1
    eventually(lambda: of_app(desk, name) == [f"pod/{driver(desk, name)}"], "its executors are there still")
    events = desk.cluster.kubectl("get", "events", "--field-selector=reason=Scheduled", "-o", "name")
    assert all(f"{driver(desk, name)}-exec-{number}" in events for number in (1, 2))


def test_nothing_is_left_after_the_durablejob(desk: Desk, job: Any) -> None:
    name = desk.submit(job("goes", "count", 5, conf={"spark.ui.enabled": "true"}))
    desk.state(name, "Running", timeout=120)
    assert len(of_app(desk, name, "services")) == 1
    assert outcome(desk, name)[0] == "Succeeded"
    eventually(lambda: not of_app(desk, name, "services"), "its Service is there still")
    pod, key = driver(desk, name), key_of(desk, name)
    desk.delete(name)
    desk.cluster.kubectl("-n", "default", "wait", "--for=delete", f"pod/{pod}", "--timeout=30s")
    for label in (f"durablejob.io/attempt-key={key}", f"spark-app-selector={pod}"):
        assert desk.cluster.kubectl("-n", "default", "get", "pods,services,jobs", "-l", label, "-o", "name") == ""


def test_a_deletion_while_it_runs_ends_all_of_it(desk: Desk, job: Any) -> None:
    name = desk.submit(job("removed", "count", 300))
    running(desk, name, 2)
    pod = driver(desk, name)
    desk.delete(name)
    label = f"spark-app-selector={pod}"
    eventually(
        lambda: desk.cluster.kubectl("-n", "default", "get", "pods", "-l", label, "-o", "name") == "", "pods are left"
    )
    assert desk.starts()["removed"] == 1


def test_an_exception_is_told(desk: Desk, job: Any) -> None:
    name = desk.submit(job("throws", "throw"))
    assert outcome(desk, name) == ("Failed", "ProgramFailed", 1)
    assert "exit code 1" in message(desk, name)
    assert "java.lang.IllegalArgumentException: boom from main" in message(desk, name)
    assert desk.starts()["throws"] == 1


def test_a_pythons_exception_is_told_where_the_administrator_wants_logs_told(desk: Desk, job: Any) -> None:
    names = {
        backend: desk.submit(job(f"throws-{backend}", "count+throw", python=True, backend=backend))
        for backend in ("pods", "telling")
    }
    for name in names.values():
        assert outcome(desk, name) == ("Failed", "ProgramFailed", 1), message(desk, name)
    assert "boom" not in message(desk, names["pods"])
    assert message(desk, names["telling"]).endswith("ValueError: boom from main"), message(desk, names["telling"])


@pytest.mark.parametrize("python", [False, True], ids=["jar", "python"])
def test_an_exit_code_is_told(desk: Desk, job: Any, python: bool) -> None:
    name = desk.submit(job(f"exits-{python}", "exit3", python=python))
    assert outcome(desk, name) == ("Failed", "ProgramFailed", 3)


def test_a_class_that_is_not_there_is_said(desk: Desk, job: Any) -> None:
    spec = job("classless")
    spec["spark"]["mainClass"] = "Nope"
    name = desk.submit(spec)
    assert outcome(desk, name) == ("Failed", "ProgramFailed", 101)
    assert "class or file is not there" in message(desk, name)


def test_a_program_that_takes_too_much_memory_is_failed_as_such(desk: Desk, job: Any) -> None:
    name = desk.submit(job("eats", "eat", python=True))
    state, reason, code = outcome(desk, name)
    assert (state, reason) == ("Failed", "OOMKilled"), message(desk, name)
    assert code == 137
    assert desk.starts()["eats"] == 1


def test_a_driver_that_dies_at_once_leaves_no_executors(desk: Desk, job: Any) -> None:
    name = desk.submit(job("halts", "count+halt4"))
    assert outcome(desk, name) == ("Failed", "ProgramFailed", 4)
    eventually(lambda: executors(desk, name) == [], "executors are left")
    assert desk.starts()["halts"] == 1


# --- what others do to it -----------------------------------------------------------------------------------


def test_a_driver_deleted_by_hand_is_failed_as_deleted(desk: Desk, job: Any) -> None:
    name = desk.submit(job("deleted", seconds=300))
    started(desk, "deleted")
    desk.cluster.kubectl("-n", "default", "delete", f"pod/{driver(desk, name)}", "--wait=false")
    assert outcome(desk, name)[:2] == ("Failed", "DeletedExternally")
    assert desk.starts()["deleted"] == 1


def test_an_evicted_driver_is_failed_as_evicted(desk: Desk, job: Any) -> None:
    name = desk.submit(job("evicted", seconds=300))
    started(desk, "evicted")
    pod = driver(desk, name)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
    path = f"/api/v1/namespaces/default/pods/{pod}/eviction"
    desk.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    assert outcome(desk, name)[:2] == ("Failed", "Evicted")
    assert desk.starts()["evicted"] == 1


def test_a_cancel_ends_the_driver_first(desk: Desk, job: Any) -> None:
    name = desk.submit(job("cancelled", "count", 300))
    running(desk, name, 2)
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert outcome(desk, name)[0] == "Cancelled"
    eventually(lambda: executors(desk, name) == [], "executors are left")
    assert desk.starts()["cancelled"] == 1


def test_a_driver_that_is_left_to_run_keeps_its_executors(desk: Desk, job: Any) -> None:
    name = desk.submit(job("orphan", "count", 20, deletionPolicy="Orphan"))
    found = running(desk, name, 2)
    pod = driver(desk, name)
    desk.delete(name)
    time.sleep(3)
    for one in (*(executor["metadata"]["name"] for executor in found), pod):
        assert desk.cluster.kubectl("-n", "default", "get", "pod", one, "-o", "jsonpath={.status.phase}") == "Running"
    desk.cluster.kubectl(
        "-n", "default", "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", "--timeout=90s"
    )
    desk.cluster.kubectl("-n", "default", "delete", f"pod/{pod}")


def test_a_controller_killed_in_the_middle_starts_each_once(desk: Desk, job: Any, controller: Controller) -> None:
    names = [desk.submit(job(f"kill{number}", python=True)) for number in range(3)]
    desk.until("durablejobs", names[1], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for number, name in enumerate(names):
        assert desk.end(name, 240)["state"] == "Succeeded"
        assert desk.starts()[f"kill{number}"] == 1


# --- what it waits for --------------------------------------------------------------------------------------


def test_an_image_that_is_nowhere_is_said_and_given_up_in_time(desk: Desk, job: Any) -> None:
    name = desk.submit(job("nowhere", backend="nowhere"))
    told = desk.until("durablejobs", name, lambda o: "ImagePull" in str(o.get("status", {}).get("current")))["status"]
    assert (told["state"], told["current"]["reason"]) == ("Submitted", "ImagePullBackOff")
    assert outcome(desk, name)[:2] == ("Failed", "ImagePullBackOff")
    assert "lab.local/none:1" in message(desk, name)
    assert desk.starts()["nowhere"] == 0


def test_a_quota_that_is_used_up_is_waited_for(desk: Desk, job: Any) -> None:
    kubectl = desk.cluster.kubectl
    kubectl("-n", "default", "create", "quota", "none", "--hard=pods=0")
    try:
        used = "jsonpath={.status.used.pods}"
        eventually(lambda: kubectl("-n", "default", "get", "quota", "none", "-o", used) != "", "no quota")
        name = desk.submit(job("waits", python=True))
        desk.until(
            "durablejobs", name, lambda o: o.get("status", {}).get("current", {}).get("reason") == "QuotaExceeded"
        )
        assert desk.get(name)["status"]["state"] == "Pending"
        assert "exceeded quota: none" in message(desk, name)
        assert desk.starts()["waits"] == 0
    finally:
        kubectl("-n", "default", "delete", "quota", "none")
    assert outcome(desk, name)[0] == "Succeeded"
    assert desk.starts()["waits"] == 1


# --- what it gets -------------------------------------------------------------------------------------------


@contextmanager
def restricted(desk: Desk) -> Iterator[None]:
    """Only pods that fit the Pod Security Standard "restricted" are let in."""
    label = "pod-security.kubernetes.io/enforce"
    desk.cluster.kubectl("label", "namespace", "default", f"{label}=restricted")
    try:
        yield
    finally:
        desk.cluster.kubectl("label", "namespace", "default", f"{label}-")


PRIORITY = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "night"},
    "value": 7,
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "namespace": "default"},
    "stringData": {"password": "hush"},
}


def test_driver_and_executors_get_what_was_asked_for_and_its_ui_is_reached(here: Node, desk: Desk, job: Any) -> None:
    for made in (PRIORITY, SECRET):
        desk.cluster.kubectl("apply", "-f", "-", input=json.dumps(made))
    pods: Object = {
        "labels": {"team": "a"}, "annotations": {"note": "n"}, "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "night", "resources": {"cpuRequest": "100m", "memoryOverhead": "400m"},
    }  # fmt: skip
    reference = {"name": "db", "key": "password"}
    settings = {
        "driver": pods,
        "executor": {**pods, "secretEnv": {"PASSWORD": reference}},
        "securityContext": {"runAsUser": 185, "fsGroup": 185},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [
            {"name": "scratch", "mountPath": "/scratch", "emptyDir": "16Mi"},
            {"name": "db", "mountPath": "/db", "secret": "db", "readOnly": True},
        ],
    }
    spec = job("gets", "count", 30, settings=settings, conf={"spark.ui.enabled": "true"})
    spec["spark"]["env"] = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": reference}}]
    with restricted(desk):
        name = desk.submit(spec)
        found = running(desk, name, 2)
    found.append(json.loads(desk.cluster.kubectl("-n", "default", "get", "pod", driver(desk, name), "-o", "json")))
    for one in found:
        meta, inside = one["metadata"], one["spec"]
        (container,) = inside["containers"]
        assert (meta["labels"]["team"], meta["annotations"]["note"]) == ("a", "n")
        assert (inside["priorityClassName"], inside["priority"]) == ("night", 7)
        assert inside["nodeSelector"]["kubernetes.io/os"] == "linux"
        assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in inside["tolerations"]
        assert (inside["securityContext"]["runAsUser"], inside["securityContext"]["runAsNonRoot"]) == (185, True)
        assert container["resources"]["requests"] == {"cpu": "100m", "memory": "912Mi"}
        assert {"/scratch", "/db"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        run = ["-n", "default", "exec", meta["name"], "--", "sh", "-c", 'echo "$PASSWORD $(cat /db/password)"']
        assert desk.cluster.kubectl(*run).strip() == "hush hush"
        token = ["-n", "default", "exec", meta["name"], "--", "ls", "/var/run/secrets"]
        if meta["labels"]["spark-role"] == "executor":
            with pytest.raises(TestbedError):
                desk.cluster.kubectl(*token)
    url = desk.get(name)["status"]["trackingURL"]
    service = f"service/dj-ui-{found[-1]['metadata']['uid']}"
    assert url == f"http://{service.removeprefix('service/')}.default.svc:4040"
    address = desk.cluster.kubectl("-n", "default", "get", service, "-o", "jsonpath={.spec.clusterIP}")
    page = here.run("busybox", "wget", "-q", "-O", "-", f"http://{address}:4040/jobs/")
    assert "Spark Jobs" in page
    assert outcome(desk, name)[0] == "Succeeded"


def test_executors_come_and_go_by_need(desk: Desk, job: Any) -> None:
    # Without the second, whoever holds a part of a shuffle stays until the driver's garbage collector has forgotten it.
    idle = {
        "spark.dynamicAllocation.executorIdleTimeout": "3s",
        "spark.dynamicAllocation.shuffleTracking.timeout": "3s",
    }
    spec = job("dynamic", "count", 60, conf=idle, settings={"dynamicAllocation": {"maxExecutors": 2}})
    del spec["spark"]["executor"]["instances"]
    name = desk.submit(spec)
    running(desk, name, 1)
    eventually(lambda: executors(desk, name) == [], "idle executors are kept", 90)
    assert desk.get(name)["status"]["state"] == "Running"
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert outcome(desk, name)[0] == "Cancelled"


@pytest.mark.parametrize("python", [False, True], ids=["jar", "python"])
def test_an_older_spark_counts_too(
    here: Node, desk: Desk, job: Any, spark_image: Callable[[str], Image], python: bool
) -> None:
    name = here.load(spark_image(distribution.OLDER))
    settings = {"image": name, "tolerations": [{"key": "spot", "operator": "Exists"}]}
    name = desk.submit(job(f"older-{python}", "count", python=python, settings=settings))
    assert outcome(desk, name) == ("Succeeded", "Succeeded", 0), message(desk, name)
    eventually(lambda: of_app(desk, name) == [f"pod/{driver(desk, name)}"], "its executors are there still")


def test_of_a_node_that_is_gone_for_good_the_driver_is_failed_and_not_started_elsewhere(
    desk: Desk, job: Any, crds: Cluster, spark_image: Callable[[str], Image]
) -> None:
    with node.running(crds, "doomed") as doomed:
        doomed.load(spark_image(distribution.VERSION))
        there = {"nodeSelector": {"kubernetes.io/hostname": "doomed"}, "resources": {"cpuRequest": "100m"}}
        name = desk.submit(job("doomed", seconds=600, python=True, settings={"driver": there}))
        started(desk, "doomed")
        desk.state(name, "Running")
        doomed.power_off()
        crds.kubectl("wait", "--for=condition=Ready=Unknown", "node/doomed", "--timeout=90s")
        assert desk.get(name)["status"]["state"] == "Running"  # nobody can say more
        crds.kubectl("delete", "node", "doomed")
        # The pod garbage collector looks every 20 seconds, and once more before it believes that the node is gone.
        assert outcome(desk, name, 150)[:2] == ("Failed", "NodeGone")
    assert desk.starts()["doomed"] == 1
