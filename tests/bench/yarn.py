"""YARN: how long a submission takes and costs, beside spark-submit in the same run; and what watching costs.

The NodeManager is stopped meanwhile: what is accepted waits, and no JVM disturbs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Current, Reservation
from durablejob_controller.backends.contract import Accepted, Backend, Offer, Submission
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.backends.yarn import plugin
from durablejob_controller.backends.yarn.tags import attempt_tag
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.bench import table
from tests.bench.meter import children_seconds, cpu_seconds, quantile
from tests.bench.table import Figures, Row
from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import Stage
from tests.testbed import controller as controllers
from tests.testbed import kube, spark, yarn
from tests.testbed.errors import TestbedError
from tests.testbed.kube.crds import install

KNOWN = 1000
"""Applications that the ResourceManager knows besides."""
OURS = 50


class Bench:
    """The systems, and one measurement per method."""

    def __init__(self, stage: Stage, controller: controllers.Controller) -> None:
        self.stage, self.controller = stage, controller
        self.cluster = stage.cluster

    def all(self, quick: bool) -> Figures:
        """Every measurement, one after the other."""
        figures: Figures = {}
        print("-- from the resource to the ResourceManager's list", flush=True)
        figures |= self.latency(10 if quick else 30)
        print("-- the backend alone", flush=True)
        figures |= asyncio.run(self.backend(10 if quick else 50))
        print("-- spark-submit --master yarn --deploy-mode cluster", flush=True)
        figures |= self.peer(2 if quick else 4)
        print(f"-- watching, with {KNOWN} applications known", flush=True)
        figures |= asyncio.run(self.watching())
        return figures

    def latency(self, count: int) -> Figures:
        """Create -> the ResourceManager lists the application."""
        took = []
        process = self.controller.process
        if process is None:
            raise TestbedError("the controller does not run")
        cpu = cpu_seconds(process.pid)
        for number in range(count):
            name = f"latency-{number}"
            began = time.perf_counter()
            uid = self.stage.desk.create(self.stage.spark("yarn", name), name)
            while not self.cluster.apps(applicationTags=attempt_tag(attempt_key(uid, 1))):
                if time.perf_counter() - began > 60:
                    raise TestbedError("no application after a minute")
                time.sleep(0.002)
            took.append((time.perf_counter() - began) * 1000)
        used = (cpu_seconds(process.pid) - cpu) / count * 1000
        return {"submit_p50_ms": quantile(took, 0.5), "submit_p99_ms": quantile(took, 0.99), "submit_cpu_ms": used}

    async def backend(self, count: int) -> Figures:
        """Reserve (with the staging through WebHDFS) and submit, and the CPU of both."""
        made = self._backend()
        await made.probe()
        took, posts = [], []
        await self._submit(made, "warm")
        cpu = time.process_time()
        for number in range(count):
            began = time.perf_counter()
            submission = await self._reserve(made, f"alone-{number}")
            reserved = time.perf_counter()
            answer = await made.submit(submission)
            if not isinstance(answer, Accepted):
                raise TestbedError(f"not accepted: {answer}")
            took.append((time.perf_counter() - began) * 1000)
            posts.append((time.perf_counter() - reserved) * 1000)
        used = (time.process_time() - cpu) / count * 1000
        await made.aclose()
        return {
            "alone_p50_ms": quantile(took, 0.5), "alone_p99_ms": quantile(took, 0.99),
            "post_p50_ms": quantile(posts, 0.5), "alone_cpu_ms": used,
        }  # fmt: skip

    def peer(self, count: int) -> Figures:
        """spark-submit with the same JARs; it returns when the ResourceManager has accepted."""
        took, used = [], []
        home = spark.build()
        conf = {
            "spark.yarn.submit.waitAppCompletion": "false", "spark.yarn.jars": f"local:{home}/jars/*",
            "spark.yarn.stagingDir": f"{self.cluster.hdfs}/staging", "spark.driver.memory": "512m",
            "spark.yarn.maxAppAttempts": "1",
        }  # fmt: skip
        settings = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
        env = {
            **os.environ, "HADOOP_CONF_DIR": str(self.cluster.conf_dir()), "HADOOP_USER_NAME": yarn.USER,
            "JAVA_HOME": str(spark.java_home()), "SPARK_HOME": str(home),
        }  # fmt: skip
        for number in range(count):
            before, began = children_seconds(), time.perf_counter()
            command = [str(home / "bin" / "spark-submit"), "--master", "yarn", "--deploy-mode", "cluster", *settings]
            command += ["--name", f"peer-{number}", "--class", "Job", f"{self.cluster.hdfs}/apps/job.jar"]
            done = subprocess.run([*command, "x", "peer", "succeed", "0"], env=env, capture_output=True, text=True,
                                  timeout=600, check=False)  # fmt: skip
            if done.returncode != 0:
                raise TestbedError(f"spark-submit failed:\n{done.stderr[-2000:]}")
            took.append((time.perf_counter() - began) * 1000)
            used.append((children_seconds() - before) * 1000)
        return {"spark_submit_p50_ms": quantile(took, 0.5), "spark_submit_cpu_ms": quantile(used, 0.5)}

    async def watching(self) -> Figures:
        """Rounds of the list call: how many calls, how long, how much CPU."""
        for app in self.cluster.apps(states="ACCEPTED"):
            self.cluster.kill_app(app["id"])
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._ended, range(KNOWN)))
        made = self._backend()
        await made.probe()
        for number in range(OURS):
            await self._submit(made, f"watched-{number}")
        await made.observe()
        took, rounds = [], 20
        with counted() as calls:
            cpu = time.process_time()
            for _ in range(rounds):
                began = time.perf_counter()
                snapshot = await made.observe()
                took.append((time.perf_counter() - began) * 1000)
            used = (time.process_time() - cpu) / rounds * 1000
        await made.aclose()
        if len(snapshot.runs) < OURS:
            raise TestbedError(f"{len(snapshot.runs)} of {OURS} are seen")
        known = len(self.cluster.apps())
        return {
            "known": known, "calls_per_round": len(calls) / rounds,
            "round_p50_ms": quantile(took, 0.5), "round_cpu_ms": used,
        }  # fmt: skip

    def _ended(self, number: int) -> None:
        """One application of somebody else, which has ended."""
        base, user = f"{self.cluster.managers[0].url}/ws/v1/cluster/apps", {"user.name": yarn.USER}
        with httpx.Client(params=user, timeout=30, trust_env=False) as http:
            app = http.post(f"{base}/new-application").json()["application-id"]
            spec = {"commands": {"command": "true"}}
            body = {"application-id": app, "application-name": f"other-{number}", "am-container-spec": spec,
                    "resource": {"memory": 64, "vCores": 1}}  # fmt: skip
            http.post(base, json=body).raise_for_status()
            http.put(f"{base}/{app}/state", json={"state": "KILLED"})

    def _backend(self) -> Backend:
        spec = JobBackendSpec.model_validate(self.stage.spec())
        return plugin.make(spec, Surroundings("bench", "http://gate:1", Paths(), timeout=30))

    def _job(self, name: str) -> DurableJob:
        meta = {"name": name, "namespace": "bench", "uid": f"uid-{name}"}
        return DurableJob.model_validate({"metadata": meta, "spec": self.stage.spark("yarn", name)})

    async def _reserve(self, made: Backend, name: str) -> Submission:
        job = self._job(name)
        key = attempt_key(job.metadata.uid, 1)
        offer = await made.reserve(job, key)
        if not isinstance(offer, Offer):
            raise TestbedError(f"not reserved: {offer}")
        reservation = Reservation(
            backend_uid="b", backend_type="Yarn", cluster_id="c", incarnation=offer.incarnation,
            application_id=offer.application_id, staging=offer.staging, body_hash=made.body_hash(job, key),
            at=datetime.now(UTC),
        )  # fmt: skip
        return Submission(job, Current(number=1, key=key, reservation=reservation))

    async def _submit(self, made: Backend, name: str) -> None:
        await made.submit(await self._reserve(made, name))


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every call that is made meanwhile."""
    calls: list[str] = []
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        calls.append(f"{request.method} {request.url.path}")
        return await send(transport, request)

    setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)  # noqa: B010 -- mypy forbids assigning it
    try:
        yield calls
    finally:
        setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)  # noqa: B010


def measure(quick: bool) -> Figures:
    """Bring the systems up, and measure one thing after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        kube.running(durable=True) as cluster,
        yarn.running() as running,
    ):
        install(cluster)
        Path(folder).chmod(0o755)
        stage = Stage(running, Desk(cluster, Path(folder)), Path(folder))
        with controllers.running(cluster, "--poll-interval", "0.5") as controller:
            stage.backend("yarn")
            controller.wait_leading()
            running.kill_node()
            return Bench(stage, controller).all(quick)


ROWS: tuple[Row, ...] = (
    ("create -> listed by the ResourceManager, p50", "submit_p50_ms", "ms", "≤ 60"),
    ("create -> listed by the ResourceManager, p99", "submit_p99_ms", "ms", "≤ 250"),
    ("controller CPU per submission", "submit_cpu_ms", "ms", "≤ 30"),
    ("backend alone: reserve, stage, submit, p50", "alone_p50_ms", "ms", "-"),
    ("backend alone: reserve, stage, submit, p99", "alone_p99_ms", "ms", "-"),
    ("backend alone: the submission, p50", "post_p50_ms", "ms", "-"),
    ("backend alone: CPU", "alone_cpu_ms", "ms", "-"),
    ("spark-submit --master yarn, p50", "spark_submit_p50_ms", "ms", "(peer)"),
    ("spark-submit, CPU", "spark_submit_cpu_ms", "ms", "(peer)"),
    ("applications known meanwhile", "known", "", "-"),
    ("calls per round of watching", "calls_per_round", "", "≤ 1"),
    ("one round, p50", "round_p50_ms", "ms", "-"),
    ("one round, CPU of the controller", "round_cpu_ms", "ms", "-"),
)


def main() -> int:
    """The command."""
    options = table.parser("python -m tests.bench.yarn", __doc__).parse_args()
    return table.show(ROWS, lambda: measure(options.quick), options.json)


if __name__ == "__main__":
    sys.exit(main())
