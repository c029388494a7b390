"""Who looks after jobs whose task has ended without a process: what is asked, and what follows from the answers."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_airflow.identity import TaskIdentity
from durablejob_airflow.observer import LOOKS, REMOVED_LOOKS, RUNS_AT_ONCE, Finding, Observer, Question


def a_job(task_id: str = "task", run_id: str = "run", map_index: int = -1, dag_id: str = "dag", holder: str = "ti-1",
          deployment: str = "tests", private: str = "", **status: Any) -> dict[str, Any]:  # fmt: skip
    """A DurableJob of a task, running."""
    identity = TaskIdentity(deployment, dag_id, run_id, task_id, map_index, private)
    return {
        "metadata": {"name": identity.name, "annotations": identity.annotations},
        "spec": {"attempt": 1, "holder": {"incarnation": "n", "id": holder}},
        "status": {"state": "Running", "current": {"number": 1, **status}},
    }


def looking_after(*jobs: dict[str, Any]) -> Observer:
    observer = Observer("tests")
    for job in jobs:
        observer.note(job)
    return observer


def looks(observer: Observer, states: object, times: int = LOOKS, waited_for: bool = False) -> list[Finding]:
    """What is found at the last of so many looks."""
    found: list[Finding] = []
    for _ in range(times):
        found = [f for q in list(observer.questions()) for f in observer.judge(q, states, lambda _: waited_for)]
    return found


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("failed", "MarkedFailed"),
        ("success", "MarkedSuccess"),
        ("skipped", "Skipped"),
        ("upstream_failed", "Skipped"),  # cleared with its upstream, or lost, and no try will follow
    ],
)
def test_a_task_that_has_ended_both_times_ends_its_job(state, cause):
    job = a_job()
    observer = looking_after(job)
    assert looks(observer, {"run": {"task": state}}, 1) == []
    assert looks(observer, {"run": {"task": state}}, 1) == [Finding(job["metadata"]["name"], "ti-1", cause)]


@pytest.mark.parametrize("answer", [{}, {"run": {}}, {"run": {"task_0": "running"}}])
def test_a_task_that_is_gone_both_times_ends_its_job(answer):
    assert [found.cause for found in looks(looking_after(a_job()), answer)] == ["User"]


@pytest.mark.parametrize(
    "state", ["running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", None]
)
def test_every_other_state_keeps_the_job(state):
    assert looks(looking_after(a_job()), {"run": {"task": state}}, 20) == []


def test_what_was_seen_once_and_then_not_counts_from_the_beginning():
    observer = looking_after(a_job())
    assert looks(observer, {"run": {"task": "failed"}}, 1) == []
    assert looks(observer, {"run": {"task": "running"}}, 1) == []
    assert looks(observer, {"run": {"task": "failed"}}, 1) == []
    assert looks(observer, {"run": {"task": "success"}}, 1) == []  # another end than before
    assert len(looks(observer, {"run": {"task": "success"}}, 1)) == 1


def test_no_answer_neither_counts_nor_breaks_the_row():
    observer = looking_after(a_job())
    assert looks(observer, None, 5) == []
    assert looks(observer, {"run": {"task": "failed"}}, 1) == []
    assert looks(observer, None, 5) == []
    assert len(looks(observer, {"run": {"task": "failed"}}, 1)) == 1


def test_another_holder_counts_from_the_beginning():
    observer = looking_after(a_job())
    looks(observer, {"run": {"task": "failed"}}, 1)
    observer.note(a_job(holder="ti-2"))
    assert looks(observer, {"run": {"task": "failed"}}, 1) == []
    assert [found.holder_id for found in looks(observer, {"run": {"task": "failed"}}, 1)] == ["ti-2"]


def test_no_state_is_a_clear_only_where_the_tasks_own_trigger_waits():
    job = a_job()
    name = job["metadata"]["name"]
    assert looks(looking_after(job), {"run": {"task": None}}) == []
    assert looks(looking_after(job), {"run": {"task": None}}, waited_for=True) == [Finding(name, "ti-1", "Cleared")]


def test_a_removed_index_is_kept_for_a_while():
    observer = looking_after(a_job(map_index=3))
    assert looks(observer, {"run": {"task_3": "removed"}}, REMOVED_LOOKS - 1) == []
    assert [found.cause for found in looks(observer, {"run": {"task_3": "removed"}}, 1)] == ["Skipped"]


@pytest.mark.parametrize(
    "job",
    [
        a_job(deployment="another"),
        a_job(private="by airflow tasks test"),
        a_job(outcome="Succeeded"),
        a_job() | {"spec": {"attempt": 1, "holder": {"id": "ti-1"}, "cancel": {"attempt": 1}}},
        a_job() | {"spec": {"attempt": 1}},
        {"metadata": {"name": "by-hand"}, "spec": {"attempt": 1}},
    ],
    ids=["another Airflow's", "private", "ended", "being cancelled", "without a holder", "made by hand"],
)
def test_what_is_not_looked_after(job):
    assert list(looking_after(job).questions()) == []


def test_a_job_that_ends_or_goes_is_forgotten():
    observer = looking_after(a_job(), a_job("b"), a_job("c"))
    observer.note(a_job(outcome="Failed"))
    observer.forget(a_job("b")["metadata"]["name"])
    assert [q.task_ids for q in observer.questions()] == [("c",)]
    observer.keep_only([])
    assert list(observer.questions()) == []


def test_a_next_attempt_is_looked_after_again():
    observer = looking_after(a_job(outcome="Failed"))
    job = a_job(outcome="Failed")
    job["spec"]["attempt"] = 2  # the status still speaks of the first
    observer.note(job)
    assert len(observer.jobs) == 1


def test_one_question_for_each_dag():
    jobs = [a_job(t, r, dag_id=d) for d in ("d1", "d2") for r in ("r1", "r2") for t in ("a", "b")]
    assert list(looking_after(*jobs).questions()) == [
        Question("d1", ("r1", "r2"), ("a", "b"), mapped=False),
        Question("d2", ("r1", "r2"), ("a", "b"), mapped=False),
    ]


def test_mapped_tasks_are_asked_for_apart_since_their_keys_could_be_those_of_others():
    observer = looking_after(a_job("task", map_index=0), a_job("task_0"))
    questions = {question.mapped: question for question in observer.questions()}
    assert questions[True].task_ids == ("task",)
    assert questions[False].task_ids == ("task_0",)
    for _ in range(LOOKS):
        found = [
            *observer.judge(questions[True], {"run": {"task_0": "running"}}, lambda _: False),
            *observer.judge(questions[False], {"run": {"task_0": "failed"}}, lambda _: False),
        ]
    assert [finding.name for finding in found] == [a_job("task_0")["metadata"]["name"]]


def test_very_many_runs_take_several_questions():
    jobs = [a_job(run_id=f"r{number:04}") for number in range(RUNS_AT_ONCE + 1)]
    assert [len(question.run_ids) for question in looking_after(*jobs).questions()] == [RUNS_AT_ONCE, 1]


def test_an_answer_says_nothing_of_a_job_that_came_after_the_question():
    observer = looking_after(a_job("a"))
    (question,) = observer.questions()
    for _ in range(LOOKS):
        observer.note(a_job("b"))
        assert observer.judge(question, {"run": {"a": "running"}}, lambda _: False) == []
