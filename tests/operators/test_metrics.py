"""What Airflow's metrics are told of our decisions."""

from __future__ import annotations

import pytest
from airflow.sdk._shared.observability.metrics import stats

from tests.operators.desk import Desk

TAGS = {"dag_id": "dag", "task_id": "task"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were counted."""
    names: list[str] = []

    class Backend:
        def incr(self, name: str, *, tags: dict[str, str]) -> None:
            assert tags == TAGS
            names.append(name.removeprefix("durablejob.decision."))

    monkeypatch.setattr(stats, "_backend", Backend())
    return names


def test_each_decision_of_a_try_is_counted_once(counted):
    desk = Desk()
    event = desk.deferred()
    assert counted == ["create", "resume"]
    desk.operator().execute_complete(desk.task.context(), event)
    desk.operator().execute(desk.task.retry())
    assert counted[2:] == ["take_over"], "a resumption decides nothing"
    desk.jobs.kept.clear()
    desk.operator().execute(desk.task.retry())
    assert counted[3:] == ["return_result"]


def test_a_clear_is_counted_step_by_step_however_long_each_takes(counted):
    desk = Desk()
    desk.deferred()
    name = desk.job["metadata"]["name"]
    desk.jobs.put(name, **desk.job["spec"])
    looks = 0

    def before(verb: str) -> None:
        nonlocal looks
        cancelled = "cancel" in desk.job["spec"]
        looks += cancelled and verb == "get"
        if looks == 2 and desk.job["spec"]["attempt"] == 1:
            desk.jobs.end(name, "Cancelled")
        if desk.job["spec"]["attempt"] == 2 and verb == "get":
            desk.jobs.end(name)

    desk.jobs.before = before
    assert desk.operator().execute(desk.task.clear())["attempt"] == 2
    assert counted[2:] == ["cancel", "await_end", "raise", "resume"]
