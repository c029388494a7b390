"""Kubernetes Jobs whose pods do what their annotations say (tests.testbed.kube.kubelet)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task
from kubernetes.client import models as k8s

from durablejob_airflow.operators import DurableKubernetesJobOperator
from durablejob_airflow.sensors import DurableJobSensor

END, SECONDS = "durablejob.io/test-end", "durablejob.io/test-seconds"
COMMON: dict[str, Any] = {
    "image": "etl:1",
    "backend": "JobBackend/here:Kubernetes",
    "retries": 2,
    "retry_delay": timedelta(seconds=1),
}

with DAG("kubernetes_fails_first", schedule=None):
    DurableKubernetesJobOperator(
        task_id="job",
        annotations={END: "{{ 'fail:3' if ti.try_number == 1 else 'succeed' }}"},
        env_vars=[k8s.V1EnvVar(name="TRY", value="{{ ti.try_number }}")],
        **COMMON,
    )

with DAG("kubernetes_skips", schedule=None):
    DurableKubernetesJobOperator(task_id="job", annotations={END: "fail:99"}, skip_on_exit_code=99, **COMMON)

with DAG("kubernetes_polling", schedule=None):
    DurableKubernetesJobOperator(
        task_id="job", annotations={SECONDS: "15"}, deferrable=False, poll_interval=0.5, **COMMON
    )

with DAG("kubernetes_mapped", schedule=None):

    @task.durable_kubernetes_job(image="etl:1", backend=COMMON["backend"], retries=2)
    def load(table: str) -> list[str]:
        """Its value is the container's arguments."""
        return ["--table", table]

    load.expand(table=["sales", "stock"])

with DAG("waits_for_theirs", schedule=None):
    DurableJobSensor(task_id="wait", name="{{ dag_run.conf['name'] }}", timeout=300)
