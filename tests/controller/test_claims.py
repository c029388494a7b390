"""Who is given leave to start a program, and whose report of its end is noted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durablejob_api.job import DurableJob
from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Claim, ClaimState, Ending, Outcome, State
from durablejob_controller.backends.contract import Phase, Run
from durablejob_controller.claims import ClaimId, Denied, Granted, grant_start, note_ended
from tests.controller.situations import NOW, OPEN, STARTED, UID, by_id, current, ended, job

MINE = ClaimId("n", "j", UID, attempt=1, number=1)
_OPEN = current(claim=OPEN)
_SECOND = current(claim=Claim(number=2, state=ClaimState.OPEN))
_ORPHANED = job(_OPEN, deleting=True, deletion_policy=DeletionPolicy.ORPHAN)


def _ask(given: DurableJob | None, claim: ClaimId = MINE, nonce: str = "nonce-1") -> Granted | Denied:
    return grant_start(given, claim, nonce, "d1", NOW)


@pytest.mark.parametrize(
    ("given", "claim"),
    [
        pytest.param(None, MINE, id="the job is gone"),
        pytest.param(job(_OPEN), replace(MINE, uid="uid-0"), id="another job of that name"),
        pytest.param(job(), MINE, id="nothing is recorded"),
        pytest.param(job(current()), MINE, id="there is no claim"),
        pytest.param(job(_OPEN), replace(MINE, attempt=2), id="an attempt that is not the current one"),
        pytest.param(job(_SECOND), MINE, id="a claim that was replaced"),
        pytest.param(job(_OPEN), replace(MINE, number=2), id="a claim that was never made"),
        pytest.param(job(current(claim=Claim(number=1, state=ClaimState.REVOKED))), MINE, id="a revoked claim"),
        pytest.param(job(_OPEN, cancelled=True), MINE, id="its end is wished"),
        pytest.param(job(_OPEN, deleting=True), MINE, id="the job is being deleted"),
        pytest.param(job(current(claim=OPEN, outcome=Outcome.FAILED)), MINE, id="the attempt has ended"),
        pytest.param(job(current(claim=STARTED, outcome=Outcome.LOST)), MINE, id="also for the winner"),
    ],
)
def test_leave_is_denied(given: DurableJob | None, claim: ClaimId) -> None:
    assert isinstance(_ask(given, claim), Denied)


@pytest.mark.parametrize("given", [job(_OPEN), _ORPHANED], ids=["an open claim", "deleted with Orphan"])
def test_leave_is_given_by_a_write_that_names_the_winner(given: DurableJob) -> None:
    answer = grant_start(
        given, MINE, "nonce-1", "d1", NOW, Run("d1", Phase.RUNNING, started_time="t0", tracking_url="http://ui")
    )
    assert isinstance(answer, Granted)
    assert answer.status is not None
    assert answer.status.current is not None
    assert answer.status.current.claim == STARTED
    assert (answer.status.state, answer.status.external_id) == (State.RUNNING, "d1")
    assert answer.status.tracking_url == "http://ui"
    assert (answer.status.current.started_at, answer.status.current.run_started_time) == (NOW, "t0")


def test_the_winner_may_ask_again() -> None:
    for given in (job(current(claim=STARTED)), job(current(claim=STARTED), cancelled=True)):
        assert _ask(given) == Granted(None)


def test_another_jvm_of_the_same_driver_is_denied() -> None:
    assert isinstance(_ask(job(current(claim=STARTED)), nonce="nonce-2"), Denied)


def test_a_start_keeps_the_reserved_ids_first_start_where_the_caller_says_none() -> None:
    answer = _ask(job(by_id(claim=OPEN, run_started_time="t0")))
    assert isinstance(answer, Granted)
    assert answer.status is not None
    assert answer.status.current is not None
    assert answer.status.current.run_started_time == "t0"


def test_the_winners_report_is_noted() -> None:
    status = note_ended(job(current(claim=STARTED), state=State.RUNNING), MINE, "nonce-1", Ending.THREW, NOW)
    assert status is not None
    assert status.current is not None
    assert status.current.claim == ended("threw")
    assert (status.state, status.current.outcome) == (State.RUNNING, None)


@pytest.mark.parametrize(
    ("given", "claim", "nonce"),
    [
        pytest.param(None, MINE, "nonce-1", id="of a job that is gone"),
        pytest.param(job(current(claim=STARTED)), replace(MINE, uid="uid-0"), "nonce-1", id="of another job"),
        pytest.param(job(current(claim=STARTED)), MINE, "nonce-2", id="of another JVM"),
        pytest.param(job(current(claim=STARTED)), replace(MINE, number=2), "nonce-1", id="of another claim"),
        pytest.param(job(current(claim=STARTED)), replace(MINE, attempt=2), "nonce-1", id="of another attempt"),
        pytest.param(job(_OPEN), MINE, "nonce-1", id="of one that never started"),
        pytest.param(job(current(claim=ended("returned"))), MINE, "nonce-1", id="made before"),
        pytest.param(job(current(claim=STARTED, outcome=Outcome.LOST)), MINE, "nonce-1", id="after the end"),
        pytest.param(job(current()), MINE, "nonce-1", id="without a claim"),
    ],
)
def test_a_report_is_not_noted(given: DurableJob | None, claim: ClaimId, nonce: str) -> None:
    assert note_ended(given, claim, nonce, Ending.RETURNED, NOW) is None
