"""The systems of the end-to-end tests, each started once, and ended before other tests begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.desk import Desk
from tests.testbed import controller as controllers
from tests.testbed import kube, spark
from tests.testbed.spark.standalone import Standalone

APPS = Path(__file__).parents[1] / "apps"


@pytest.fixture(scope="package")
def standalone() -> Iterator[Standalone]:
    """A Master that remembers over restarts, and a Worker with room for several drivers."""
    with spark.running(recovery="FILESYSTEM", worker_cores=12, worker_memory="12g") as running:
        yield running


@pytest.fixture(scope="package")
def app_jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Job.java, compiled."""
    return spark.compile_java([APPS / "Job.java"], tmp_path_factory.mktemp("app") / "job.jar")


@pytest.fixture(scope="package")
def controller(crds: kube.Cluster) -> Iterator[controllers.Controller]:
    """A controller; tests that kill it start it again."""
    with controllers.running(crds, "--namespaces", "default,yarn", "--poll-interval", "0.5") as running:
        running.wait_leading()
        yield running


@pytest.fixture(scope="package")
def desk(crds: kube.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(crds, tmp_path_factory.mktemp("desk"))


def standalone_spec(running: Standalone) -> dict[str, Any]:
    """Spec of a JobBackend for this cluster."""
    masters = [{"rest": m.rest, "ui": m.ui} for m in running.masters]
    return {"sparkStandalone": {"masters": masters}, "artifactSchemes": ["local", "file"]}


@pytest.fixture(scope="package")
def backend(controller: controllers.Controller, desk: Desk, standalone: Standalone) -> str:
    """The Spark cluster as a JobBackend; returns its name."""
    desk.backend("spark", standalone_spec(standalone))
    return "spark"


def elsewhere(job: dict[str, Any], **ref: str) -> dict[str, Any]:
    """The same job for another backend."""
    return {**job, "backendRef": {**job["backendRef"], **ref}}


SparkSpec = Callable[..., dict[str, Any]]


@pytest.fixture(scope="package")
def spark_job(backend: str, desk: Desk, app_jar: Path) -> SparkSpec:
    """Makes the spec of a test application: ``spark_job(name, how, seconds, python=False)``."""

    def make(name: str, how: str = "succeed", seconds: float = 0, python: bool = False, **more: Any) -> dict[str, Any]:
        work: dict[str, Any] = {
            "mainApplicationFile": f"local://{APPS / 'job.py' if python else app_jar}",
            "arguments": [str(desk.ledger), name, how, str(seconds)],
            "driver": {"memory": "512m"},
            "executor": {"instances": 1, "cores": 1, "memory": "512m"},
            "conf": {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"},
        }
        if not python:
            work["mainClass"] = "Job"
        work.update(more.pop("spark", {}))
        return {"backendRef": {"name": backend, "type": "SparkStandalone"}, "spark": work, **more}

    return make
