"""A Kubernetes Job, and one whose arguments a function returns: each is submitted once, whatever crashes meanwhile."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from durablejob_airflow.operators import DurableKubernetesJobOperator

BACKEND = "JobBackend/here:Kubernetes"

with DAG(
    "example_durablejob_kubernetes", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(minutes=1)}
):
    load = DurableKubernetesJobOperator(
        task_id="load",
        image="registry.example/etl:1",
        cmds=["python", "-m", "etl"],
        arguments=["--day", "{{ dag_run.run_after | ds }}"],
        env_vars={"LEVEL": "info"},
        container_resources={"requests": {"cpu": "500m", "memory": "512Mi"}},
        backend=BACKEND,
    )

    @task.durable_kubernetes_job(image="registry.example/report:1", backend=BACKEND)
    def report(loaded: Any) -> list[str]:
        """Runs in the worker; what it returns are the container's arguments."""
        return ["--after", loaded["externalId"]]

    report(load.output)
