"""The DAGs of the rows, the same for both sides: the job's task under each circumstance that a row needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

Make = Callable[..., Any]
"""Makes the task ``job`` of a DAG, with arguments of BaseOperator."""

TIMEOUT = timedelta(seconds=int(os.environ.get("EVENTS_TIMEOUT", "25")))
"""Of a task, where that is the event: time enough for its program to begin. A run has some seconds more."""
RUN_TIMEOUT = TIMEOUT + timedelta(seconds=5)
SOON: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}
PATIENT: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(hours=1)}

PLAIN: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "plain": (SOON, {}),
    "patient": (PATIENT, {}),
    "persistent": (SOON | {"retries": 20}, {}),
    "no_retries": ({"retries": 0}, {}),
    "timed": (SOON | {"execution_timeout": TIMEOUT}, {}),
    "run_timed": (SOON, {"dagrun_timeout": RUN_TIMEOUT}),
    "nightly": (SOON, {"schedule": "@daily", "start_date": datetime(2025, 1, 1, tzinfo=UTC), "catchup": False}),
}
"""Variant -> arguments of the task, and of its DAG."""


def mark_of(run_id: str, what: str) -> Path:
    """A file by which a test tells a task of one run something."""
    return Path(os.environ["AIRFLOW_HOME"]) / f"{run_id}.{what}".replace(":", "-").replace("+", "-")


def stop_when_told(**context: Any) -> None:
    """Fail, without a retry, once the test says so."""
    while not mark_of(context["run_id"], "stop").exists():
        time.sleep(0.2)
    raise AirflowFailException("told to")


def held_back(**context: Any) -> None:
    """Go on at once, unless the test has said that this is to take long; then until it says go."""
    while mark_of(context["run_id"], "slow").exists() and not mark_of(context["run_id"], "go").exists():
        time.sleep(0.2)


def numbers(**context: Any) -> list[str]:
    """As many as the test has written down; at first as many as the run's conf says."""
    mark = mark_of(context["run_id"], "count")
    count = mark.read_text() if mark.exists() else context["dag_run"].conf.get("count", 2)
    return [str(number) for number in range(int(count))]


def dags(mode: str, make: Make) -> dict[str, DAG]:
    """All variants of one mode, by DAG id."""
    found = {}

    def dag(variant: str, **more: Any) -> DAG:
        found[f"{mode}-{variant}"] = DAG(f"{mode}-{variant}", **{"schedule": None, "tags": ["events"], **more})
        return found[f"{mode}-{variant}"]

    for variant, (task, more) in PLAIN.items():
        with dag(variant, **more):
            make(task_id="job", **task)
    for variant in ("pooled", "pooled_apart"):  # each row of a mode opens and closes a pool of its own
        with dag(variant):
            make(task_id="job", pool=f"gate-{variant}-{mode}", **SOON)
    with dag("fail_fast", fail_fast=True):
        make(task_id="job", **SOON)
        PythonOperator(task_id="stopper", python_callable=stop_when_told)
    with dag("upstream"):
        PythonOperator(task_id="before", python_callable=held_back) >> make(task_id="job", **SOON)
    for variant, more in (("mapped", {}), ("narrow", {"pool": f"gate-narrow-{mode}"})):
        with dag(variant):
            items = PythonOperator(task_id="numbers", python_callable=numbers)
            make(task_id="job", mapped=items.output, **SOON, **more)
    return found
