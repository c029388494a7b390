"""What the task's log tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durablejob_airflow import story
from durablejob_airflow.view import CancelView, ConditionView, JobView, view_of
from durablejob_controller.reasons import restored

NEW = JobView("data", "job", "u1")
MISSING = ConditionView("Accepted", "False", "BackendNotFound", "there is no JobBackend x in data; create it")
PENDING = replace(NEW, number=1, conditions=(MISSING,))
RUNNING = replace(NEW, number=1, state="Running", external_id="driver-1", tracking_url="http://ui", reason="Started")


def test_why_a_job_waits_is_said_once():
    first = story.tell(None, PENDING)
    assert first == [
        "DurableJob data/job, attempt 1: Pending (BackendNotFound): there is no JobBackend x in data; create it"
    ]
    assert story.tell(PENDING, PENDING) == []


def test_a_status_about_an_older_attempt_is_not_told_as_this_ones():
    lines = story.tell(None, replace(RUNNING, outcome="Failed", state="Failed", attempt=2))
    assert lines == ["DurableJob data/job, attempt 2: Pending, not yet taken up by the controller"]


def test_each_transition_is_told_once():
    assert story.tell(PENDING, RUNNING) == [
        "DurableJob data/job, attempt 1: Running (Started)",
        "External id: driver-1",
        "Tracking URL: http://ui",
    ]
    progress = replace(RUNNING, progress="40 %, stage 4 of 10")
    assert story.tell(RUNNING, progress) == ["Progress: 40 %, stage 4 of 10"]
    failed = replace(progress, outcome="Failed", state="Failed", reason="ExitCode", message="it threw", exit_code=3)
    assert story.tell(progress, failed) == ["DurableJob data/job, attempt 1: Failed (ExitCode): it threw [exit code 3]"]


def test_a_wish_to_end_is_told():
    wished = replace(RUNNING, cancel=CancelView(1, "User"))
    assert story.tell(RUNNING, wished) == ["Its end is wished for, cause User"]


def test_the_whole_story_is_told_again_after_a_resumption():
    assert len(story.tell(None, RUNNING)) == 3


def test_an_unreachable_backend_is_told_beside_the_state():
    away = ConditionView("BackendReachable", "False", "Refused", "connection refused")
    lines = story.tell(RUNNING, replace(RUNNING, reason=None, conditions=(away,)))
    assert lines == ["DurableJob data/job, attempt 1: Running (Refused): connection refused"]


def test_each_change_of_a_condition_is_told_once_and_both_ways():
    away = replace(
        RUNNING, conditions=(ConditionView("BackendReachable", "False", "Unreachable", "connection refused"),)
    )
    back = replace(RUNNING, conditions=(ConditionView("BackendReachable", "True", "Answered", ""),))
    assert story.tell(RUNNING, away) == ["BackendReachable is False (Unreachable): connection refused"]
    assert story.tell(away, away) == []
    assert story.tell(away, back) == ["BackendReachable is True again"]
    assert story.tell(RUNNING, back) == []


def test_the_end_of_the_programs_log_is_told_line_by_line_below_the_headline():
    words = "container main ended with exit code 3. Its last lines:\nreading day 7\nno such table"
    lines = story.tell(RUNNING, replace(RUNNING, outcome="Failed", reason="Error", message=words, exit_code=3))
    assert lines[1:] == ["reading day 7", "no such table"]
    assert lines[0].endswith("Failed (Error): container main ended with exit code 3. Its last lines: [exit code 3]")


def test_a_lost_job_says_what_a_person_can_do():
    text = story.lost_text(replace(RUNNING, outcome="Lost", state="Lost"))
    assert "acceptLost" in text
    assert "driver-1" in text


def test_a_resource_is_read_as_the_controller_writes_it():
    raw = {
        "metadata": {"name": "job", "namespace": "data", "uid": "u1", "annotations": {"durablejob.io/deployment": "p"}},
        "spec": {"attempt": 2, "holder": {"incarnation": "n", "id": "t"}, "cancel": {"attempt": 2, "cause": "User"}},
        "status": {"state": "Failed", "current": {"number": 2, "outcome": "Failed", "exitCode": 3}, "externalID": "d"},
    }
    job = view_of(raw)
    assert (job.ended, job.exit_code, job.cancelled_for, job.deployment) == ("Failed", 3, "User", "p")
    assert job.result() == {
        "name": "job",
        "namespace": "data",
        "uid": "u1",
        "attempt": 2,
        "externalId": "d",
        "trackingUrl": None,
    }
    assert view_of({"metadata": {"name": "new"}}).ended is None


@pytest.mark.parametrize(
    ("job", "final"),
    [
        (replace(RUNNING, outcome="Cancelled", cancel=CancelView(1, "User")), True),
        (replace(RUNNING, outcome="Cancelled", cancel=CancelView(1, "Timeout")), False),
        (replace(RUNNING, outcome="Cancelled", deleting=True), True),
        (replace(RUNNING, outcome="Failed", reason="InvalidSpec"), True),
        (replace(RUNNING, outcome="Failed", reason="ProgramFailed"), False),
    ],
    ids=["cancelled by a person", "by the clock", "deleted by a person", "refused for good", "failed"],
)
def test_only_a_wish_and_a_lasting_refusal_forbid_a_retry(job, final):
    assert story.is_final(job) is final


def test_a_restored_copy_says_why_it_waits_and_how_to_run_it():
    why = restored("job", "u1", "Velero's restore r1 has made it")
    (line,) = story.tell(NEW, replace(NEW, number=1, reason=why.reason, message=why.message))
    assert line.startswith("DurableJob data/job, attempt 1: Pending (Restored): This resource was made again")
    assert "kubectl annotate dj job durablejob.io/run-restored=u1" in line
