"""A spec as it is, in the words of the DurableJob API; then a wait for a job that somebody else may have created."""

from datetime import timedelta

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableJobOperator
from durablejob_airflow.sensors import DurableJobSensor

with DAG("example_durablejob_spec", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(minutes=1)}):
    run = DurableJobOperator(
        task_id="run",
        spec={"kubernetesJob": {"template": {"template": {"spec": {"containers": [
            {"name": "main", "image": "registry.example/etl:1", "args": ["--day", "{{ dag_run.run_after | ds }}"]},
        ]}}}}},
        backend="JobBackend/here:Kubernetes",
    )  # fmt: skip
    wait = DurableJobSensor(task_id="wait", name="{{ task_instance.xcom_pull('run')['name'] }}", timeout=3600)
    run >> wait
