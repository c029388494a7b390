"""A person's wish, or only the loss of a process?"""

from __future__ import annotations

import itertools

import pytest

from durablejob_airflow.wishes import ABSENT, UNKNOWN, Act, Own, SeenState, of_trigger, of_worker, pick

STATES = (
    "running", "failed", "success", "skipped", "removed", "restarting", "up_for_retry", "up_for_reschedule",
    "deferred", "queued", "scheduled", "upstream_failed", None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("own", "seen", "act", "cause"),
    [
        (Own.LIVE, SeenState(state="running"), Act.RESCHEDULE, ""),
        (Own.LIVE, SeenState(state="failed"), Act.CANCEL, "MarkedFailed"),
        (Own.LIVE, SeenState(state="success"), Act.CANCEL, "MarkedSuccess"),
        (Own.LIVE, SeenState(state="skipped"), Act.CANCEL, "Skipped"),
        (Own.LIVE, SeenState(state="removed"), Act.KEEP, ""),
        (Own.ARCHIVED, SeenState(state="restarting"), Act.CANCEL, "Cleared"),
        (Own.ARCHIVED, SeenState(state="failed"), Act.KEEP, ""),
        (Own.ARCHIVED, SeenState(state="up_for_retry"), Act.KEEP, ""),
        (Own.ARCHIVED, SeenState(state=None), Act.KEEP, ""),
        (Own.ARCHIVED, ABSENT, Act.CANCEL, "User"),
        (Own.LIVE, UNKNOWN, Act.KEEP, ""),
        (Own.UNKNOWN, SeenState(state="failed"), Act.KEEP, ""),
    ],
)
def test_in_a_worker(own, seen, act, cause):
    verdict = of_worker(own, seen)
    assert (verdict.act, verdict.cause) == (act, cause)


def test_only_a_persons_wish_cancels():
    for own, state in itertools.product(Own, STATES):
        verdict = of_worker(own, SeenState(state=state))
        wished = (own is Own.LIVE and state in ("failed", "success", "skipped")) or (
            own is Own.ARCHIVED and state == "restarting"
        )
        assert (verdict.act is Act.CANCEL) == wished
    for state in STATES:
        assert (of_trigger(SeenState(state=state)).act is Act.CANCEL) == (state in ("failed", "success", "skipped"))
    assert of_trigger(UNKNOWN).act is Act.KEEP
    assert of_trigger(ABSENT).act is Act.CANCEL


def test_the_task_instance_is_found_in_airflows_answer():
    answer = {"run": {"plain": "failed", "mapped_0": "running", "mapped_1": None}}
    assert pick(answer, "run", "plain", -1) == SeenState(state="failed")
    assert pick(answer, "run", "mapped", 0) == SeenState(state="running")
    assert pick(answer, "run", "mapped", 1) == SeenState(state=None)
    assert pick(answer, "run", "mapped", 2) == ABSENT
    assert pick({}, "run", "plain", -1) == ABSENT
    assert pick(None, "run", "plain", -1) == UNKNOWN
