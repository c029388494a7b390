"""The systems of the demo, and how it speaks."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import APPS, standalone_spec
from tests.e2e.desk import Desk
from tests.testbed import airflow, kube, spark
from tests.testbed import controller as controllers
from tests.testbed import site as sites
from tests.testbed.kube.crds import install

JOB_SECONDS = "25"
"""How long the program sleeps: time enough to kill things."""

_BOLD, _DIM, _PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
_began = time.monotonic()


def step(text: str) -> None:
    """What happens now."""
    print(f"\n{_BOLD}[{time.monotonic() - _began:5.1f} s] {text}{_PLAIN}", flush=True)


def say(text: str) -> None:
    """A remark."""
    print(f"          {text}", flush=True)


def command(text: str, output: str) -> None:
    """A command as a user would type it, and what it printed."""
    print(f"\n  {_BOLD}$ {text}{_PLAIN}")
    for line in output.rstrip().splitlines():
        print(f"  {_DIM}{line[:160]}{_PLAIN}")


@dataclass(frozen=True)
class Stage:
    """Everything that runs."""

    cluster: kube.Cluster
    spark: spark.Standalone
    controller: controllers.Controller
    airflow: airflow.Airflow
    desk: Desk


@contextmanager
def stage() -> Iterator[Stage]:
    """Bring everything up, and end it afterwards."""
    with ExitStack() as stack:
        step("Kubernetes: etcd, kube-apiserver, controller-manager, scheduler")
        cluster = stack.enter_context(kube.running())
        install(cluster)
        say("the CRDs of crds/ are installed")
        step("Spark standalone: a Master and a Worker")
        standalone = stack.enter_context(spark.running(worker_cores=8, worker_memory="8g"))
        say(f"Master at {standalone.masters[0].spark_url}, UI at {standalone.masters[0].ui}")
        step("the durablejob controller, as a process of its own")
        controller = stack.enter_context(controllers.running(cluster, "--poll-interval", "1"))
        site = stack.enter_context(sites.temporary("demo"))
        desk = Desk(cluster, site.folder)
        desk.backend("spark", standalone_spec(standalone))
        controller.wait_leading()
        command("kubectl get jobbackend", cluster.kubectl("get", "jobbackend"))
        step("Airflow: api-server, scheduler, dag-processor, triggerer (half a minute)")
        running = stack.enter_context(airflow.running(Path(__file__).with_name("dags"), cluster, _env(cluster, desk)))
        say(f"UI at {running.url}")
        yield Stage(cluster, standalone, controller, running, desk)


def _env(cluster: kube.Cluster, desk: Desk) -> dict[str, str]:
    jar = spark.compile_java([APPS / "Job.java"], desk.ledger.with_name("job.jar"))
    extra = {"deployment_id": "demo", "namespace": "default", "kube_config_path": str(cluster.kubeconfig)}
    return {
        "AIRFLOW_CONN_DURABLEJOB_DEFAULT": json.dumps({"conn_type": "durablejob", "extra": extra}),
        "DEMO_JAR": str(jar),
        "DEMO_LEDGER": str(desk.ledger),
        "DEMO_SECONDS": os.environ.get("DEMO_SECONDS", JOB_SECONDS),
    }
