"""The DAGs of the rows, with our operator; what their jobs do comes from the run's conf."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import DAG
from tests.events import variants

from durablejob_airflow.airflow_side import TaskStore
from durablejob_airflow.holder import JobHolder
from durablejob_airflow.operators import DurableJobOperator, base
from durablejob_airflow.triggers import DurableJobTrigger

OUTCOME = (
    "{% set outcomes = dag_run.conf.get('outcomes') or ['succeed'] %}"
    "{{ outcomes[[ti.try_number, outcomes | length] | min - 1] }}"
)
PARAMETERS = {"hold": "{{ dag_run.conf.get('hold', 'yes') }}", "outcome": OUTCOME}
COMMON: dict[str, Any] = {"backend": "JobBackend/fake:Plugin", "poll_interval": 0.5}
CONNECTION = "durablejob_events"
CUT = "durablejob_cut"
"""The connection whose way to the API server the tests cut."""
APART = "durablejob_apart"
"""The connection of a site of its own (another deployment id), where no trigger runs."""


def job(mapped: Any = None, **kwargs: Any) -> Any:
    """The task of a row."""
    spec = {"plugin": {"parameters": PARAMETERS}}
    common = {"durablejob_conn_id": CONNECTION, **COMMON, **kwargs}
    if mapped is None:
        return DurableJobOperator(spec=spec, **common)
    specs = mapped.map(lambda number: {"plugin": {"parameters": {"hold": "yes", "message": number}}})
    return DurableJobOperator.partial(**common).expand(spec=specs)


class Fragile(DurableJobOperator):
    """Its first try is killed between two steps, as by the kernel."""

    def __init__(self, *, crash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crash = crash

    def execute(self, context: Any) -> Any:
        self.arm(context)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> Any:
        self.arm(context)
        return super().execute_complete(context, event)

    def arm(self, context: Any) -> None:
        mark = variants.mark_of(context["run_id"], self.crash)
        holder, when = POINTS[self.crash]
        original = getattr(holder, when)

        def crashing(*args: Any, **kwargs: Any) -> Any:
            if self.crash == "after_the_creation":
                original(*args, **kwargs)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(holder, when, crashing)


POINTS: dict[str, tuple[Any, str]] = {
    "before_the_record": (TaskStore, "save"),
    "after_the_record": (JobHolder, "_create"),
    "after_the_creation": (JobHolder, "_create"),
    "before_waiting": (Fragile, "_settle"),
    "before_the_result": (JobHolder, "take_result"),
}


class BrokenTrigger(DurableJobTrigger):
    """One that a triggerer cannot load, as where its image lacks our package."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, fields = super().serialize()
        return "package_that_this_triggerer_lacks.Trigger", fields


class WithBrokenTrigger(DurableJobOperator):
    """Defers to a trigger that fails."""

    def execute(self, context: Any) -> Any:
        setattr(base, "DurableJobTrigger", BrokenTrigger)  # noqa: B010 -- the name is not base's own
        return super().execute(context)


for mode in ("deferred", "polling"):
    make = partial(job, deferrable=mode == "deferred")
    globals().update(variants.dags(mode, make))
    for name, more in {
        "cut": {"durablejob_conn_id": CUT, **variants.SOON},
        "apart": {"durablejob_conn_id": APART, **variants.PATIENT},
        "resubmitting": {"on_lost": "resubmit", **variants.SOON},
    }.items():
        with DAG(f"{mode}-{name}", schedule=None) as dag:
            make(task_id="job", **more)
        globals()[dag.dag_id] = dag
    for point in POINTS:
        with DAG(f"{mode}-{point}", schedule=None) as dag:
            Fragile(
                task_id="job", crash=point, deferrable=mode == "deferred", spec={"plugin": {"parameters": PARAMETERS}},
                durablejob_conn_id=CONNECTION, **COMMON, **variants.SOON,
            )  # fmt: skip
        globals()[dag.dag_id] = dag

with DAG("deferred-broken_trigger", schedule=None):
    WithBrokenTrigger(
        task_id="job", spec={"plugin": {"parameters": PARAMETERS}}, durablejob_conn_id=CONNECTION,
        **COMMON, retries=20, retry_delay=timedelta(seconds=1),  # each of which Airflow's own race may burn
    )  # fmt: skip
