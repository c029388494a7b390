"""A success that was seen is the task's, whatever fails after it, and whenever the time is over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from durablejob_airflow.patience import Patience
from durablejob_airflow.resource import Conflict, Refused, Unavailable
from tests.operators.desk import POLL, Desk
from tests.operators.memory import holder

BROKEN = [Unavailable("away"), Refused(403, "forbidden"), Conflict("changed"), OSError("no token")]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which the task would have waited for Kubernetes; it does not."""
    found: list[float] = []

    def pause(self: Patience, seconds: float) -> None:
        if seconds > POLL:
            found.append(seconds)
            raise RuntimeError("it waits")

    monkeypatch.setattr(Patience, "pause", pause)
    return found


def failing(error: BaseException) -> Callable[[str], None]:
    def before(verb: str) -> None:
        raise error

    return before


def test_a_success_that_the_trigger_has_told_counts_where_its_job_is_gone(desk):
    event = desk.deferred()
    desk.jobs.kept.clear()
    assert desk.operator().execute_complete(desk.task.context(), event) == event["result"]
    assert desk.operator().execute(desk.task.retry()) == event["result"], "it was recorded for a later try"


def test_a_job_of_the_same_name_is_not_the_one_of_which_the_trigger_has_told(desk):
    event = desk.deferred()
    desk.jobs.put(event["name"], **desk.job["spec"])
    event["result"]["uid"] = "another"
    assert desk.operator().execute_complete(desk.task.context(), event)["uid"] == "another"
    assert desk.job["spec"]["holder"]["acknowledged"] == 0


@pytest.mark.parametrize("error", BROKEN)
def test_a_success_that_the_trigger_has_told_waits_for_nothing(desk, error, pauses):
    event = desk.deferred()
    desk.jobs.before = failing(error)
    assert desk.operator().execute_complete(desk.task.context(), event) == event["result"]
    assert pauses == []


def test_a_success_that_the_trigger_has_told_needs_no_connection(desk):
    event = desk.deferred()
    operator = desk.operator()
    operator.hook.jobs = lambda namespace: (_ for _ in ()).throw(AirflowFailException("there is no connection"))
    assert operator.execute_complete(desk.task.context(), event) == event["result"]


@pytest.mark.parametrize("state", ["Gone", "Superseded", "Failed", "Cancelled", "Lost"])
def test_no_other_end_is_a_success_and_what_the_trigger_saw_is_told(desk, state):
    event = desk.deferred() | {"state": state}
    desk.jobs.kept.clear()
    with pytest.raises(AirflowFailException, match="was deleted") as failed:
        desk.operator().execute_complete(desk.task.context(), event)
    assert (f"attempt 1: {state}" in str(failed.value)) == (state in ("Failed", "Cancelled", "Lost"))


def test_a_success_of_the_try_before_is_returned_before_it_is_held(desk):
    event = desk.deferred()
    desk.jobs.before = lambda verb: failing(Unavailable("away"))(verb) if verb == "replace" else None
    assert desk.operator().execute(desk.task.retry())["name"] == event["name"]
    desk.jobs.before = lambda verb: None
    desk.operator().execute(desk.task.retry())
    taken = desk.job["spec"]["holder"]
    assert (taken["id"], taken["tryNumber"], taken["acknowledged"]) == (f"{desk.task.run_id}-ti-2", 2, 1)


def test_a_try_that_was_superseded_acknowledges_nothing(desk):
    event = desk.deferred()
    nonce = desk.job["spec"]["holder"]["incarnation"]
    desk.jobs.put(event["name"], "Succeeded", holder=holder("ti-2", 2, incarnation=nonce, acknowledged=0))
    assert desk.operator().execute_complete(desk.task.context(), event)["name"] == event["name"]
    assert desk.job["spec"]["holder"] == holder("ti-2", 2, incarnation=nonce, acknowledged=0)


@pytest.mark.parametrize("error", BROKEN)
@pytest.mark.parametrize("verb", ["get", "replace"])
def test_a_success_is_acknowledged_once_and_without_patience(desk, monkeypatch, pauses, verb, error, capsys):
    desk.jobs.before = lambda asked: desk.jobs.end(*desk.jobs.kept) if asked == "get" and desk.jobs.kept else None
    keep = desk.task.store.set

    def set(key: str, value: Any, **more: Any) -> None:
        keep(key, value, **more)
        if value.get("result"):  # it is recorded, and the acknowledgement is next
            desk.jobs.requests.clear()
            desk.jobs.before = lambda asked: failing(error)(asked) if asked == verb else None

    monkeypatch.setattr(desk.task.store, "set", set)
    assert desk.operator().execute(desk.task.context())["attempt"] == 1
    assert pauses == []
    assert desk.jobs.requests == ["get", "replace"][: 1 if verb == "get" else 2]
    assert "The job has succeeded, but that could not be noted" in capsys.readouterr().out


@pytest.mark.parametrize("stuck", ["replace", "record"])
def test_a_time_limit_that_strikes_after_the_success_changes_nothing(desk, monkeypatch, stuck, capsys):
    event = desk.deferred()
    asked: list[str] = []

    def hang(*_: Any, **__: Any) -> None:
        asked.append(stuck)
        signal.raise_signal(signal.SIGALRM)

    if stuck == "replace":
        desk.jobs.before = lambda verb: hang() if verb == "replace" else None
    else:
        monkeypatch.setattr(desk.task.store, "set", hang)
    operator = desk.operator(execution_timeout=timedelta(minutes=5))
    with timeout(60):  # as Airflow does it: by a signal
        assert operator.execute_complete(desk.task.context(), event)["attempt"] == 1
    assert asked == [stuck]
    assert "cancel" not in desk.job["spec"]
    assert "The job has succeeded, which counts more than" in capsys.readouterr().out


def test_a_deadline_that_has_passed_changes_nothing(desk):
    event = desk.deferred()
    context = desk.task.context()
    context["ti"].start_date -= timedelta(hours=1)
    desk.jobs.before = lambda verb: failing(Unavailable("away"))(verb) if verb == "replace" else None
    operator = desk.operator(execution_timeout=timedelta(minutes=5))
    assert operator.execute_complete(context, event)["attempt"] == 1


def test_a_time_limit_before_any_end_cancels(desk):
    def before(verb: str) -> None:
        if verb == "get" and desk.jobs.kept:
            desk.jobs.before = lambda verb: None
            signal.raise_signal(signal.SIGALRM)

    desk.jobs.before = before
    with pytest.raises(AirflowTaskTimeout), timeout(60):
        desk.operator().execute(desk.task.context())
    assert desk.job["spec"]["cancel"]["cause"] == "Timeout"


def test_a_cancel_that_cannot_be_written_is_told_and_hides_no_time_limit(desk, capsys):
    desk.jobs.before = lambda verb: failing(OSError("no token"))(verb) if verb == "replace" else None
    with pytest.raises(AirflowTaskTimeout):
        desk.operator(execution_timeout=timedelta(seconds=0.2)).execute(desk.task.context())
    assert "could not be asked to end (cause Timeout): OSError: no token" in capsys.readouterr().out
