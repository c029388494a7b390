"""Functions as tasks: what a function returns are its program's arguments. Against a real API server."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task

from tests.operators.test_operator import Store

SPARK = {"application": "local:///etl.py", "backend": "JobBackend/x:SparkStandalone"}
KUBERNETES = {"image": "etl:1", "backend": "JobBackend/x:Kubernetes"}
CASES = [
    pytest.param("durable_spark", SPARK, lambda spec: spec["spark"]["arguments"], id="spark"),
    pytest.param(
        "durable_kubernetes_job",
        KUBERNETES,
        lambda spec: spec["kubernetesJob"]["template"]["template"]["spec"]["containers"][0]["args"],
        id="kubernetes",
    ),
]


def made(decorator: str, function: Any, *args: Any, **settings: Any) -> Any:
    """The operator that a decorated function becomes in a DAG."""
    with DAG("dag"):
        found = getattr(task, decorator)(retries=1, **settings)(function)(*args)
    return found.operator


def context() -> dict[str, Any]:
    run = f"run-{secrets.token_hex(3)}"
    ti = SimpleNamespace(
        id=run, dag_id="dag", run_id=run, task_id="load", map_index=-1, try_number=1, max_tries=1,
        start_date=datetime.now(UTC),
    )  # fmt: skip
    return {"ti": ti, "task_state_store": Store(), "dag_run": SimpleNamespace(clear_number=0), "ds": "2026-01-01"}


@pytest.mark.parametrize(("decorator", "settings", "read"), CASES)
def test_what_the_function_returns_are_the_programs_arguments(decorator, settings, read, conn_id, controller):
    def load(table: str, ds: str | None = None) -> list[str]:
        return ["--table", table, "--day", str(ds), "{{ not a template }}"]

    operator = made(
        decorator, load, "sales", **settings, durablejob_conn_id=conn_id, deferrable=False, poll_interval=0.1
    )
    assert operator.task_id == "load"
    result = operator.execute(context())
    spec = controller.job(result["name"])["spec"]
    assert read(spec) == ["--table", "sales", "--day", "2026-01-01", "{{ not a template }}"]


@pytest.mark.parametrize(("decorator", "settings", "_read"), CASES)
def test_a_function_that_returns_something_else_is_told(decorator, settings, _read, conn_id):
    def load() -> str:
        return "--day"

    with pytest.raises(TypeError, match=rf"load returned str; @task\.{decorator} needs the program's arguments"):
        made(decorator, load, **settings, durablejob_conn_id=conn_id).execute(context())


@pytest.mark.parametrize(
    ("decorator", "settings", "name"),
    [("durable_spark", SPARK, "application_args"), ("durable_kubernetes_job", KUBERNETES, "arguments")],
)
def test_arguments_in_two_places_are_refused(decorator, settings, name):
    with pytest.raises(ValueError, match=f"the function returns '{name}'"):
        made(decorator, lambda: [], **settings, **{name: ["x"]})


@pytest.mark.parametrize(("decorator", "settings", "_read"), CASES)
def test_a_function_can_be_mapped(decorator, settings, _read):
    def load(day: str) -> list[str]:
        return [day]

    with DAG("dag") as dag:
        getattr(task, decorator)(retries=1, **settings)(load).expand(day=["1", "2"])
    assert dag.get_task("load").is_mapped
