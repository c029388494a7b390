"""The DAGs of the rows, with Airflow's own operator for Spark; what their programs do comes from the run's conf."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from tests.events import variants

OUTCOME = (
    "{% set outcomes = dag_run.conf.get('outcomes') or ['succeed'] %}"
    "{{ outcomes[[ti.try_number, outcomes | length] | min - 1] }}"
)


def job(mapped: Any = None, **kwargs: Any) -> Any:
    """The task of a row, as its documentation recommends it: cluster mode, durable, tracked by Spark's REST API."""
    arguments = [os.environ["EVENTS_FOLDER"], "{{ run_id }}", OUTCOME, "{{ dag_run.conf.get('hold', 'yes') }}"]
    common = {
        "conn_id": "spark_events",
        "application": os.environ["EVENTS_JAR"],
        "java_class": "Held",
        "driver_memory": "512m",
        "deploy_mode": "cluster",
        "durable": True,
        "conf": {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"},
        **kwargs,
    }
    if mapped is None:
        return SparkSubmitOperator(application_args=arguments, **common)
    return SparkSubmitOperator.partial(**common).expand(
        application_args=mapped.map(lambda number: [*arguments[:1], number, *arguments[2:]])
    )


globals().update(variants.dags("polling", job))
