"""``airflow durablejobs reconcile``, against a real API server; what Airflow says is given."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
from airflow.cli import cli_parser

from durablejob_airflow import reconcile
from durablejob_airflow.observer import Question
from durablejob_api import API_VERSION, FINALIZER, GROUP, VERSION
from tests.operators.scripted import Controller
from tests.operators.test_observer import a_job


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


def run(conn_id: str, dry_run: bool = False) -> object:
    with pytest.raises(SystemExit) as ended:
        reconcile.main(Namespace(conn_id=conn_id, namespace=None, interval=0.01, dry_run=dry_run))
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
    assert (options.conn_id, options.interval, options.dry_run) == ("c", 60.0, True)
    assert options.func is not None
