"""The other side: Airflow's own SparkSubmitOperator with durable=True, on a real Spark Master."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from tests.events.ours import HERE, SETTINGS, database
from tests.events.run import END, Run
from tests.testbed import airflow, spark
from tests.testbed.spark.standalone import Standalone

PROVIDER = "apache-airflow-providers-apache-spark"
OUTCOMES = {"FINISHED": "Succeeded", "KILLED": "Cancelled", "FAILED": "Failed", "ERROR": "Failed"}
AT_ONCE = 4
"""Rows side by side: each submission is a JVM, and each driver another one."""


def provider_version() -> str | None:
    """The provider's version; None where it is not installed."""
    try:
        return version(PROVIDER)
    except PackageNotFoundError:
        return None


@dataclass
class Peer:
    """Airflow's operator, and the Master that knows what its drivers did."""

    af: airflow.Airflow
    standalone: Standalone
    folder: Path

    def drivers(self, run: Run) -> list[str]:
        """The drivers in which the run's program has started, in order."""
        lines = (self.folder / "ledger").read_text().splitlines()
        return [driver for name, driver in map(str.split, lines) if name == run.id]

    def programs(self, run: Run) -> list[str]:
        return [OUTCOMES.get(self._state(driver), "running") for driver in self.drivers(run)]

    def _state(self, driver: str) -> str:
        url = f"{self.standalone.masters[0].rest}/v1/submissions/status/{driver}"
        return str(httpx.get(url, timeout=30, trust_env=False).json().get("driverState"))

    def causes(self, run: Run) -> None:
        """Spark keeps no causes."""

    def release(self, run: Run) -> None:
        (self.folder / f"{run.id}.release").touch()

    def delete(self, run: Run) -> None:
        raise NotImplementedError("there is no resource to delete")

    def taken_over(self, run: Run) -> bool:
        ti = run.ti()
        return ti["try_number"] > 1 and (ti["state"] in END or self._polls(run, ti["try_number"]))

    def waits(self, run: Run) -> bool:
        return self._polls(run, run.ti()["try_number"])

    @staticmethod
    def _polls(run: Run, number: int) -> bool:
        """Its ID is recorded before it begins to poll."""
        return "until completion" in run.log_of(number)


@contextmanager
def running(folder: Path) -> Iterator[Peer]:
    """The peer, brought up with a Spark cluster of its own."""
    jar = spark.compile_java([HERE.parent / "apps" / "Held.java"], folder / "held.jar")
    (folder / "ledger").touch()
    with spark.running(recovery="FILESYSTEM", worker_cores=64, worker_memory="64g") as standalone:
        master = standalone.masters[0]
        extra = {"deploy-mode": "cluster", "rest-port": str(master.rest_port)}
        connection = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": master.port, "extra": extra}
        env = standalone.env()
        settings = SETTINGS | {
            "AIRFLOW_CONN_SPARK_EVENTS": json.dumps(connection),
            "EVENTS_JAR": str(jar),
            "EVENTS_FOLDER": str(folder),
            "JAVA_HOME": env["JAVA_HOME"],
            "SPARK_HOME": env["SPARK_HOME"],
            "SPARK_CONF_DIR": env["SPARK_CONF_DIR"],
            "SPARK_LOCAL_IP": env["SPARK_LOCAL_IP"],
            "PATH": f"{standalone.spark_home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        }
        with airflow.running(HERE / "peer_dags", None, settings, database()) as af:
            yield Peer(af, standalone, folder)
