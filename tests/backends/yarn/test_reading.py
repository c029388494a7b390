"""What a ResourceManager says of an application, and what it means; the diagnostics are real ones."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_controller.backends.contract import Phase, Verdict
from durablejob_controller.backends.yarn.managers import App
from durablejob_controller.backends.yarn.reading import run_of

EXITED = (
    "Application application_1_0003 failed 1 times due to AM Container for appattempt_1_0003_000001 exited with  "
    "exitCode: {}\nFailing this attempt.Diagnostics: [2026-11-22 12:54:12.403]Exception from container-launch.\n"
)
SILENT = "Application application_1_0003 failed 1 times due to ApplicationMaster for attempt appattempt_1_1 timed out."
NO_QUEUE = "Application application_1_0004 submitted by user etl to unknown queue: nope"
NO_FENCE = EXITED.format(-1000) + "File does not exist: hdfs://nn/staging/k/f/fence.zip\n"
NO_FILE = EXITED.format(-1000) + "File does not exist: hdfs://nn/apps/a.jar\njava.io.FileNotFoundException\n\tat x"


def app(state: str, final: str = "UNDEFINED", diagnostics: str = "", **more: Any) -> App:
    raw = {"id": "application_1_0001", "state": state, "finalStatus": final, "startedTime": 77, **more}
    return App.model_validate({**raw, "diagnostics": diagnostics})


@pytest.mark.parametrize(
    ("state", "phase"),
    [("NEW", Phase.QUEUED), ("NEW_SAVING", Phase.QUEUED), ("SUBMITTED", Phase.QUEUED), ("ACCEPTED", Phase.QUEUED),
     ("RUNNING", Phase.RUNNING), ("A_STATE_OF_THE_FUTURE", Phase.RUNNING)],
)  # fmt: skip
def test_a_state_that_is_no_end_is_active(state: str, phase: Phase) -> None:
    run = run_of(app(state))
    assert (run.phase, run.verdict) == (phase, None)


def test_the_start_of_what_is_not_saved_yet_is_not_told() -> None:
    """It may be gone after a crash, and has never begun then."""
    assert [run_of(app(state)).started_time for state in ("NEW", "NEW_SAVING")] == [None, None]
    assert {run_of(app(state)).started_time for state in ("SUBMITTED", "ACCEPTED", "RUNNING", "KILLED")} == {"77"}


@pytest.mark.parametrize(
    ("told", "verdict", "reason", "code"),
    [
        (app("FINISHED", "SUCCEEDED"), Verdict.SUCCEEDED, None, 0),
        (app("FINISHED", "FAILED", "User application exited with status 3"), Verdict.FAILED, None, 3),
        (app("FINISHED", "KILLED"), Verdict.KILLED, None, None),
        (app("FINISHED", "UNDEFINED"), Verdict.FAILED, "EndUndefined", None),
        (app("KILLED", "KILLED", "Application killed by user."), Verdict.KILLED, None, None),
        (app("FAILED", "FAILED", EXITED.format(3)), Verdict.FAILED, None, 3),
        (app("FAILED", "FAILED", EXITED.format(137)), Verdict.KILLED, None, 137),
        (app("FAILED", "FAILED", EXITED.format(-100)), Verdict.UNKNOWN, None, -100),
        (app("FAILED", "FAILED", SILENT), Verdict.UNKNOWN, None, None),
        (app("FAILED", "FAILED", EXITED.format(-104)), Verdict.FAILED, "MemoryExceeded", -104),
        (app("FAILED", "FAILED", EXITED.format(-102)), Verdict.FAILED, "Preempted", -102),
        (app("FAILED", "FAILED", NO_FILE), Verdict.REFUSED, "LocalizationFailed", -1000),
        (app("FAILED", "FAILED", NO_FENCE), Verdict.REFUSED, None, -1000),
        (app("FAILED", "FAILED", EXITED.format(-107)), Verdict.UNKNOWN, None, -107),
        (app("FAILED", "FAILED", NO_QUEUE), Verdict.FAILED, "QueueRefused", None),
        (app("FAILED", "FAILED", "something new"), Verdict.FAILED, "ApplicationFailed", None),
    ],
)  # fmt: skip
def test_each_end_is_told_by_state_final_status_and_diagnostics(
    told: App, verdict: Verdict, reason: str | None, code: int | None
) -> None:
    run = run_of(told)
    assert (run.phase, run.verdict, run.reason, run.exit_code) == (Phase.ENDED, verdict, reason, code)


def test_a_missing_file_is_named() -> None:
    assert "File does not exist: hdfs://nn/apps/a.jar" in str(run_of(app("FAILED", "FAILED", NO_FILE)).message)


def test_a_copy_on_a_node_where_the_first_run_has_ended_says_so() -> None:
    message = run_of(app("FAILED", "FAILED", EXITED.format(-107))).message
    assert "an earlier run of this application has ended on that node" in str(message)


def test_an_exit_code_is_said_in_a_sentence() -> None:
    message = run_of(app("FAILED", "FAILED", EXITED.format(3))).message
    assert message == "YARN says FAILED: the ApplicationMaster's container ended with exit code 3; see its stderr"


def test_sparks_own_exit_codes_are_explained() -> None:
    spark = run_of(app("FAILED", "FAILED", EXITED.format(13), applicationType="SPARK"))
    assert "exit code 13 (the program created no SparkContext" in str(spark.message)
    assert "SparkContext" not in str(run_of(app("FAILED", "FAILED", EXITED.format(13))).message)


def test_progress_is_told_unless_it_is_sparks_constant() -> None:
    own = run_of(app("RUNNING", progress=40.7, applicationType="X"))
    assert own.progress is not None
    assert own.progress.percent == 40
    assert run_of(app("RUNNING", progress=10.0, applicationType="SPARK")).progress is None


@pytest.mark.parametrize("url", ["UNASSIGNED", "", "javascript:x", "http://am/" + "x" * 1024, "http://am/\nline"])
def test_a_page_that_is_none_is_not_told(url: str) -> None:
    assert run_of(app("ACCEPTED", trackingUrl=url)).tracking_url is None
    assert run_of(app("ACCEPTED", trackingUrl="http://am:1/proxy/")).tracking_url == "http://am:1/proxy/"


@pytest.mark.parametrize("digits", [10, 20, 5000])
def test_a_number_that_is_no_exit_code_is_none(digits: int) -> None:
    """The diagnostics repeat what a program wrote: no text of one application may stop the reading of all."""
    run = run_of(app("FAILED", "FAILED", f"exit code {'9' * digits}"))
    assert (run.verdict, run.reason, run.exit_code) == (Verdict.FAILED, "ApplicationFailed", None)
