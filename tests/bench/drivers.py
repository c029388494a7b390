"""Spark on Kubernetes: how long a submission takes and costs, beside spark-submit to the same API server.

There is no node: a Pod that was made waits, and no JVM of a driver disturbs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kubernetes import client, config

from durablejob_api.names import attempt_key
from tests.bench import table
from tests.bench.meter import children_seconds, cpu_seconds, memory_mb, quantile
from tests.bench.table import Figures, Row
from tests.e2e.desk import Desk
from tests.testbed import controller as controllers
from tests.testbed import kube, spark
from tests.testbed.errors import TestbedError
from tests.testbed.images import controller as image
from tests.testbed.kube.crds import install

IMAGE = "lab.local/none:1"
MIB = 1024 * 1024


class Bench:
    """The API server, and one measurement per method."""

    def __init__(self, cluster: kube.Cluster, controller: controllers.Controller, desk: Desk) -> None:
        config.load_kube_config(str(cluster.kubeconfig))
        self.cluster, self.controller, self.desk = cluster, controller, desk
        self.pods = client.CoreV1Api()

    def all(self, quick: bool) -> Figures:
        """Every measurement, one after the other."""
        process = self.controller.process
        if process is None:
            raise TestbedError("the controller does not run")
        figures: Figures = {"rss_idle_mb": memory_mb(process.pid)}
        print("-- from the resource to a Pod that may run", flush=True)
        figures |= self.latency(10 if quick else 40, process.pid)
        print("-- spark-submit --master k8s:// --deploy-mode cluster", flush=True)
        figures |= self.peer(2 if quick else 4)
        print("-- the controller's image", flush=True)
        figures["image_mb"] = image.build().archive.stat().st_size / MIB
        return figures

    def latency(self, count: int, pid: int) -> Figures:
        """Create -> the driver's Pod has lost its scheduling gate."""
        took = []
        cpu = cpu_seconds(pid)
        for number in range(count):
            name = f"latency-{number}"
            began = time.perf_counter()
            pod = f"dj-{attempt_key(self.desk.create(self.spec(), name), 1)}"
            while not self._may_run(pod):
                if time.perf_counter() - began > 60:
                    raise TestbedError("no Pod that may run after a minute")
                time.sleep(0.002)
            took.append((time.perf_counter() - began) * 1000)
        used = (cpu_seconds(pid) - cpu) / count * 1000
        return {"submit_p50_ms": quantile(took, 0.5), "submit_p99_ms": quantile(took, 0.99), "submit_cpu_ms": used}

    def peer(self, count: int) -> Figures:
        """spark-submit; it returns when its driver's Pod was made."""
        took, used = [], []
        conf = {
            "spark.kubernetes.container.image": IMAGE,
            "spark.kubernetes.submission.waitAppCompletion": "false",
            "spark.kubernetes.authenticate.driver.serviceAccountName": "default",
        }
        settings = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
        home = spark.build()
        env = {**os.environ, "JAVA_HOME": str(spark.java_home()), "SPARK_HOME": str(home),
               "KUBECONFIG": str(self.cluster.kubeconfig)}  # fmt: skip
        for number in range(count):
            before, began = children_seconds(), time.perf_counter()
            command = [str(home / "bin" / "spark-submit"), "--master", f"k8s://{self._server()}"]
            command += ["--deploy-mode", "cluster", *settings, "--name", f"peer-{number}", "--class", "Job"]
            done = subprocess.run([*command, "local:///opt/app/job.jar"], env=env, capture_output=True, text=True,
                                  timeout=600, check=False)  # fmt: skip
            if done.returncode != 0:
                raise TestbedError(f"spark-submit failed:\n{done.stderr[-2000:]}")
            took.append((time.perf_counter() - began) * 1000)
            used.append((children_seconds() - before) * 1000)
        made = self.pods.list_namespaced_pod("default", label_selector="spark-role=driver").items
        if sum(pod.metadata.name.startswith("peer-") for pod in made) != count:
            raise TestbedError("spark-submit made other Pods than it was asked for")
        return {"spark_submit_p50_ms": quantile(took, 0.5), "spark_submit_cpu_ms": quantile(used, 0.5)}

    def spec(self) -> dict[str, Any]:
        """What spark-submit is asked for, too."""
        work = {"mainApplicationFile": "local:///opt/app/job.jar", "mainClass": "Job"}
        return {"backendRef": {"name": "pods", "type": "Kubernetes"}, "spark": work}

    def _may_run(self, pod: str) -> bool:
        try:
            return not self.pods.read_namespaced_pod(pod, "default").spec.scheduling_gates
        except client.ApiException as error:
            if error.status == 404:
                return False
            raise

    def _server(self) -> str:
        shown = self.cluster.kubectl("config", "view", "--minify", "-o", "json")
        return str(json.loads(shown)["clusters"][0]["cluster"]["server"])


def measure(quick: bool) -> Figures:
    """Bring the systems up, and measure one thing after the other."""
    with tempfile.TemporaryDirectory() as folder, kube.running(durable=True) as cluster:
        install(cluster)
        with controllers.running(cluster) as controller:
            desk = Desk(cluster, Path(folder))
            controller.wait_leading()
            desk.backend("pods", {"kubernetes": {"spark": {"image": IMAGE}}})
            return Bench(cluster, controller, desk).all(quick)


ROWS: tuple[Row, ...] = (
    ("create -> the driver's Pod may run, p50", "submit_p50_ms", "ms", "≤ 60"),
    ("create -> the driver's Pod may run, p99", "submit_p99_ms", "ms", "≤ 250"),
    ("controller CPU per submission", "submit_cpu_ms", "ms", "≤ 30"),
    ("spark-submit --master k8s://, p50", "spark_submit_p50_ms", "ms", "(peer)"),
    ("spark-submit, CPU", "spark_submit_cpu_ms", "ms", "(peer)"),
    ("controller memory, idle", "rss_idle_mb", "MiB", "-"),
    ("the controller's image, uncompressed", "image_mb", "MiB", "-"),
)


def main() -> int:
    """The command."""
    options = table.parser("python -m tests.bench.drivers", __doc__).parse_args()
    return table.show(ROWS, lambda: measure(options.quick), options.json)


if __name__ == "__main__":
    sys.exit(main())
