"""How long the API server's answers are waited for, which of them are believed, and what an end needs no more."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_airflow.airflow_side import MemoryStore
from durablejob_airflow.holder import JobHolder
from durablejob_airflow.identity import Record, TaskIdentity, TryFacts
from durablejob_airflow.resource import Absent, Conflict, Refused, ResourceError, Unavailable
from tests.operators.memory import MemoryJobs, holder

AWAY, FORBIDDEN = Unavailable("away"), Refused(403, "forbidden")


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, *args: Any) -> None:
        self.lines.append(event % args)

    warning = info


def patiently(*answers: ResourceError, holding: bool = False) -> tuple[str, list[float]]:
    """What a call comes to that is answered like this, and well after that; and the pauses between."""
    left, pauses = list(answers), []

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    unused: Any = None
    holder = JobHolder(unused, unused, unused, unused, Log(), unused, unused, pauses.append)
    return holder.patiently(call, holding), pauses


def test_an_outage_is_waited_for_however_long_it_is():
    found, pauses = patiently(*[AWAY] * 50)
    assert found == "done"
    assert 20 < max(pauses) <= 30


@pytest.mark.parametrize("outage", [0, 10], ids=["at once", "after an outage"])
def test_missing_rights_are_believed_only_when_they_last(outage):
    found, pauses = patiently(*[AWAY] * outage, *[FORBIDDEN] * 3)
    assert found == "done"
    assert sum(pauses[outage:]) < 4
    with pytest.raises(Refused):
        patiently(*[AWAY] * outage, *[FORBIDDEN] * 4)


@pytest.mark.parametrize("error", [Absent(404, "no such job"), Refused(422, "wrong")])
def test_what_is_told_of_the_job_itself_is_believed_at_once(error):
    with pytest.raises(type(error)):
        patiently(error)


def test_a_try_that_holds_its_job_waits_for_its_rights_as_for_an_api_server_that_is_away():
    found, pauses = patiently(*[FORBIDDEN] * 100, holding=True)
    assert found == "done"
    assert 20 < max(pauses) <= 30
    with pytest.raises(Refused):
        patiently(Refused(422, "wrong"), holding=True)


TASK = TaskIdentity("tests", "dag", "run", "task")
RETRY = TryFacts("ti-2", try_number=2, max_tries=1)


def a_try(jobs: Any, pauses: list[float], facts: TryFacts = RETRY) -> Any:
    """A try of a task of whose job the record is there."""
    work: dict[str, Any] = {"plugin": {}}
    store = MemoryStore()
    store.record = Record("nonce", uid=f"uid-{TASK.name}", max_tries=1)
    return JobHolder(jobs, TASK, facts, store, Log(), lambda: work, lambda: work, pauses.append)


@pytest.mark.parametrize("verb", ["create", "replace"])
def test_an_answer_that_somebody_else_has_written_is_believed_only_so_often(verb):
    jobs, pauses = MemoryJobs(), list[float]()
    if verb == "replace":
        jobs.put(TASK.name, holder=holder("ti-1"))

    def before(asked: str) -> None:
        assert len(jobs.requests) < 100
        if asked == verb:
            raise Conflict("a proxy says so")

    jobs.before = before
    holding = a_try(jobs, pauses)
    if verb == "create":
        holding.store.record = None
    with pytest.raises(Conflict):
        holding.enter()
    assert pauses == sorted(pauses)
    assert 30 < sum(pauses) < 90


def test_a_job_that_was_changed_meanwhile_is_taken_over_after_another_look():
    jobs, pauses = MemoryJobs(), list[float]()
    jobs.put(TASK.name, holder=holder("ti-1"))
    changes = 2

    def before(verb: str) -> None:
        nonlocal changes
        if verb == "replace" and changes:
            changes -= 1
            jobs.put(TASK.name, holder=holder("ti-1"))

    jobs.before = before
    assert a_try(jobs, pauses).enter().holder.id == "ti-2"
    assert len(pauses) == 2
    assert max(pauses) <= 1
