"""Two Spark jobs: one task waits in a worker (so that there is a worker to kill), the other in the triggerer."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableSparkSubmitOperator

with DAG(
    "daily_sales",
    schedule=None,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=2), "backend": "JobBackend/spark:SparkStandalone"},
):
    for task_id, deferrable in (("load", False), ("load_deferred", True)):
        DurableSparkSubmitOperator(
            task_id=task_id,
            application=f"local://{os.environ['DEMO_JAR']}",
            java_class="Job",
            application_args=[os.environ["DEMO_LEDGER"], task_id, "count", os.environ["DEMO_SECONDS"]],
            driver_memory="512m",
            executor_memory="512m",
            num_executors=1,
            conf={"spark.ui.enabled": "false"},
            deferrable=deferrable,
            poll_interval=1,
        )
