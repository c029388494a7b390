"""The DAGs of the tests; what their jobs do comes from the run's conf."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from durablejob_airflow.airflow_side import TaskStore
from durablejob_airflow.holder import JobHolder
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

with DAG("short_of_time", schedule=None, default_args=ARGS):
    DurableJobOperator(task_id="job", execution_timeout=timedelta(seconds=20), **COMMON)

with DAG("mapped", schedule=None, default_args=ARGS):
    DurableJobOperator.partial(task_id="job", **{k: v for k, v in COMMON.items() if k != "spec"}).expand(
        spec=[{"plugin": {"parameters": {"seconds": text}}} for text in ("0", "0.1")]
    )

with DAG("refused", schedule=None, default_args=ARGS):
    DurableJobOperator(task_id="job", **{**COMMON, "backend": "JobBackend/spark:SparkStandalone"})


def die_once(path: Path) -> None:
    """SIGKILL, as from the kernel, the first time only."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Fragile(DurableJobOperator):
    """Its first try is killed between two steps."""

    def __init__(self, *, crash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crash = crash

    def execute(self, context: Any) -> Any:
        mark = Path(os.environ["AIRFLOW_HOME"]) / f"{context['run_id']}-{self.crash}".replace(":", "-")
        holder, when = {
            "before_the_record": (TaskStore, "save"),
            "after_the_record": (JobHolder, "_create"),
            "after_the_creation": (JobHolder, "_create"),
            "before_deferring": (type(self), "_settle"),
            "before_the_result": (JobHolder, "take_result"),
        }[self.crash]
        original = getattr(holder, when)

        def crashing(*args: Any, **kwargs: Any) -> Any:
            if self.crash == "after_the_creation":
                original(*args, **kwargs)
            die_once(mark)
            return original(*args, **kwargs)

        setattr(holder, when, crashing)
        return super().execute(context)


CRASHES = ("before_the_record", "after_the_record", "after_the_creation", "before_deferring", "before_the_result")

with DAG("crashes", schedule=None, default_args=ARGS, max_active_tasks=2):
    for point in CRASHES:
        Fragile(task_id=point, crash=point, deferrable=point == "before_deferring", **COMMON)
