"""The controller at home: installed by its chart as a pod of its own image, under restricted pod security."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chart.helm import RELEASE, Helm
from tests.e2e.desk import Desk
from tests.node.conftest import APPS, manifest
from tests.node.programs import Programs
from tests.testbed import airflow, spark
from tests.testbed.errors import TestbedError
from tests.testbed.images import Image
from tests.testbed.images import controller as image
from tests.testbed.node import Node
from tests.testbed.process import Identity
from tests.testbed.spark import distribution

NAMESPACE = "durablejob-system"
DEPLOYMENT = f"deployment/{RELEASE}-durablejob"
PORT = 30947
"""Of the gate, on the node."""
DAGS = Path(__file__).with_name("dags")


@pytest.fixture(scope="module")
def chart(here: Node, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """helm with the chart of the working tree: ``chart("upgrade", "replicas=2")``."""
    here.load(image.build())
    helm = Helm(tmp_path_factory.mktemp("helm"), desk.cluster)
    repository, _, tag = image.NAME.rpartition(":")
    sets = (
        f"image.repository={repository}", f"image.tag={tag}", "image.pullPolicy=Never", "replicas=1",
        "watchNamespaces={default}", "controller.pollInterval=0.5", "controller.probeInterval=2",
        "leaderElection.leaseDuration=5", "rbac.podLogs=true", "rbac.sparkPods=true",
        "gate.service.type=NodePort", f"gate.service.nodePort={PORT}", f"gate.url=http://{here.address}:{PORT}",
    )  # fmt: skip

    def run(verb: str, *more: str) -> str:
        flags = ["--wait", "--timeout=180s", *(["--take-ownership"] if verb == "install" else [])]
        return helm.apply(verb, *sets, *more, flags=flags)

    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    desk.cluster.kubectl("create", "-f", "-", input=json.dumps(body))
    run("install")
    try:
        desk.backend("in-cluster", {"kubernetes": {"failureLogLines": 1}})
        yield run
    finally:
        helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
        desk.cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture(autouse=True)
def installed(chart: Callable[..., str]) -> None:
    """The release."""


def pod(desk: Desk) -> str:
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=controller"
    found = desk.cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "json")
    (one,) = [item for item in json.loads(found)["items"] if not item["metadata"].get("deletionTimestamp")]
    return str(one["metadata"]["name"])


def test_it_runs_a_kubernetes_job_to_its_end(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(backend="in-cluster"))
    assert desk.end(name)["state"] == "Succeeded"
    assert programs.starts(name) == 1


def test_its_account_may_read_the_logs_that_it_is_to_tell(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job("echo no such table; exit 2", backend="in-cluster"))
    assert desk.end(name)["state"] == "Failed"
    assert desk.get(name)["status"]["current"]["message"].endswith("no such table")


def test_its_pod_deleted_by_force_in_the_middle_each_program_starts_once(desk: Desk, programs: Programs) -> None:
    names = [desk.submit(programs.job("sleep 2", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    desk.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod(desk), "--force", "--grace-period=0")
    for name in names:
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_its_process_killed_in_the_middle_each_program_starts_once(desk: Desk, programs: Programs) -> None:
    names = [desk.submit(programs.job("sleep 2", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    process_of(pod(desk)).send(signal.SIGKILL)  # its kubelet starts another one in the same pod
    for name in names:
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_with_two_replicas_and_the_leader_frozen_the_other_goes_on_and_nothing_starts_twice(
    desk: Desk, programs: Programs, chart: Callable[..., str]
) -> None:
    chart("upgrade", "replicas=2")
    names = [desk.submit(programs.job("sleep 3", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    first = leader(desk)
    frozen = process_of(first)
    frozen.send(signal.SIGSTOP)
    try:
        for name in names:
            assert desk.end(name, 120)["state"] == "Succeeded"
        assert leader(desk) != first
    finally:
        frozen.send(signal.SIGCONT)
    last = desk.submit(programs.job(backend="in-cluster"))  # both are awake now
    assert desk.end(last)["state"] == "Succeeded"
    assert [programs.starts(name) for name in [*names, last]] == [1] * 7
    chart("upgrade")


def leader(desk: Desk) -> str:
    """Name of the pod that holds the lease."""
    path = "jsonpath={.items[0].spec.holderIdentity}"
    return desk.cluster.kubectl("-n", NAMESPACE, "get", "leases", "-o", path)


def process_of(name: str) -> Identity:
    """The controller's process in this pod, as the machine sees it."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            is_it = b"durablejob_controller" in (entry / "cmdline").read_bytes()
            if is_it and f"HOSTNAME={name}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return Identity.of(pid)
    raise AssertionError(f"no process of {name}")


def test_it_can_write_nowhere_and_is_not_root(here: Node, desk: Desk) -> None:
    look = "import os, pathlib; print(os.getuid()); pathlib.Path('/app/x').touch()"
    command = ["-n", NAMESPACE, "exec", DEPLOYMENT, "--", "python3", "-c"]
    assert desk.cluster.kubectl(*command, "import os; print(os.getuid(), os.getgid())").split() == ["65532", "65532"]
    with pytest.raises(TestbedError, match="Read-only file system"):
        desk.cluster.kubectl(*command, look)


def test_helms_own_test_passes(desk: Desk, chart: Callable[..., str], tmp_path: Path) -> None:
    told = Helm(tmp_path, desk.cluster).run("test", RELEASE, "--namespace", NAMESPACE, "--timeout=120s")
    assert "Phase:          Succeeded" in told


def test_an_upgrade_lets_running_jobs_run(desk: Desk, programs: Programs, chart: Callable[..., str]) -> None:
    before = pod(desk)
    names = [desk.submit(programs.job("sleep 15", backend="in-cluster")) for _ in range(3)]
    for name in names:
        desk.state(name, "Running")
    chart("upgrade", "controller.logLevel=debug", "replicas=1")
    assert pod(desk) != before
    for name in names:
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_uninstalled_it_lets_running_jobs_run_and_installed_again_it_finds_them(
    desk: Desk, programs: Programs, chart: Callable[..., str], tmp_path: Path
) -> None:
    names = [desk.submit(programs.job("sleep 15", backend="in-cluster")) for _ in range(3)]
    for name in names:
        desk.state(name, "Running")
    Helm(tmp_path, desk.cluster).run("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    later = desk.submit(programs.job(backend="in-cluster"))
    time.sleep(1)
    assert "status" not in desk.get(later)  # nobody is there
    chart("install")
    for name in (*names, later):
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_airflow_runs_every_kind_of_work_through_it_and_its_pod_dies_meanwhile(
    here: Node, desk: Desk, programs: Programs, ledger: str, spark_image: Callable[[str], Image], tmp_path: Path
) -> None:
    """A Kubernetes Job, Spark drivers as Pods in both languages, and a Spark Master of the machine with the gate."""
    jar = spark.compile_java([APPS / "Job.java"], tmp_path / "job.jar")
    account = {"image": here.load(spark_image(distribution.VERSION)), "serviceAccountName": "spark-driver"}
    desk.cluster.kubectl("apply", "-f", str(manifest("spark-driver.yaml")))
    desk.backend("in-cluster", {"kubernetes": {"failureLogLines": 1, "spark": account}})
    work = programs.job("sleep 5")["kubernetesJob"]
    with spark.running() as master:
        (one,) = master.masters
        urls = {name: f"http://{here.reach(int(url.rpartition(':')[2]))}" for name, url in
                (("rest", one.rest), ("ui", one.ui))}  # fmt: skip
        desk.backend("master", {"sparkStandalone": {"masters": [urls]}, "artifactSchemes": ["local"]})
        extra = {"deployment_id": "node", "namespace": "default", "kube_config_path": str(desk.cluster.kubeconfig)}
        env = {
            "AIRFLOW_CONN_DURABLEJOB_DEFAULT": json.dumps({"conn_type": "durablejob", "extra": extra}),
            "NODE_WORK": json.dumps(work), "NODE_LEDGER": ledger, "NODE_JAR": str(jar),
            "NODE_LEDGER_FILE": str(desk.ledger),
        }  # fmt: skip
        with airflow.running(DAGS, desk.cluster, env) as running:
            running.wait_dag("every_kind")
            run = running.trigger("every_kind")
            await_reservation(desk)
            desk.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod(desk), "--force", "--grace-period=0")
            for task in ("kubernetes_job", "driver_jar", "driver_python", "master"):
                end = running.wait_state("every_kind", run, task, ("success", "failed"), timeout=300)
                assert (end["state"], end["try_number"]) == ("success", 1), running.task_log("every_kind", run, task, 1)
            made = running.xcom("every_kind", run, "kubernetes_job")["name"]
    assert programs.starts(made) == 1
    assert [desk.starts()[f"air-{kind}"] for kind in ("jar", "python", "master")] == [1, 1, 1]


def await_reservation(desk: Desk) -> None:
    """Wait until one of Airflow's jobs has a reservation."""
    deadline = time.monotonic() + 90
    while not any(
        (job.get("status", {}).get("current") or {}).get("reservation")
        and "durablejob.io/dag-id" in job["metadata"].get("annotations", {})
        for job in desk.jobs()
    ):
        assert time.monotonic() < deadline, "none of Airflow's jobs was reserved"
        time.sleep(0.2)
