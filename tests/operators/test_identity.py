"""What a starting try is to the job it finds: the table of airflow.md, and that nothing is left out."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from durablejob_airflow.identity import Record, Relation, TaskIdentity, TryFacts, Verb, decide, relate
from durablejob_airflow.view import CancelView, HolderView, JobView

RECORD = Record("nonce", uid="u1", max_tries=2, clear_number=0)
HOLDER = HolderView(incarnation="nonce", id="ti-1", try_number=1, max_tries=2, clear_number=0)
ACTIVE = JobView("ns", "job", "u1", deployment="prod", holder=HOLDER, state="Running", number=1, external_id="driver-1")
RETRY = TryFacts("ti-2", try_number=2, max_tries=2)
SAME = TryFacts("ti-1", try_number=1, max_tries=2)
CLEAR = TryFacts("ti-2", try_number=2, max_tries=3, clear_number=1)
UNKNOWN = TryFacts("ti-2", try_number=2, max_tries=2, clear_number=1)
STALE = TryFacts("ti-0", try_number=1, max_tries=2)


def ended(outcome: str, **changes: object) -> JobView:
    """The job after its attempt has ended."""
    return replace(ACTIVE, state=outcome, outcome=outcome, **changes)


def cancelled_for(cause: str, job: JobView = ACTIVE) -> JobView:
    """The job with a wish that its attempt ends."""
    return replace(job, cancel=CancelView(job.attempt, cause, "ti-1"))


TABLE = [
    # what happened in Airflow, record, job, facts, verb
    ("first try", None, None, SAME, Verb.CREATE),
    ("killed between the record and the creation", Record("nonce"), None, RETRY, Verb.CREATE),
    ("killed between the creation and the record", Record("nonce"), ACTIVE, RETRY, Verb.TAKE_OVER),
    ("retry of an active job", RECORD, ACTIVE, RETRY, Verb.TAKE_OVER),
    ("retry after a failure", RECORD, ended("Failed"), RETRY, Verb.RAISE),
    ("retry after success", RECORD, ended("Succeeded"), RETRY, Verb.TAKE_OVER),
    ("retry after a loss", RECORD, ended("Lost"), RETRY, Verb.LOST),
    ("retry after a loss that a person accepted", RECORD, ended("Lost", accept_lost=1), RETRY, Verb.RAISE),
    ("retry while a timeout's cancel is under way", RECORD, cancelled_for("Timeout"), RETRY, Verb.AWAIT_END),
    ("retry after a timeout", RECORD, cancelled_for("Timeout", ended("Cancelled")), RETRY, Verb.RAISE),
    (
        "cancelled too late: it had succeeded",
        RECORD,
        cancelled_for("Timeout", ended("Succeeded")),
        RETRY,
        Verb.TAKE_OVER,
    ),
    (
        "retry after a person cancelled the job",
        RECORD,
        cancelled_for("User", ended("Cancelled")),
        RETRY,
        Verb.ENDED_BY_USER,
    ),
    ("resumption, reschedule, requeue", RECORD, ACTIVE, SAME, Verb.RESUME),
    ("resumption after the end", RECORD, ended("Failed"), SAME, Verb.RESUME),
    ("worker died after taking over a cleared job", RECORD, cancelled_for("Cleared"), SAME, Verb.AWAIT_END),
    ("the same, and the old attempt has ended", RECORD, cancelled_for("Cleared", ended("Cancelled")), SAME, Verb.RAISE),
    ("a frozen worker thaws after its successor took over", RECORD, ACTIVE, STALE, Verb.STALE),
    ("clear while active", RECORD, ACTIVE, CLEAR, Verb.CANCEL),
    ("clear after success", RECORD, ended("Succeeded"), CLEAR, Verb.RAISE),
    ("clear after failure", RECORD, ended("Failed"), CLEAR, Verb.RAISE),
    ("clear after a loss: the risk is still a person's to take", RECORD, ended("Lost"), CLEAR, Verb.LOST),
    ("clear after a person cancelled the job", RECORD, cancelled_for("User", ended("Cancelled")), CLEAR, Verb.RAISE),
    ("clear with lowered retries", RECORD, ended("Succeeded"), replace(CLEAR, max_tries=1), Verb.RAISE),
    ("clear while running, seen by on_kill, max_tries kept", RECORD, cancelled_for("Cleared"), UNKNOWN, Verb.AWAIT_END),
    ("the same, ended", RECORD, cancelled_for("Cleared", ended("Cancelled")), UNKNOWN, Verb.RAISE),
    ("the same, it had succeeded before", RECORD, cancelled_for("Cleared", ended("Succeeded")), UNKNOWN, Verb.RAISE),
    ("Airflow does not tell, active", RECORD, ACTIVE, UNKNOWN, Verb.TAKE_OVER),
    ("Airflow does not tell, succeeded", RECORD, ended("Succeeded"), UNKNOWN, Verb.TAKE_OVER),
    ("Airflow does not tell, failed", RECORD, ended("Failed"), UNKNOWN, Verb.RAISE),
    ("run re-created, old job active", None, ACTIVE, SAME, Verb.CANCEL),
    ("run re-created, old job done", None, ended("Succeeded"), SAME, Verb.RAISE),
    ("run re-created, killed before it took over", Record("other"), ended("Succeeded"), RETRY, Verb.RAISE),
    (
        "raised, and the controller has not noticed yet",
        RECORD,
        replace(ended("Failed"), attempt=2),
        RETRY,
        Verb.TAKE_OVER,
    ),
    ("job deleted by hand", RECORD, None, RETRY, Verb.GONE),
    ("job deleted by hand, then cleared", RECORD, None, CLEAR, Verb.CREATE),
    (
        "job expired after success, zombie retried",
        replace(RECORD, result={"name": "x"}),
        None,
        RETRY,
        Verb.RETURN_RESULT,
    ),
    ("job without a holder", RECORD, replace(ACTIVE, holder=None), RETRY, Verb.TAKE_OVER),
]


@pytest.mark.parametrize(("record", "job", "facts", "verb"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_event_has_its_verdict(record, job, facts, verb):
    assert decide(record, job, facts).verb is verb


def test_resubmitting_a_lost_attempt_says_whose_survival_is_accepted():
    decision = decide(RECORD, ended("Lost"), RETRY, on_lost="resubmit")
    assert (decision.verb, decision.accept_lost) == (Verb.RAISE, 1)


def test_without_durable_a_retry_is_a_new_attempt_after_the_old_one_has_ended():
    assert decide(RECORD, ACTIVE, RETRY, durable=False).verb is Verb.CANCEL
    assert decide(RECORD, ended("Succeeded"), RETRY, durable=False).verb is Verb.RAISE
    assert decide(RECORD, ACTIVE, SAME, durable=False).verb is Verb.RESUME


@pytest.mark.parametrize(
    ("facts", "verb"), [(RETRY, Verb.TAKE_OVER), (UNKNOWN, Verb.TAKE_OVER), (SAME, Verb.RESUME), (CLEAR, Verb.RAISE)]
)
def test_an_end_that_skips_the_task_is_no_failure_to_a_retry(facts, verb):
    assert decide(RECORD, ended("Failed"), facts, skips=True).verb is verb
    assert decide(RECORD, ended("Failed"), RETRY, durable=False, skips=True).verb is Verb.RAISE


def every_case():
    """Every combination of what the rules look at."""
    records = (None, Record("nonce"), RECORD, Record("other", uid="u0"))
    causes = (None, "Cleared", "MarkedFailed", "MarkedSuccess", "Skipped", "Timeout", "User")
    outcomes = (None, "Succeeded", "Failed", "Cancelled", "Lost")
    facts = (SAME, RETRY, CLEAR, UNKNOWN, STALE)
    for record, cause, outcome, fact, lost, durable, behind in itertools.product(
        records, causes, outcomes, facts, ("fail", "resubmit"), (True, False), (True, False)
    ):
        job = ended(outcome) if outcome else ACTIVE
        job = replace(job, attempt=2) if behind else job
        yield record, cancelled_for(cause, job) if cause else job, fact, lost, durable


def test_every_combination_has_a_verdict_and_no_program_runs_twice():
    for record, job, facts, lost, durable in every_case():
        decision = decide(record, job, facts, lost, durable)
        if decision.verb is Verb.RAISE:
            assert job.ended is not None, "a new attempt only after the old one has ended"
            assert job.ended != "Lost" or decision.accept_lost == job.attempt
        if decision.verb is Verb.CANCEL:
            assert job.ended is None
            assert job.cancelled_for is None, "a wish stands once it is written"
        if decision.verb is Verb.AWAIT_END:
            assert job.ended is None
        if relate(record, job, facts) is Relation.STALE:
            assert decision.verb is Verb.STALE
        assert decision.why


def test_what_was_done_leads_on_and_never_round_in_a_circle():
    """After each write the job is looked at again: the sequence ends in waiting, or in a failure."""
    final = {Verb.RESUME, Verb.STALE, Verb.GONE, Verb.LOST, Verb.ENDED_BY_USER, Verb.RETURN_RESULT}
    for record, first, facts, lost, durable in every_case():
        known, job = record, first
        for _ in range(6):
            decision = decide(known, job, facts, lost, durable)
            if decision.verb in final:
                break
            known = known or Record("fresh")
            job = after(decision.verb, job, HolderView(known.nonce, facts.id, facts.try_number, facts.max_tries))
        else:
            pytest.fail(f"{record} {facts} {first} goes round")


def after(verb: Verb, job: JobView, mine: HolderView) -> JobView:
    """The job after a decision was carried out."""
    if verb is Verb.TAKE_OVER:
        return replace(job, holder=mine)
    if verb is Verb.CANCEL:
        return replace(job, holder=mine, cancel=CancelView(job.attempt, "Cleared", mine.id))
    if verb is Verb.AWAIT_END:
        return replace(job, number=job.attempt, outcome="Cancelled", state="Cancelled")
    assert verb is Verb.RAISE
    return replace(job, holder=mine, attempt=job.attempt + 1, cancel=None)


def test_the_name_is_the_same_for_the_same_task_and_no_other():
    task = TaskIdentity("prod", "sales", "manual__2026-01-01T00:00:00+00:00", "load")
    others = [
        replace(task, deployment="test"),
        replace(task, dag_id="sales2"),
        replace(task, run_id="manual__2"),
        replace(task, task_id="load2"),
        replace(task, map_index=0),
        replace(task, map_index=1),
        replace(task, private="abc"),
    ]
    names = [other.name for other in others]
    assert task.name == replace(task).name
    assert len({task.name, *names}) == len(others) + 1
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= 63 for name in names)
    assert task.name.startswith("sales-load-")


def test_long_ids_are_labels_by_their_hash_and_annotations_in_full():
    task = TaskIdentity("prod", "d" * 200, "run:1", "group.load", map_index=3)
    assert all(len(value) <= 63 for value in task.labels.values())
    assert task.labels["durablejob.io/map-index"] == "3"
    assert task.annotations["durablejob.io/dag-id"] == "d" * 200
    assert task.annotations["durablejob.io/deployment"] == "prod"


def test_a_record_survives_the_store_and_foreign_values_count_as_absent():
    record = Record("n", "u", 3, 1, {"name": "x"})
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(record.to_json()).result == {"name": "x"}
    assert [Record.from_json(value) for value in (None, "text", {}, {"nonce": 3})] == [None] * 4
