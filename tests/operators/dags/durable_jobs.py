"""The DAGs of the tests; what their jobs do comes from the run's conf."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableJobOperator

CONN_ID = "durablejob_test"
OUTCOME = (
    "{% set outcomes = dag_run.conf.get('outcomes') or ['succeed'] %}"
    "{{ outcomes[[ti.try_number, outcomes | length] | min - 1] }}"
)
SPEC = {
    "plugin": {
        "parameters": {
            "seconds": "{{ dag_run.conf.get('seconds', 0) }}",
            "hold": "{{ dag_run.conf.get('hold', '') }}",
            "outcome": OUTCOME,
        }
    }
}
COMMON: dict[str, Any] = {
    "spec": SPEC,
    "backend": "JobBackend/fake:Plugin",
    "durablejob_conn_id": CONN_ID,
    "poll_interval": 0.3,
}
ARGS = {"retries": 2, "retry_delay": timedelta(seconds=1)}

with DAG("deferred", schedule=None, default_args=ARGS):
    DurableJobOperator(task_id="job", **COMMON)

with DAG("polling", schedule=None, default_args=ARGS):
    DurableJobOperator(task_id="job", deferrable=False, **COMMON)

with DAG("mapped", schedule=None, default_args=ARGS):
    DurableJobOperator.partial(task_id="job", **{k: v for k, v in COMMON.items() if k != "spec"}).expand(
        spec=[{"plugin": {"parameters": {"seconds": text}}} for text in ("0", "0.1")]
    )

with DAG("refused", schedule=None, default_args=ARGS):
    DurableJobOperator(task_id="job", **{**COMMON, "backend": "JobBackend/spark:SparkStandalone"})
