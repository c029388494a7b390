"""``airflow durablejobs reconcile``, against a real API server; what Airflow says is given."""

from __future__ import annotations

from argparse import Namespace
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from airflow.cli import cli_parser
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from durablejob_airflow import reconcile
from durablejob_airflow.observer import LOOKS, Finding, Observer, Question
from durablejob_api import API_VERSION, FINALIZER, GROUP, VERSION
from tests.operators.scripted import Controller
from tests.operators.test_observer import a_job, looking_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def job(controller: Controller) -> dict[str, Any]:
    """A job of a task, which runs until it is told otherwise."""
    body = a_job(task_id="reconciled")
    body |= {"apiVersion": API_VERSION, "kind": "DurableJob"}
    body["metadata"]["finalizers"] = [FINALIZER]
    del body["status"]
    body["spec"] |= {
        "backendRef": {"name": "fake", "type": "Plugin"},
        "plugin": {"parameters": {"hold": "yes"}},
    }
    for old in controller.jobs():
        controller.delete(old["metadata"]["name"])
    while controller.jobs():
        pass
    made: dict[str, Any] = controller._api.create_namespaced_custom_object(
        GROUP, VERSION, controller.namespace, "durablejobs", body
    )
    return made


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch):
    """What Airflow says, look by look."""

    def made(*states: str | None) -> list[Question]:
        asked: list[Question] = []

        def answer(question: Question) -> dict[str, dict[str, Any]]:
            asked.append(question)
            return {"run": {"reconciled": states[len(asked) - 1]}}

        monkeypatch.setattr(reconcile, "states", answer)
        return asked

    return made


def run(conn_id: str, dry_run: bool = False, yes: bool = False) -> object:
    with pytest.raises(SystemExit) as ended:
        reconcile.main(Namespace(conn_id=conn_id, namespace=None, interval=0.01, dry_run=dry_run, yes=yes))
    return ended.value.code


def wish(controller: Controller, job: dict[str, Any]) -> Any:
    return (controller.job(job["metadata"]["name"])["spec"].get("cancel") or {}).get("cause")


def test_a_job_whose_task_has_failed_both_times_is_cancelled(controller, conn_id, job, says, capsys):
    asked = says("failed", "failed")
    assert run(conn_id) == 0
    assert asked == [Question("dag", ("run",), ("reconciled",), mapped=False)] * 2
    assert wish(controller, job) == "MarkedFailed"
    assert "its task has ended (MarkedFailed), asked to end" in capsys.readouterr().out


@pytest.mark.parametrize("states", [("failed", "up_for_retry"), ("running", "failed"), (None, None)])
def test_a_job_whose_task_goes_on_is_kept(controller, conn_id, job, says, capsys, states):
    says(*states)
    assert run(conn_id) == 0
    assert wish(controller, job) is None
    assert "every active job has a task that goes on" in capsys.readouterr().out


def test_a_dry_run_cancels_nothing_and_says_what_it_would(controller, conn_id, job, says, capsys):
    says("success", "success")
    assert run(conn_id, dry_run=True) == 0
    assert wish(controller, job) is None
    assert "(MarkedSuccess), would be cancelled" in capsys.readouterr().out


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Session:
    """Airflow's database, with a task that has failed in one run of one DAG."""
    import_all_models()  # their tables refer to each other
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    session = Session(engine)
    session.execute(insert(DagRun).values(id=1, dag_id="dag", run_id="run", run_type="manual", run_after=NOW))
    task = {"task_id": "task", "dag_id": "dag", "run_id": "run", "state": "failed", "pool": "default_pool"}
    session.execute(insert(TaskInstance).values(id=uuid4(), map_index=-1, pool_slots=1, **task))
    monkeypatch.setattr("airflow.utils.session.create_session", lambda: nullcontext(session))
    return session


@pytest.mark.usefixtures("database")
def test_airflows_database_is_asked_for_tasks_and_for_dags():
    asked = Question("dag", ("run", "deleted"), ("task",), mapped=False)
    assert reconcile.states(asked) == {"run": {"task": "failed"}}
    assert reconcile.knows("dag")
    assert not reconcile.knows("another")


def findings(*jobs: dict[str, Any]) -> tuple[Observer, list[Finding]]:
    """What two looks find of these jobs."""
    observer = looking_after(*jobs)
    for _ in range(LOOKS):
        found = [f for q in observer.questions() for f in observer.judge(q, reconcile.states(q), lambda _: False)]
    return observer, found


@pytest.mark.usefixtures("database")
def test_tasks_that_are_gone_need_a_yes_where_that_may_mean_another_airflow():
    failed, deleted, unknown = a_job(), a_job(run_id="deleted"), a_job(dag_id="another")
    observer, found = findings(failed, deleted, unknown)
    assert [finding.gone for finding in found] == [False, True, True]
    assert {finding.name for finding in reconcile.doubtful(observer, found)} == {unknown["metadata"]["name"]}
    observer, found = findings(deleted, unknown)
    assert reconcile.doubtful(observer, found) == set(found)
    assert reconcile.doubtful(*findings(failed)) == set()


def test_a_job_whose_task_is_gone_is_ended_only_with_a_yes(controller, conn_id, job, monkeypatch, capsys):
    """As of a DAG that was deleted with all its runs; or of another Airflow with the same deployment id."""
    monkeypatch.setattr(reconcile, "states", lambda question: {})
    assert run(conn_id) == 1
    assert wish(controller, job) is None
    told = capsys.readouterr().out
    assert "its task is unknown here, kept" in told
    assert "1 jobs are kept, for this may be another Airflow's database" in told
    assert run(conn_id, yes=True) == 0
    assert wish(controller, job) == "User"


def test_without_an_api_server_it_fails_in_one_line(conn_id, monkeypatch, tmp_path):
    monkeypatch.setenv(
        "AIRFLOW_CONN_NOWHERE",
        '{"conn_type": "durablejob", "extra": {"deployment_id": "tests", "kube_config": '
        '{"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}], '
        '"contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}], '
        '"clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:9"}}]}}}',
    )
    assert "the jobs cannot be listed" in str(run("nowhere"))


def test_airflows_command_line_has_it(monkeypatch):
    options = cli_parser.get_parser().parse_args(["durablejobs", "reconcile", "--conn-id", "c", "--dry-run"])
    assert (options.conn_id, options.interval, options.dry_run, options.yes) == ("c", 60.0, True, False)
    assert options.func is not None
