"""Functions as tasks: what a function returns are its program's arguments. Against a real API server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from durablejob_airflow.operators import spark
from tests.operators.scripted import Controller
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


def context(before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a first try is given, or the try after ``before``."""
    run = before["ti"].run_id if before else f"run-{secrets.token_hex(3)}"
    number = before["ti"].try_number + 1 if before else 1
    ti = SimpleNamespace(
        id=f"{run}-{number}", dag_id="dag", run_id=run, task_id="load", map_index=-1, try_number=number, max_tries=1,
        start_date=datetime.now(UTC),
    )  # fmt: skip
    store = before["task_state_store"] if before else Store()
    return {"ti": ti, "task_state_store": store, "dag_run": SimpleNamespace(clear_number=0), "ds": "2026-01-01"}


@pytest.fixture
def slow(controller: Controller) -> Iterator[Controller]:
    """A controller that takes nothing up."""
    controller.idle.set()
    yield controller
    controller.idle.clear()


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


@pytest.mark.parametrize(("decorator", "settings", "_read"), CASES)
def test_a_function_that_fails_does_not_part_a_retry_from_its_job(
    decorator, settings, _read, conn_id, slow: Controller, capsys
):
    works = [True, False, False]

    def load() -> list[str]:
        if not works.pop(0):
            raise KeyError("the table is gone")
        return []

    operator = made(decorator, load, **settings, durablejob_conn_id=conn_id)
    first = context()
    with pytest.raises(TaskDeferred):
        operator.execute(first)
    assert works == [False, False], "asked once"
    retry = context(first)
    with pytest.raises(TaskDeferred) as deferred:
        made(decorator, load, **settings, durablejob_conn_id=conn_id).execute(retry)
    assert deferred.value.trigger.holder_id == retry["ti"].id
    assert "today's arguments cannot be made: KeyError: 'the table is gone'" in capsys.readouterr().out
    with pytest.raises(KeyError):
        made(decorator, load, **settings, durablejob_conn_id=conn_id, on_work_changed="fail").execute(context(retry))
    assert len(slow.jobs(run_id=retry["ti"].run_id)) == 1


def test_a_lineage_that_cannot_be_had_does_not_part_a_retry_from_its_job(conn_id, slow: Controller, monkeypatch):
    def operator() -> spark.DurableSparkSubmitOperator:
        asked = {**SPARK, "durablejob_conn_id": conn_id, "openlineage_inject_parent_job_info": True}
        return spark.DurableSparkSubmitOperator(task_id="load", retries=1, **asked)

    first = context()
    with monkeypatch.context() as installed:
        installed.setattr(spark, "with_lineage", lambda conf, context: {"spark.openlineage.parentRunId": "r"})
        with pytest.raises(TaskDeferred):
            operator().execute(first)
    retry = context(first)
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(retry)
    assert deferred.value.trigger.holder_id == retry["ti"].id
    with pytest.raises(AirflowFailException, match="install apache-airflow-providers-openlineage"):
        operator().execute(context())


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
