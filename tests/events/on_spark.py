"""Both operators on one real Spark Master: Airflow's own, and ours with a controller.

The judge is the same for both: the ledger of what the Master's drivers ran. What only we have (causes, words in the
task's log, resources) is not asked here.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from durablejob_airflow.identity import TaskIdentity
from tests.e2e.conftest import standalone_spec
from tests.e2e.desk import Desk
from tests.events.ours import DEPLOYMENT, HERE, SETTINGS, connection, database, keep_watch
from tests.events.run import END, TASK, Run
from tests.testbed import airflow, controller, spark
from tests.testbed.kube import Cluster
from tests.testbed.spark.standalone import Standalone

PROVIDER = "apache-airflow-providers-apache-spark"
OUTCOMES = {"FINISHED": "Succeeded", "KILLED": "Cancelled", "FAILED": "Failed", "ERROR": "Failed"}
TIMEOUT = "90"
"""Seconds (``variants.TIMEOUT``): spark-submit alone takes half a minute where several run side by side."""
AT_ONCE = 3
"""Rows side by side: each driver is a JVM, and so is each submission of the provider's."""


def provider_version() -> str | None:
    """The provider's version; None where it is not installed."""
    try:
        return version(PROVIDER)
    except PackageNotFoundError:
        return None


@dataclass
class Drivers:
    """A Master's drivers, as those of one side: what has started, and how it ended."""

    standalone: Standalone
    folder: Path
    jar: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "ledger").touch()

    @property
    def env(self) -> dict[str, str]:
        """What the DAGs of ``spark_dags`` read."""
        return {"EVENTS_JAR": str(self.jar), "EVENTS_FOLDER": str(self.folder), "EVENTS_TIMEOUT": TIMEOUT}

    def programs(self, run: Run) -> list[str]:
        """What became of each driver in which the run's program has started, in order."""
        lines = (self.folder / "ledger").read_text().splitlines()
        return [self._outcome(driver) for name, driver in map(str.split, lines) if name == run.id]

    def _outcome(self, driver: str) -> str:
        url = f"{self.standalone.masters[0].rest}/v1/submissions/status/{driver}"
        state = httpx.get(url, timeout=30, trust_env=False).json().get("driverState")
        return OUTCOMES.get(str(state), "running")

    def release(self, run: Run) -> None:
        """Let the run's programs end."""
        (self.folder / f"{run.id}.release").touch()


@dataclass
class OnSpark:
    """What both sides have in common."""

    af: airflow.Airflow
    drivers: Drivers

    def programs(self, run: Run) -> list[str]:
        return self.drivers.programs(run)

    def release(self, run: Run) -> None:
        self.drivers.release(run)

    def causes(self, run: Run) -> None:
        """Spark keeps none."""

    def delete(self, run: Run) -> None:
        raise NotImplementedError("only we have a resource to delete: this is not asked here")


@dataclass
class Peer(OnSpark):
    """Airflow's operator."""

    def taken_over(self, run: Run) -> bool:
        ti = run.ti()
        return ti["try_number"] > 1 and (ti["state"] in END or self._polls(run, ti["try_number"]))

    def waits(self, run: Run) -> bool:
        return self._polls(run, run.ti()["try_number"])

    @staticmethod
    def _polls(run: Run, number: int) -> bool:
        """Its ID is recorded before it begins to poll."""
        return "until completion" in run.log_of(number)


@dataclass
class Ours(OnSpark):
    """Our operator, with a controller."""

    desk: Desk

    def taken_over(self, run: Run) -> bool:
        job = self.desk.get(TaskIdentity(DEPLOYMENT, run.dag, run.id, TASK, run.map_index).name)
        return bool(job["spec"]["holder"]["tryNumber"] > 1)

    def waits(self, run: Run) -> bool:
        return run.mode == "polling" or run.ti()["triggerer_job"] is not None


@contextmanager
def master(folder: Path) -> Iterator[tuple[Standalone, Path]]:
    """The Master of both sides, and the program that they run."""
    jar = spark.compile_java([HERE.parent / "apps" / "Held.java"], folder / "held.jar")
    with spark.running(recovery="FILESYSTEM", worker_cores=64, worker_memory="64g") as standalone:
        yield standalone, jar


@contextmanager
def peer(drivers: Drivers) -> Iterator[Peer]:
    """Airflow's operator, brought up."""
    first, env = drivers.standalone.masters[0], drivers.standalone.env()
    extra = {"deploy-mode": "cluster", "rest-port": str(first.rest_port)}
    spark_connection = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": first.port, "extra": extra}
    settings = SETTINGS | drivers.env | {
        "EVENTS_SIDE": "peer",
        "AIRFLOW_CONN_SPARK_EVENTS": json.dumps(spark_connection),
        **{name: env[name] for name in ("JAVA_HOME", "SPARK_HOME", "SPARK_CONF_DIR", "SPARK_LOCAL_IP")},
        "PATH": f"{drivers.standalone.spark_home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }  # fmt: skip
    with airflow.running(HERE / "spark_dags", None, settings, database()) as af:
        yield Peer(af, drivers)


@contextmanager
def ours(drivers: Drivers, cluster: Cluster) -> Iterator[Ours]:
    """Our operator, brought up with a controller, on a cluster that serves our kinds."""
    namespace = f"durablejob-on-spark-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    settings = SETTINGS | drivers.env | {
        "EVENTS_SIDE": "ours",
        "AIRFLOW_CONN_DURABLEJOB_EVENTS": connection(cluster.kubeconfig, namespace),
    }  # fmt: skip
    with controller.running(cluster, "--namespaces", namespace, "--poll-interval", "1") as running:
        running.wait_leading()
        desk = Desk(cluster, drivers.folder, namespace)
        desk.backend("spark", standalone_spec(drivers.standalone))
        with airflow.running(HERE / "spark_dags", cluster, settings, database()) as af:
            side = Ours(af, drivers, desk)
            keep_watch(side)
            yield side
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
