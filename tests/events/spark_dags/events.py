"""The DAGs of the rows with one side's operator for Spark; what their programs do comes from the run's conf."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from tests.events import variants

OUTCOME = (
    "{% set outcomes = dag_run.conf.get('outcomes') or ['succeed'] %}"
    "{{ outcomes[[ti.try_number, outcomes | length] | min - 1] }}"
)
ARGUMENTS = [os.environ["EVENTS_FOLDER"], "{{ run_id }}", OUTCOME, "{{ dag_run.conf.get('hold', 'yes') }}"]
COMMON: dict[str, Any] = {
    "java_class": "Held",
    "driver_memory": "512m",
    "conf": {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"},
}
JAR = os.environ["EVENTS_JAR"]


def job(operator: Any, common: dict[str, Any], mapped: Any = None, **kwargs: Any) -> Any:
    """The task of a row."""
    common = {**COMMON, **common, **kwargs}
    if mapped is None:
        return operator(application_args=ARGUMENTS, **common)
    return operator.partial(**common).expand(
        application_args=mapped.map(lambda number: [*ARGUMENTS[:1], number, *ARGUMENTS[2:]])
    )


if os.environ["EVENTS_SIDE"] == "peer":
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

    # As its documentation recommends: cluster mode, durable, the driver tracked by Spark's REST API.
    recommended = {"conn_id": "spark_events", "application": JAR, "deploy_mode": "cluster", "durable": True}
    globals().update(variants.dags("polling", partial(job, SparkSubmitOperator, recommended)))
else:
    from durablejob_airflow.operators import DurableSparkSubmitOperator

    for mode in ("deferred", "polling"):
        ours = {
            "durablejob_conn_id": "durablejob_events", "application": f"local://{JAR}", "num_executors": 1,
            "backend": "JobBackend/spark:SparkStandalone", "deferrable": mode == "deferred", "poll_interval": 0.5,
        }  # fmt: skip
        globals().update(variants.dags(mode, partial(job, DurableSparkSubmitOperator, ours)))
