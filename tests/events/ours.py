"""Our side: our operators on a real Airflow and a real API server; who starts programs is scripted, with a ledger."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from durablejob_airflow.identity import TaskIdentity
from tests.events.line import Line, to_cluster
from tests.events.run import TASK, Run, Side
from tests.operators.scripted import Controller
from tests.testbed import airflow, postgres
from tests.testbed.kube import Cluster

HERE = Path(__file__).parent
DEPLOYMENT, APART = "events", "apart"
"""Deployment ids: of the site, and of the variant that is a site of its own."""
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__CORE__PARALLELISM": "24",
    "PYTHONPATH": f"{HERE.parents[1]}:{HERE / 'preload'}",
}
"""Of every Airflow that is played, whichever side's."""


@dataclass
class Ours:
    """Our operators, and who knows what their programs did."""

    af: airflow.Airflow
    controller: Controller
    line: Line
    """Kubernetes as the variant ``cut`` sees it."""

    def name(self, run: Run) -> str:
        """The run's DurableJob, there or not."""
        deployment = APART if run.dag.endswith("-apart") else DEPLOYMENT
        return TaskIdentity(deployment, run.dag, run.id, TASK, run.map_index).name

    def programs(self, run: Run) -> list[str]:
        return self.controller.programs(self.name(run))

    def causes(self, run: Run) -> list[str]:
        """Why the run's programs were cancelled, in order."""
        return [cause for job, _, cause in self.controller.cancelled if job == self.name(run)]

    def release(self, run: Run) -> None:
        self.controller.release(self.name(run))

    def delete(self, run: Run) -> None:
        self.controller.delete(self.name(run))

    def taken_over(self, run: Run) -> bool:
        holder = self.controller.job(self.name(run))["spec"]["holder"]
        return bool(holder["tryNumber"] > 1)

    def waits(self, run: Run) -> bool:
        return run.mode == "polling" or run.ti()["triggerer_job"] is not None


def connection(kubeconfig: Path, namespace: str, deployment: str = DEPLOYMENT) -> str:
    """A connection of our type, as AIRFLOW_CONN_* holds it."""
    fields = {"deployment_id": deployment, "namespace": namespace, "kube_config_path": str(kubeconfig)}
    return json.dumps({"conn_type": "durablejob", "extra": fields})


def database() -> str | None:
    """PostgreSQL where there is one: many rows side by side are more than sqlite bears without errors."""
    return "postgres" if postgres.programs() else None


def keep_watch(side: Side) -> None:
    """One task is deferred all the time, whichever rows are played: the observer lives beside a trigger."""
    Run(side, "deferred-plain", "deferred").begin()


@contextmanager
def running(cluster: Cluster, folder: Path) -> Iterator[Ours]:
    """Our side, brought up on a cluster that serves our kinds."""
    namespace = f"durablejob-events-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    with (
        Controller(cluster.kubeconfig, namespace) as controller,
        to_cluster(cluster.kubeconfig, folder) as (line, over_the_line),
    ):
        settings = SETTINGS | {
            "AIRFLOW_CONN_DURABLEJOB_EVENTS": connection(cluster.kubeconfig, namespace),
            "AIRFLOW_CONN_DURABLEJOB_CUT": connection(over_the_line, namespace),
            "AIRFLOW_CONN_DURABLEJOB_APART": connection(cluster.kubeconfig, namespace, APART),
        }
        with airflow.running(HERE / "dags", cluster, settings, database()) as af:
            side = Ours(af, controller, line)
            keep_watch(side)
            yield side
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
