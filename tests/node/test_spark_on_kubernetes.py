"""Spark applications as Pods, the controller as a process of the machine; judged by a ledger that the programs call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.e2e.desk import Desk, Object
from tests.node.conftest import manifest
from tests.testbed import controller as controllers
from tests.testbed import spark
from tests.testbed.controller import Controller
from tests.testbed.images import spark as image
from tests.testbed.kube import Cluster
from tests.testbed.node import Node

APPS = Path(__file__).parents[1] / "apps"
QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class _Ledger(BaseHTTPRequestHandler):
    """Writes down whoever calls."""

    book: ClassVar[Path]
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        with self.lock, self.book.open("a") as book:
            book.write(self.path.strip("/") + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def ledger(here: Node, desk: Desk) -> Iterator[str]:
    """URL of the ledger, for pods."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Book", (_Ledger,), {"book": desk.ledger}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{here.reach(server.server_address[1])}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module", autouse=True)
def controller(crds: Cluster, here: Node, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    jar = spark.compile_java([APPS / "Job.java"], tmp_path_factory.mktemp("jar") / "job.jar")
    here.load(image.build({"job.jar": jar, "job.py": APPS / "job.py"}))
    desk.cluster.kubectl("apply", "-f", str(manifest("spark-driver.yaml")))
    with controllers.running(crds, "--namespaces", "default", "--poll-interval", "0.5") as running:
        running.wait_leading()
        desk.backend("pods", {"kubernetes": {"spark": {"image": image.NAME, "serviceAccountName": "spark-driver"}}})
        yield running


@pytest.fixture
def job(ledger: str) -> Any:
    """Makes the spec of an application: ``job(name, how, seconds, python=False)``."""

    def make(name: str, how: str = "succeed", seconds: float = 0, *, python: bool = False, **more: Any) -> Object:
        work: Object = {
            "mainApplicationFile": f"local:///opt/app/job.{'py' if python else 'jar'}",
            "arguments": [ledger, name, how, str(seconds)],
            "driver": {"memory": "512m"},
            "executor": {"instances": 2, "cores": 1, "memory": "512m"},
            "conf": {
                "spark.kubernetes.driver.request.cores": "100m",
                "spark.kubernetes.executor.request.cores": "100m",
                "spark.driver.extraJavaOptions": QUICK,
                "spark.executor.extraJavaOptions": QUICK,
                "spark.ui.enabled": "false",
            },
        }
        if not python:
            work["mainClass"] = "Job"
        return {"backendRef": {"name": "pods", "type": "Kubernetes"}, "spark": work, **more}

    return make


def pods(desk: Desk, name: str) -> list[str]:
    """The driver of this job, and its executors."""
    key = desk.get(name)["status"]["current"]["key"]
    return with_label(desk, f"spark-app-selector=dj-{key}")


def with_label(desk: Desk, label: str) -> list[str]:
    return desk.cluster.kubectl("-n", "default", "get", "pods", "-l", label, "-o", "name").split()


@pytest.mark.parametrize("python", [False, True], ids=["jar", "python"])
def test_it_counts_on_two_executors_and_leaves_none(desk: Desk, job: Any, python: bool) -> None:
    name = desk.submit(job("count" + str(python), "count", python=python))
    status = desk.end(name, 240)
    assert (status["state"], status["current"]["exitCode"]) == ("Succeeded", 0), status["current"]["message"]
    assert status["externalID"] == f"Pod/dj-{status['current']['key']}"
    assert desk.starts()["count" + str(python)] == 1
    assert pods(desk, name) == [f"pod/dj-{status['current']['key']}"]


def test_its_pods_go_with_the_durablejob(desk: Desk, job: Any) -> None:
    name = desk.submit(job("goes", python=True))
    key = desk.end(name, 120)["current"]["key"]
    desk.delete(name)
    desk.cluster.kubectl("-n", "default", "wait", "--for=delete", f"pod/dj-{key}", "--timeout=30s")
    assert with_label(desk, f"spark-app-selector=dj-{key}") == []


def test_an_exception_is_told(desk: Desk, job: Any) -> None:
    name = desk.submit(job("throws", "throw"))
    status = desk.end(name, 120)
    assert (status["state"], status["current"]["exitCode"]) == ("Failed", 1)
    assert "exit code 1" in status["current"]["message"]
    assert desk.starts()["throws"] == 1


def test_a_driver_deleted_by_hand_is_failed_as_deleted(desk: Desk, job: Any) -> None:
    name = desk.submit(job("deleted", seconds=300))
    key = desk.state(name, "Running", timeout=120)["current"]["key"]
    _until_started(desk, "deleted")
    desk.cluster.kubectl("-n", "default", "delete", f"pod/dj-{key}", "--wait=false")
    status = desk.end(name, 90)
    assert (status["state"], status["current"]["reason"]) == ("Failed", "DeletedExternally")
    assert desk.starts()["deleted"] == 1


def test_a_cancel_ends_the_driver_first(desk: Desk, job: Any) -> None:
    name = desk.submit(job("cancelled", seconds=300))
    desk.state(name, "Running", timeout=120)
    _until_started(desk, "cancelled")
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert desk.end(name, 90)["state"] == "Cancelled"
    assert desk.starts()["cancelled"] == 1
    assert [pod for pod in pods(desk, name) if "-exec-" in pod] == []


def test_a_controller_killed_in_the_middle_starts_each_once(desk: Desk, job: Any, controller: Controller) -> None:
    names = [desk.submit(job(f"kill{number}", python=True)) for number in range(3)]
    desk.until("durablejobs", names[1], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for number, name in enumerate(names):
        assert desk.end(name, 240)["state"] == "Succeeded"
        assert desk.starts()[f"kill{number}"] == 1


def _until_started(desk: Desk, name: str) -> None:
    for _ in range(600):
        if desk.starts()[name]:
            return
        threading.Event().wait(0.2)
    raise AssertionError(f"{name} was never started")
