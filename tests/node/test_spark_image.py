"""The Spark image: a driver as a single pod makes its executors, and they find it. No spark-submit outside."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.node.conftest import manifest
from tests.testbed import spark
from tests.testbed.images import spark as image
from tests.testbed.node import Node

APPS = Path(__file__).parents[1] / "apps"
CONF = {
    "spark.executor.instances": "2",
    "spark.executor.memory": "512m",
    "spark.driver.memory": "512m",
    "spark.kubernetes.executor.request.cores": "100m",
    "spark.kubernetes.executor.disableConfigMap": "true",
    "spark.driver.host": "$(SPARK_DRIVER_BIND_ADDRESS)",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="module", autouse=True)
def loaded(here: Node, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    jar = spark.compile_java([APPS / "Job.java"], tmp_path_factory.mktemp("jar") / "job.jar")
    here.load(image.build({"job.jar": jar, "job.py": APPS / "job.py"}))
    desk.ledger.parent.chmod(0o777)
    desk.ledger.chmod(0o666)  # its user is not root
    desk.cluster.kubectl("apply", "-f", str(manifest("spark-driver.yaml")))


def driver(desk: Desk, name: str, *program: str) -> None:
    """A driver's pod, as Spark's documentation of client mode wants it."""
    conf = {
        **CONF,
        "spark.app.id": name,
        "spark.kubernetes.driver.pod.name": name,
        "spark.kubernetes.namespace": "default",
        "spark.kubernetes.container.image": image.NAME,
        "spark.kubernetes.executor.podNamePrefix": name,
    }
    settings = [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
    container = {
        "name": "spark-kubernetes-driver",
        "image": image.NAME,
        "args": ["driver", "--master", "k8s://https://kubernetes.default.svc", *settings, *program],
        "env": [{"name": "SPARK_DRIVER_BIND_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "resources": {"requests": {"cpu": "100m", "memory": "896Mi"}, "limits": {"memory": "896Mi"}},
        "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"spark-role": "driver", "spark-app-selector": name}},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "spark-driver",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 185},
            "containers": [container],
            "volumes": [{"name": "ledger", "hostPath": {"path": str(desk.ledger.parent)}}],
        },
    }
    desk.cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))


def ended(desk: Desk, name: str, timeout: float = 240) -> str:
    """Wait for the pod's end; return its phase."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        phase = desk.cluster.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")
        if phase in ("Succeeded", "Failed"):
            return phase
        time.sleep(1)
    raise AssertionError(f"pod {name} has not ended after {timeout} s")


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("java", ["--class", "Job", "local:///opt/app/job.jar"]),
        ("python", ["local:///opt/app/job.py"]),
    ],
)
def test_a_driver_counts_on_two_executors_and_takes_them_away(desk: Desk, name: str, program: list[str]) -> None:
    driver(desk, name, *program, "/ledger/ledger", name, "count", "0")
    phase = ended(desk, name)
    log = desk.cluster.kubectl("logs", name)
    assert phase == "Succeeded", log[-4000:]
    assert "even numbers: 500" in log
    assert desk.starts()[name] == 1
    selector = f"spark-app-selector={name},spark-role=executor"
    desk.cluster.kubectl("wait", "--for=delete", "pods", "-l", selector, "--timeout=60s")  # an error if one stays
    events = desk.cluster.kubectl("get", "events", "--field-selector=reason=Scheduled", "-o", "name")
    assert all(f"{name}-exec-{number}" in events for number in (1, 2))
