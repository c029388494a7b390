"""A submission to a real Spark Master, beside spark-submit's; and the rate of the controller itself."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from kubernetes import client, config

from durablejob_api.names import attempt_key
from tests.bench import table
from tests.bench.meter import children_seconds, cpu_seconds, job_writes, memory_mb, quantile
from tests.bench.table import Figures
from tests.e2e.conftest import APPS, standalone_spec
from tests.e2e.desk import Desk
from tests.testbed import controller as controllers
from tests.testbed import kube, spark
from tests.testbed.errors import TestbedError
from tests.testbed.kube.crds import install

GROUP = ("durablejob.io", "v1alpha1", "default", "durablejobs")


class Bench:
    """The systems, and one measurement per method."""

    def __init__(
        self, cluster: kube.Cluster, standalone: spark.Standalone, controller: controllers.Controller, desk: Desk
    ) -> None:
        self.cluster, self.spark, self.controller, self.desk = cluster, standalone, controller, desk
        config.load_kube_config(str(cluster.kubeconfig))
        self.api = client.CustomObjectsApi()
        self.jar = spark.compile_java([APPS / "Job.java"], desk.ledger.with_name("job.jar"))

    @property
    def pid(self) -> int:
        process = self.controller.process
        if process is None:
            raise TestbedError("the controller does not run")
        return process.pid

    def spark_spec(self, *arguments: str, cores: int = 1) -> dict[str, Any]:
        work = {
            "mainApplicationFile": f"local://{self.jar}",
            "mainClass": "Job",
            "arguments": [str(self.desk.ledger), *arguments],
            "driver": {"memory": "512m", "cores": cores},
        }
        return {"backendRef": {"name": "spark", "type": "SparkStandalone"}, "spark": work}

    def all(self, jobs: int, quick: bool) -> Figures:
        """Every measurement, one after the other."""
        figures: Figures = {}
        print("-- latency, unloaded", flush=True)
        figures |= self.latency(10 if quick else 40)
        print("-- spark-submit to the same Master", flush=True)
        figures |= self.peer(2 if quick else 4)
        print("-- writes of real Spark jobs", flush=True)
        figures |= self.writes(2 if quick else 5)
        print(f"-- {jobs} jobs on the fake backend", flush=True)
        figures |= self.rate(jobs, 5.0)
        return figures

    def latency(self, count: int) -> Figures:
        """Create -> the Master lists the driver. The drivers ask for more cores than there are: no JVM disturbs."""
        ui = httpx.Client(base_url=self.spark.masters[0].ui, timeout=10)
        took: list[float] = []
        for number in range(count):
            began = time.perf_counter()
            uid = self.desk.create(self.spark_spec("latency", "succeed", "0", cores=500), f"latency-{number}")
            key = attempt_key(uid, 1)
            while not any(key in d["mainclass"] for d in ui.get("/json/").json()["activedrivers"]):
                if time.perf_counter() - began > 60:
                    raise TestbedError("the Master lists no driver after a minute")
                time.sleep(0.002)
            took.append((time.perf_counter() - began) * 1000)
            self.desk.patch(f"latency-{number}", {"cancel": {"attempt": 1, "cause": "User"}})
            time.sleep(0.3)
        return {"submit_p50_ms": quantile(took, 0.5), "submit_p99_ms": quantile(took, 0.99)}

    def peer(self, count: int) -> Figures:
        """spark-submit to the same Master, by the same REST server; it returns when the Master has accepted."""
        took, used = [], []
        for number in range(count):
            before = children_seconds()
            began = time.perf_counter()
            arguments = ["--master", self.spark.masters[0].rest.replace("http", "spark"), "--deploy-mode", "cluster"]
            arguments += ["--conf", "spark.driver.cores=500", "--conf", "spark.driver.memory=512m"]
            arguments += ["--name", f"peer-{number}", "--class", "Job", f"local://{self.jar}"]
            self.spark.spark_submit([*arguments, str(self.desk.ledger), "peer", "succeed", "0"])
            took.append((time.perf_counter() - began) * 1000)
            used.append((children_seconds() - before) * 1000)
        httpx.post(f"{self.spark.masters[0].rest}/v1/submissions/killall", timeout=30)
        return {"spark_submit_p50_ms": quantile(took, 0.5), "spark_submit_cpu_ms": quantile(used, 0.5)}

    def writes(self, count: int) -> Figures:
        """Writes to the resource in the whole life of real Spark jobs."""
        before = job_writes(self.cluster)
        for number in range(count):
            self.desk.create(self.spark_spec(f"writes-{number}", "succeed", "1"), f"writes-{number}")
        for number in range(count):
            status = self.desk.end(f"writes-{number}", timeout=180)
            if status["state"] != "Succeeded":
                raise TestbedError(f"writes-{number} ended {status['state']}: {status['current']}")
        return {"writes_per_job": (job_writes(self.cluster) - before) / count}

    def rate(self, count: int, seconds: float) -> Figures:
        """Create -> accepted by the fake backend: the engine's own limit, and its CPU for a job's whole life."""
        spec = {
            "backendRef": {"name": "fake", "type": "Plugin"},
            "plugin": {"parameters": {"seconds": str(seconds)}},
        }
        accepted_before = self._accepted()
        cpu = cpu_seconds(self.pid)
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            created = [pool.submit(self.desk.create, spec, f"rate-{number}") for number in range(count)]
            for future in created:
                future.result()  # a refusal is an error, not a slow benchmark
            self._until(lambda: self._accepted() - accepted_before >= count, 300)
            took = time.perf_counter() - began
        self._until(lambda: self._ended() >= count, 300)
        return {
            "accepted_per_min": count / took * 60,
            "cpu_ms_per_job": (cpu_seconds(self.pid) - cpu) / count * 1000,
            "rss_mb": memory_mb(self.pid),
            "rss_peak_mb": memory_mb(self.pid, "VmHWM"),
        }

    def _accepted(self) -> float:
        return self.controller.metric("durablejob_submissions_total", backend="fake", outcome="accepted")

    def _ended(self) -> int:
        selected = "status.state=Succeeded,spec.backendRef.name=fake"
        return len(self.api.list_namespaced_custom_object(*GROUP, field_selector=selected)["items"])

    @staticmethod
    def _until(test: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not test():
            if time.monotonic() > deadline:
                raise TestbedError(f"not done after {timeout:.0f} s")
            time.sleep(0.25)


def measure(jobs: int, quick: bool) -> Figures:
    """Bring the systems up, with durable storage, and measure one thing after the other."""
    figures: Figures = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        kube.running(durable=True) as cluster,
        spark.running(worker_cores=8, worker_memory="8g") as standalone,
    ):
        install(cluster)
        with controllers.running(cluster) as controller:
            desk = Desk(cluster, Path(folder))
            desk.backend("fake", {"plugin": {"name": "fake"}})
            desk.backend("spark", standalone_spec(standalone))
            controller.wait_leading()
            bench = Bench(cluster, standalone, controller, desk)
            figures["rss_idle_mb"] = memory_mb(bench.pid)
            figures |= bench.all(jobs, quick)
    return figures


ROWS = (
    ("create -> accepted by the Master, p50", "submit_p50_ms", "ms", "≤ 60"),
    ("create -> accepted by the Master, p99", "submit_p99_ms", "ms", "≤ 250"),
    ("spark-submit to the same Master, p50", "spark_submit_p50_ms", "ms", "(peer)"),
    ("spark-submit, CPU", "spark_submit_cpu_ms", "ms", "(peer)"),
    ("API writes per Spark job, whole life", "writes_per_job", "", "≤ 4"),
    ("controller CPU per job, whole life (fake)", "cpu_ms_per_job", "ms", "≤ 30"),
    ("create -> accepted, sustained (fake)", "accepted_per_min", "/min", "≥ 1200"),
    ("controller memory, idle", "rss_idle_mb", "MiB", "-"),
    ("controller memory, after the load", "rss_mb", "MiB", "-"),
    ("controller memory, peak", "rss_peak_mb", "MiB", "-"),
)


def main() -> int:
    """The command."""
    parser = table.parser("python -m tests.bench.standalone", __doc__)
    parser.add_argument("--jobs", type=int, default=1500, help="jobs of the sustained load (default: %(default)s)")
    options = parser.parse_args()
    return table.show(ROWS, lambda: measure(options.jobs, options.quick), options.json)


if __name__ == "__main__":
    sys.exit(main())
