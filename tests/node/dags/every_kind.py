"""Every kind of work there is, side by side."""

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableJobOperator, DurableSparkSubmitOperator

QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
}
SMALL = {"spark.kubernetes.driver.request.cores": "100m", "spark.kubernetes.executor.request.cores": "100m"}
"""Two drivers and their executors share a node of perhaps two cores."""
SPARK: dict[str, Any] = {
    "driver_memory": "512m",
    "executor_memory": "512m",
    "executor_cores": 1,
    "num_executors": 1,
}

with DAG("every_kind", schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)}):
    DurableJobOperator(
        task_id="kubernetes_job",
        spec={"kubernetesJob": json.loads(os.environ["NODE_WORK"])},
        backend="JobBackend/in-cluster:Kubernetes",
    )
    for language, java_class in (("jar", "Job"), ("python", None)):
        DurableSparkSubmitOperator(
            task_id=f"driver_{language}",
            application=f"local:///opt/app/job.{'jar' if language == 'jar' else 'py'}",
            application_args=[os.environ["NODE_LEDGER"], f"air-{language}", "count", "0"],
            backend="JobBackend/in-cluster:Kubernetes",
            java_class=java_class,
            conf={**CONF, **SMALL},
            **SPARK,
        )
    DurableSparkSubmitOperator(
        task_id="master",
        application=f"local://{os.environ['NODE_JAR']}",
        java_class="Job",
        application_args=[os.environ["NODE_LEDGER_FILE"], "air-master", "count", "0"],
        conf=CONF,
        backend="JobBackend/master:SparkStandalone",
        **SPARK,
    )
