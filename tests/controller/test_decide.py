"""``decide`` as a table: a case for each row of the verdict table, and each rule before the start and after the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durablejob_api import CREATED_AT
from durablejob_api.job import DurableJob
from durablejob_api.marks import RELEASE, RUN_RESTORED
from durablejob_api.spec import DeletionPolicy, Holder
from durablejob_api.status import Claim, ClaimState, Outcome, Progress, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Deferred, Offer, Phase, Rejected, Run, Traits, Verdict
from durablejob_controller.decide import decide
from durablejob_controller.views import NoSite, Record, Seen, Site
from tests.controller.situations import (
    CLAIM,
    FENCED_ID,
    GATED_ID,
    NOTHING_YET,
    NOW,
    OBJECT,
    OPEN,
    STARTED,
    UID,
    ago,
    by_id,
    by_object,
    current,
    ended,
    job,
    listed,
    old,
    reservation,
    run,
    seen,
    site,
    told,
)

ORPHAN: dict[str, Any] = {"deleting": True, "deletion_policy": DeletionPolicy.ORPHAN}
REFUSAL = Rejected("NoSuchQueue", "there is no queue etl")
NO_ROOM = Deferred("QuotaExceeded", "few, used: 5, limited: 5")
GONE = NoSite(reasons.backend_not_found("JobBackend", "b", "n"), final=False, missing=0.0)
NOT_ALLOWED = NoSite(reasons.backend_not_allowed("b", "n"), final=True)
UNJUDGED: dict[str, Any] = {"body_hash": "", "unfit": NoSite(reasons.not_judged(OSError()), final=False)}
UNFIT: dict[str, Any] = {"body_hash": "", "unfit": NOT_ALLOWED}
BLOCKED = reasons.backend_not_ready("b", "Unreachable", "no route to host")
RUNNING, QUEUED, INERT = Phase.RUNNING, Phase.QUEUED, Phase.INERT


def doubtful(seconds: float, *runs: Run, hold: float = 0.0) -> Seen:
    """Submissions have been unclear for so long."""
    return seen(*runs, hold=hold, doubt="401", tries=30, trying=seconds)


Row = tuple[DurableJob, Site | NoSite, Seen, str]

BEFORE_THE_START: dict[str, Row] = {
    "our finalizer comes first": (job(guarded=False), site(), seen(), "guard"),
    "a deleted job without it is left alone": (job(guarded=False, deleting=True), site(), seen(), "wait"),
    "the key is looked up first": (job(), site(), NOTHING_YET, "look up"),
    "an old list is no look": (job(), site(), old(), "look up"),
    "a claim needs nothing reserved": (job(), site(), seen(), "Submitting, submit"),
    "an id is reserved": (job(), site(FENCED_ID), seen(), "reserve"),
    "an id is looked for exactly: a list may lack what has ended": (job(), site(FENCED_ID), listed(),
        "look up exactly"),
    "also before it is cancelled": (job(cancelled=True), site(FENCED_ID), listed(), "look up exactly"),
    "what cannot be reserved is told": (job(), site(FENCED_ID), seen(hold=4, doubt="no room"),
        "Pending BackendUnreachable"),
    "what there is no room for now is told": (job(), site(FENCED_ID), seen(hold=4, deferred=NO_ROOM),
        "Pending QuotaExceeded"),
    "and tried again, too": (job(), site(FENCED_ID), seen(deferred=NO_ROOM), "reserve"),
    "and tried again after the pause": (job(), site(FENCED_ID), seen(doubt="no room"), "reserve"),
    "what was reserved is recorded, then submitted": (
        job(), site(FENCED_ID), seen(offer=Offer(application_id="a1")), "Submitting, submit"),
    "what was put together before the backend was edited is reserved again": (
        job(), site(FENCED_ID), seen(offer=Offer(application_id="a1", body_hash="hash-0")), "reserve"),
    "an object is reserved": (job(), site(OBJECT), seen(), "reserve"),
    "what cannot even be reserved has failed": (job(), site(OBJECT), seen(rejected=REFUSAL), "Failed NoSuchQueue"),
    "nor can an id": (job(), site(FENCED_ID), seen(rejected=REFUSAL), "Failed NoSuchQueue"),
    "a wish comes before the refusal": (job(cancelled=True), site(OBJECT), seen(rejected=REFUSAL), "Cancelled"),
    "an inert object is no run": (job(), site(OBJECT), seen(run("o1", INERT)), "reserve"),
    "a run without a reservation is never submitted again": (
        job(), site(), seen(run("d1", RUNNING, claim=1)), "Lost FoundWithoutReservation"),
    "not even if it is cancelled": (
        job(cancelled=True), site(), seen(run("d1", RUNNING, claim=1)), "Lost FoundWithoutReservation"),
    "it is looked for, if only an old list shows it": (job(), site(), old(run("d1", RUNNING, claim=1)), "look up"),
    "an id is looked for exactly: a list shows also what pretends": (job(), site(FENCED_ID),
        listed(run("a9", RUNNING)), "look up exactly"),
    "or its backend has gone": (job(), GONE, old(run("d1", RUNNING, claim=1)), "Lost FoundWithoutReservation"),
    "a suspended job waits and says so": (job(suspend=True), site(), NOTHING_YET, "Pending Suspended"),
    "a cancelled one looks before it ends": (job(cancelled=True), site(), old(), "look up"),
    "a cancelled one ends": (job(cancelled=True), site(), seen(), "Cancelled"),
    "what was set aside for a cancelled one is removed": (job(cancelled=True), site(OBJECT), seen(run("o1", INERT)),
        "kill o1"),
    "but not for what an old list shows": (job(cancelled=True), site(OBJECT), old(run("o1", INERT)), "look up"),
    "with a deleted one it goes by itself": (job(deleting=True), site(OBJECT), seen(run("o1", INERT)), "Cancelled"),
    "a cancelled one ends also if there is no answer": (
        job(cancelled=True), site(), Seen(trouble="timeout"), "Cancelled"),
    "a cancelled one ends also without a backend": (job(cancelled=True), GONE, NOTHING_YET, "Cancelled"),
    "a deleted one ends": (job(deleting=True), site(), seen(), "Cancelled"),
    "a deleted one ends also with Orphan: there is nothing to leave": (job(**ORPHAN), site(), seen(), "Cancelled"),
    "a missing backend may still appear": (job(), GONE, NOTHING_YET, "Pending BackendNotFound"),
    "but not for ever": (job(), replace(GONE, missing=61.0), NOTHING_YET, "Failed BackendNotFound"),
    "a refusal is final": (job(), NOT_ALLOWED, NOTHING_YET, "Failed BackendNotAllowed"),
    "a backend that is not ready is waited for": (
        job(), site(blocked=BLOCKED), NOTHING_YET, "Pending BackendNotReady"),
    "no usable answer is said, not judged": (job(), site(), Seen(trouble="timeout"), "Pending BackendUnreachable"),
}  # fmt: skip

_LATE: dict[str, Any] = {"active_deadline_seconds": 60}
_OPEN = current(claim=OPEN)
_FIFTH = current(claim=Claim(number=9, state=ClaimState.OPEN, unstarted=4))

AN_OPEN_CLAIM: dict[str, Row] = {
    "a cancel revokes and ends in one write": (job(_OPEN, cancelled=True), site(), NOTHING_YET,
        "Cancelled claim 1 Revoked"),
    "a deletion too": (job(_OPEN, deleting=True), site(), NOTHING_YET, "Cancelled claim 1 Revoked"),
    "Orphan waits for the start": (job(_OPEN, **ORPHAN), site(), seen(run("d1", RUNNING, claim=1)),
        "Submitted WaitingForStart"),
    "the deadline too": (job(_OPEN, **_LATE), site(), NOTHING_YET, "Failed DeadlineExceeded claim 1 Revoked"),
    "a definite refusal too": (job(_OPEN), site(), seen(rejected=REFUSAL), "Failed NoSuchQueue claim 1 Revoked"),
    "a cancel needs no backend": (job(_OPEN, cancelled=True), GONE, NOTHING_YET, "Cancelled claim 1 Revoked"),
    "nor does the deadline": (job(_OPEN, **_LATE), GONE, NOTHING_YET, "Failed DeadlineExceeded claim 1 Revoked"),
    "an active run will ask the gate": (job(_OPEN), site(), old(run("d1", QUEUED, claim=1)), "Submitted"),
    "and may take a while first": (job(current(claim=OPEN, reservation=reservation(at=NOW))), site(),
        seen(run("d1", RUNNING, claim=1)), "wait 30"),
    "an end in an old list is not believed": (job(_OPEN), site(), old(run("d1", Verdict.FAILED, claim=1)), "look up"),
    "a run that ended with a cause ends the attempt": (job(_OPEN), site(),
        seen(run("d1", Verdict.FAILED, claim=1, reason="NoResources")), "Failed NoResources claim 1 Revoked"),
    "one that ended without gets another claim": (job(_OPEN), site(),
        seen(run("d1", Verdict.FAILED, claim=1)), "Submitting claim 2 Open, submit"),
    "after the fifth the gate is unreachable": (job(_FIFTH), site(),
        seen(run("d1", Verdict.FAILED, claim=9)), "Failed GateUnreachable claim 9 Revoked"),
    "one that ended well was started by a record that is no more": (job(_OPEN), site(),
        seen(run("d1", Verdict.SUCCEEDED, claim=1)), "Lost FoundWithoutReservation claim 1 Revoked"),
    "absence in an old list counts for nothing": (job(_OPEN), site(), old(), "look up"),
    "nothing there: another claim": (job(_OPEN), site(), listed(), "Submitting claim 2 Open, submit"),
    "a run under another claim is nothing": (job(_OPEN), site(), listed(run("d1", RUNNING, claim=7)),
        "Submitting claim 2 Open, submit"),
    "but not at once": (job(_OPEN), site(), seen(hold=8), "wait 8"),
    "not when it would be refused today": (job(_OPEN), site(**UNFIT), seen(),
        "Failed BackendNotAllowed claim 1 Revoked"),
    "nor while it cannot be judged": (job(_OPEN), site(**UNJUDGED), seen(), "Submitting NotJudged"),
    "under its id neither": (job(by_id(claim=OPEN)), site(GATED_ID, **UNJUDGED), seen(), "Submitting NotJudged"),
    "and it fails where it would be refused": (job(by_id(claim=OPEN)), site(GATED_ID, **UNFIT), seen(),
        "Failed BackendNotAllowed claim 1 Revoked"),
    "and not with another body": (job(_OPEN), site(body_hash="hash-2"), seen(), "Failed BodyChanged claim 1 Revoked"),
    "and not on a backend that ceased to be ready": (job(_OPEN), site(blocked=BLOCKED), seen(),
        "Submitting BackendNotReady"),
    "an id is asked for by itself": (job(by_id(claim=OPEN)), site(GATED_ID), listed(), "look up exactly"),
    "and submitted again under itself": (job(by_id(claim=OPEN)), site(GATED_ID), seen(), "submit"),
    "not with another body": (job(by_id(claim=OPEN)), site(GATED_ID, body_hash="hash-2"), seen(),
        "Failed BodyChanged claim 1 Revoked"),
    "not to a life that may have forgotten it": (job(by_id(claim=OPEN)), site(GATED_ID),
        seen(life="life-2", remembers=False), "Failed ForgottenBeforeStart claim 1 Revoked"),
    "but to one that remembers, whatever a probe has found": (job(by_id(claim=OPEN)), site(GATED_ID, blocked=BLOCKED),
        seen(life="life-2"), "submit"),
    "another's application has the id": (job(by_id(claim=OPEN)), site(GATED_ID), seen(run("a1", RUNNING, foreign=True)),
        "Failed IdTaken claim 1 Revoked"),
    "an id's run that ended unstarted ends the attempt": (job(by_id(claim=OPEN)), site(GATED_ID),
        seen(run("a1", Verdict.FAILED)), "Failed EndedBeforeStart claim 1 Revoked"),
    "what its submissions are answered is told": (job(by_id(claim=OPEN)), site(GATED_ID), doubtful(20, hold=4),
        "Submitting BackendUnreachable"),
    "but only when that lasts": (job(by_id(claim=OPEN)), site(GATED_ID), doubtful(9, hold=4), "wait 4"),
    "and it is submitted again": (job(by_id(claim=OPEN)), site(GATED_ID), doubtful(20), "submit"),
    "but not for ever": (job(by_id(claim=OPEN)), site(GATED_ID), doubtful(900),
        "Failed NeverListed claim 1 Revoked"),
    "nor when nothing can be submitted any more": (job(by_id(claim=OPEN)), site(GATED_ID), seen(closed=True),
        "Failed ClosedBeforeStart claim 1 Revoked"),
    "absent, but a run took the files with it": (job(by_id(claim=OPEN)), site(GATED_ID),
        seen(closed=True, cleanly=True), "Lost claim 1 Revoked"),
    "no usable answer: wait": (job(_OPEN), site(), NOTHING_YET, "look up"),
    "no usable answer for long: say so": (job(_OPEN), site(), Seen(trouble="timeout"),
        "Submitting BackendUnreachable"),
    "another backend of the name is not asked": (job(_OPEN), site(cluster_id="c-2"), seen(),
        "Submitting BackendReplaced"),
}  # fmt: skip

_WON = current(claim=STARTED, started_at=ago(60))
_KILLING = _WON.model_copy(update={"cancel_requested_at": ago(5)})
_ONCE = by_id(claim=STARTED.model_copy(update={"driver": "a1"}), run_started_time="t0")

THE_WINNER: dict[str, Row] = {
    "it is alive": (job(_WON, state=State.RUNNING), site(), seen(run("d1", RUNNING, claim=1)), "Running"),
    "a cancel is noted, then it is killed": (job(_WON, cancelled=True), site(), seen(run("d1", RUNNING, claim=1)),
        "Cancelling, kill d1"),
    "and killed again": (job(_KILLING, cancelled=True), site(), seen(run("d1", RUNNING, claim=1)), "kill d1"),
    "the deadline too": (job(_WON, **_LATE), site(), seen(run("d1", RUNNING, claim=1)),
        "Cancelling DeadlineExceeded, kill d1"),
    "Orphan lets it go": (job(_WON, **ORPHAN), site(), NOTHING_YET, "unguard"),
    "it succeeded": (job(_WON), site(), old(run("d1", Verdict.SUCCEEDED, claim=1)), "Succeeded"),
    "it succeeded before the kill": (job(_KILLING, cancelled=True), site(),
        seen(run("d1", Verdict.SUCCEEDED, claim=1)), "Succeeded"),
    "it failed": (job(_WON), site(), seen(run("d1", Verdict.FAILED, claim=1)), "Failed ProgramFailed"),
    "it failed with a reason": (job(_WON), site(), seen(run("d1", Verdict.FAILED, claim=1, reason="OOMKilled")),
        "Failed OOMKilled"),
    "we killed it": (job(_KILLING, cancelled=True), site(), seen(run("d1", Verdict.KILLED, claim=1)), "Cancelled"),
    "the deadline killed it": (job(_KILLING, **_LATE), site(), seen(run("d1", Verdict.KILLED, claim=1)),
        "Failed DeadlineExceeded"),
    "somebody killed it": (job(_WON), site(), seen(run("d1", Verdict.KILLED, claim=1)), "Failed Killed"),
    "somebody deleted it": (job(_WON), site(), seen(run("d1", Verdict.DELETED, claim=1)), "Failed DeletedExternally"),
    "it had returned before it was killed": (job(current(claim=ended("returned")), cancelled=True), site(),
        seen(run("d1", Verdict.KILLED, claim=1)), "Succeeded"),
    "it had thrown before it was killed": (job(current(claim=ended("threw")), cancelled=True), site(),
        seen(run("d1", Verdict.KILLED, claim=1)), "Failed ProgramFailed"),
    "a bare exit says nothing": (job(current(claim=ended("exit")), cancelled=True), site(),
        seen(run("d1", Verdict.KILLED, claim=1)), "Cancelled"),
    "absent from a list: it is asked for by its id": (job(_WON), site(), listed(), "look up exactly"),
    "absent, and it had returned": (job(current(claim=ended("returned"))), site(), seen(), "Succeeded"),
    "absent, and it had thrown": (job(current(claim=ended("threw"))), site(), seen(), "Failed ProgramFailed"),
    "absent: it has its grace": (job(_WON), site(), seen(lasting=20), "wait 40"),
    "absent for long": (job(_WON), site(), seen(lasting=60), "Lost"),
    "lost from sight: it has its grace": (job(_WON), site(), seen(run("d1", Verdict.UNKNOWN), lasting=1), "wait 59"),
    "lost from sight for long": (job(_WON), site(), seen(run("d1", Verdict.UNKNOWN), lasting=60), "Lost LostSight"),
    "lost from sight after a bare exit": (job(current(claim=ended("exit"))), site(),
        seen(run("d1", Verdict.UNKNOWN), lasting=60), "Lost LostSight"),
    "a loser's end is not its end": (job(_WON), site(), seen(run("d2", Verdict.FAILED, claim=1), lasting=1), "wait 59"),
    "nor is that of a run of another start": (job(_ONCE), site(GATED_ID),
        seen(run("a1", Verdict.FAILED, started_time="t1"), lasting=1), "wait 59"),
    "its own start is": (job(_ONCE), site(GATED_ID), seen(run("a1", Verdict.FAILED, started_time="t0")),
        "Failed ProgramFailed"),
    "no answer: wait": (job(_WON), site(), NOTHING_YET, "look up"),
    "its backend is gone": (job(_WON, state=State.RUNNING), GONE, NOTHING_YET, "Running BackendNotFound"),
    "its backend is gone for good, says an administrator": (
        job(_WON, deleting=True, annotations={RELEASE: "true"}), GONE, NOTHING_YET, "unguard"),
}  # fmt: skip

_NOTED = by_object(cancel_requested_at=ago(5), reason="NoSuchQueue", message="there is no queue etl")

_PREEMPTED = by_object(cancel_requested_at=ago(5), reason="Preempted", message="it was suspended")
_BEGUN = by_object(run_started_time="t0")

AN_OBJECT: dict[str, Row] = {
    "inert: activate it": (job(by_object()), site(OBJECT), seen(run("o1", INERT)), "submit"),
    "but not at once": (job(by_object()), site(OBJECT), seen(run("o1", INERT), hold=8), "wait 8"),
    "inert, and what the activations are answered is told": (job(by_object()), site(OBJECT),
        doubtful(20, run("o1", INERT), hold=4), "Submitting BackendUnreachable"),
    "inert, and activated for long: remove it": (job(by_object()), site(OBJECT), doubtful(900, run("o1", INERT)),
        "Cancelling NeverListed, kill o1"),
    "inert and cancelled: remove it": (job(by_object(), cancelled=True), site(OBJECT), seen(run("o1", INERT)),
        "Cancelling, kill o1"),
    "inert and overdue": (job(by_object(), **_LATE), site(OBJECT), seen(run("o1", INERT)),
        "Cancelling DeadlineExceeded, kill o1"),
    "inert and refused": (job(by_object()), site(OBJECT), seen(run("o1", INERT), rejected=REFUSAL),
        "Cancelling NoSuchQueue, kill o1"),
    "it runs, and its end was noted before, for a reason that shows no more": (job(_NOTED), site(OBJECT),
        seen(run("o1", RUNNING)), "kill o1"),
    "inert, and the refusal is known from before": (job(_NOTED), site(OBJECT), seen(run("o1", INERT)), "kill o1"),
    "inert, and it would be refused today": (job(by_object()), site(OBJECT, **UNFIT), seen(run("o1", INERT)),
        "Cancelling BackendNotAllowed, kill o1"),
    "inert, and it cannot be judged": (job(by_object()), site(OBJECT, **UNJUDGED), seen(run("o1", INERT)),
        "Submitting NotJudged"),
    "inert, and the body has changed": (job(by_object()), site(OBJECT, body_hash="hash-2"), seen(run("o1", INERT)),
        "Cancelling BodyChanged, kill o1"),
    "inert by an old list, and the body has changed: it may be active by now": (job(by_object()),
        site(OBJECT, body_hash="hash-2"), old(run("o1", INERT)), "look up"),
    "inert, with Orphan: it is activated first": (job(by_object(), **ORPHAN), site(OBJECT), seen(run("o1", INERT)),
        "submit"),
    "another one under the name is killed": (job(by_object()), site(OBJECT), seen(run("o2", RUNNING)), "kill o2"),
    "absent from a list": (job(by_object()), site(OBJECT), listed(), "look up exactly"),
    "absent": (job(by_object()), site(OBJECT), seen(), "Lost"),
    "absent, as was wished": (job(by_object(), cancelled=True), site(OBJECT), seen(), "Cancelled"),
    "absent, as the deadline wanted": (job(by_object(), **_LATE), site(OBJECT), seen(), "Failed DeadlineExceeded"),
    "absent after a refusal": (job(_NOTED), site(OBJECT), seen(), "Failed NoSuchQueue"),
    "absent, with Orphan": (job(by_object(), **ORPHAN), site(OBJECT), seen(), "unguard"),
    "it runs": (job(by_object()), site(OBJECT), seen(run("o1", RUNNING)), "Running"),
    "it waits": (job(by_object()), site(OBJECT), seen(run("o1", QUEUED)), "Submitted"),
    "it waits for something": (job(by_object(), state=State.SUBMITTED), site(OBJECT),
        seen(run("o1", QUEUED, reason="ImagePullBackOff")), "Submitted ImagePullBackOff"),
    "it waits for something, and that was told": (job(by_object(reason="ImagePullBackOff"), state=State.SUBMITTED),
        site(OBJECT), seen(run("o1", QUEUED, reason="ImagePullBackOff")), "wait"),
    "it waits for something, not for long": (
        job(current(reservation=reservation(object_uid="o1", at=ago(2)), reason="Submitted"), state=State.SUBMITTED),
        site(OBJECT), seen(run("o1", QUEUED, reason="Unschedulable")), "wait 3"),
    "it waits for something, and there is a time for it to end": (
        job(by_object(reason="ImagePullBackOff"), state=State.SUBMITTED), site(OBJECT),
        seen(run("o1", QUEUED, reason="ImagePullBackOff", expires=ago(-30))), "wait 30"),
    "it has waited too long for something": (
        job(by_object(reason="ImagePullBackOff"), state=State.SUBMITTED), site(OBJECT),
        seen(run("o1", QUEUED, reason="ImagePullBackOff", expires=ago(1))), "Cancelling ImagePullBackOff, kill o1"),
    "it has not begun in time, and nobody knows why": (
        job(by_object(), state=State.SUBMITTED), site(OBJECT), seen(run("o1", QUEUED, expires=ago(1))),
        "Cancelling NotStarted, kill o1"),
    "it has begun, and is late for nothing": (
        job(by_object(started_at=ago(60), reason="Running"), state=State.RUNNING), site(OBJECT),
        seen(run("o1", QUEUED, expires=ago(1))), "wait"),
    "it runs, with Orphan: it is released": (job(by_object(), **ORPHAN), site(OBJECT),
        seen(run("o1", RUNNING, held=True)), "release"),
    "then let go": (job(by_object(), **ORPHAN), site(OBJECT), seen(run("o1", RUNNING)), "unguard"),
    "it runs and is cancelled": (job(by_object(), cancelled=True), site(OBJECT), seen(run("o1", RUNNING)),
        "Cancelling, kill o1"),
    "it was preempted: that is noted, and it is killed": (job(by_object(), state=State.RUNNING), site(OBJECT),
        seen(run("o1", QUEUED, condemned="Preempted")), "Cancelling Preempted, kill o1"),
    "somebody has deleted it, and it runs on": (job(by_object(), state=State.RUNNING), site(OBJECT),
        seen(run("o1", RUNNING, condemned="DeletedExternally")), "Cancelling DeletedExternally, kill o1"),
    "preempted, and a cancel is wished": (job(by_object(), cancelled=True), site(OBJECT),
        seen(run("o1", QUEUED, condemned="Preempted")), "Cancelling, kill o1"),
    "preempted and noted: kill it again": (job(_PREEMPTED), site(OBJECT),
        seen(run("o1", QUEUED, condemned="Preempted")), "kill o1"),
    "preempted, noted, and gone": (job(_PREEMPTED), site(OBJECT), seen(run("o1", Verdict.DELETED)),
        "Failed Preempted"),
    "preempted and noted, but it had succeeded": (job(_PREEMPTED), site(OBJECT), seen(run("o1", Verdict.SUCCEEDED)),
        "Succeeded"),
    "preempted, with Orphan: it is released": (job(by_object(), **ORPHAN), site(OBJECT),
        seen(run("o1", QUEUED, condemned="Preempted", held=True)), "release"),
    "its start time is gone: it was preempted": (job(_BEGUN, state=State.RUNNING), site(OBJECT),
        seen(run("o1", QUEUED)), "Cancelling Preempted, kill o1"),
    "an old answer lacks the start time that another controller has recorded": (job(_BEGUN, state=State.RUNNING),
        site(OBJECT), old(run("o1", RUNNING)), "look up"),
    "it has another start time: it began again": (job(_BEGUN, state=State.RUNNING), site(OBJECT),
        seen(run("o1", RUNNING, started_time="t1")), "Cancelling Preempted, kill o1"),
    "it has its own start time": (job(_BEGUN, state=State.RUNNING), site(OBJECT),
        seen(run("o1", RUNNING, started_time="t0")), "Running"),
    "another start has succeeded": (job(_BEGUN), site(OBJECT), seen(run("o1", Verdict.SUCCEEDED, started_time="t1")),
        "Failed Preempted"),
    "its own start has succeeded": (job(_BEGUN), site(OBJECT), seen(run("o1", Verdict.SUCCEEDED, started_time="t0")),
        "Succeeded"),
    "it ended": (job(by_object()), site(OBJECT), seen(run("o1", Verdict.FAILED, exit_code=3)), "Failed ProgramFailed"),
    "somebody deleted it": (job(by_object()), site(OBJECT), seen(run("o1", Verdict.DELETED)),
        "Failed DeletedExternally"),
}  # fmt: skip

_SEEN = by_id(run_started_time="t0")
_AT: dict[str, Any] = {"started_time": "t0"}

A_RESERVED_ID: dict[str, Row] = {
    "absent: submit it again": (job(by_id()), site(FENCED_ID), seen(), "submit"),
    "but not at once": (job(by_id()), site(FENCED_ID), seen(hold=8), "wait 8"),
    "absent, and what the submissions are answered is told": (job(by_id()), site(FENCED_ID), doubtful(20, hold=4),
        "Submitting BackendUnreachable"),
    "absent, and submitted for long: note that first": (job(by_id()), site(FENCED_ID), doubtful(900),
        "Cancelling NeverListed"),
    "absent, submitted for long, noted: close": (
        job(by_id(cancel_requested_at=NOW, reason="NeverListed"), state=State.CANCELLING), site(FENCED_ID),
        doubtful(901), "close"),
    "absent, submitted for long, noted and closed": (
        job(by_id(cancel_requested_at=NOW, reason="NeverListed"), state=State.CANCELLING), site(FENCED_ID),
        seen(closed=True), "Failed NeverListed"),
    "submitted for long, but it is there": (job(_SEEN, state=State.SUBMITTED), site(FENCED_ID),
        doubtful(901, run("a1", QUEUED, **_AT)), "Submitted"),
    "absent from a list": (job(by_id()), site(FENCED_ID), listed(), "look up exactly"),
    "absent and cancelled: close first": (job(by_id(), cancelled=True), site(FENCED_ID), seen(), "close"),
    "then end": (job(by_id(), cancelled=True), site(FENCED_ID), seen(closed=True), "Cancelled"),
    "absent and overdue": (job(by_id(), **_LATE), site(FENCED_ID), seen(closed=True), "Failed DeadlineExceeded"),
    "refused for certain: note why first": (job(by_id()), site(FENCED_ID), seen(rejected=REFUSAL),
        "Cancelling NoSuchQueue"),
    "refused for certain, and noted: close": (
        job(by_id(cancel_requested_at=NOW, reason="NoSuchQueue"), state=State.CANCELLING), site(FENCED_ID), seen(),
        "close"),
    "refused for certain, noted and closed": (
        job(by_id(cancel_requested_at=NOW, reason="NoSuchQueue"), state=State.CANCELLING), site(FENCED_ID),
        seen(closed=True), "Failed NoSuchQueue"),
    "refused for certain, and closed": (job(by_id()), site(FENCED_ID), seen(rejected=REFUSAL, closed=True),
        "Failed NoSuchQueue"),
    "a refusal says nothing of a run that is known": (job(_SEEN, state=State.SUBMITTED), site(FENCED_ID),
        seen(run("a1", QUEUED, **_AT), rejected=REFUSAL), "Submitted"),
    "it cannot be judged": (job(by_id()), site(FENCED_ID, **UNJUDGED), seen(), "Submitting NotJudged"),
    "it cannot be judged, and it is closed": (job(by_id()), site(FENCED_ID, **UNJUDGED), seen(closed=True),
        "Failed ClosedBeforeStart"),
    "it would be refused today": (job(by_id()), site(FENCED_ID, **UNFIT), seen(), "close"),
    "it would be refused today, and it is closed": (job(by_id()), site(FENCED_ID, **UNFIT), seen(closed=True),
        "Failed BackendNotAllowed"),
    "the body has changed": (job(by_id()), site(FENCED_ID, body_hash="hash-2"), seen(), "close"),
    "the body has changed, and it is closed": (job(by_id()), site(FENCED_ID, body_hash="hash-2"), seen(closed=True),
        "Failed BodyChanged"),
    "closed, and nobody remembers why": (job(by_id()), site(FENCED_ID), seen(closed=True), "Failed ClosedBeforeStart"),
    "absent, but a run took the fence with it": (job(by_id()), site(FENCED_ID), seen(closed=True, cleanly=True),
        "Lost"),
    "absent after it was seen: close first": (job(_SEEN), site(FENCED_ID), seen(), "close"),
    "absent after it was seen, and closed": (job(_SEEN), site(FENCED_ID), seen(closed=True), "Lost"),
    "absent in a life that may have forgotten it": (job(by_id()), site(FENCED_ID),
        seen(life="life-2", remembers=False), "close"),
    "closed in a life that may have forgotten it": (job(by_id()), site(FENCED_ID),
        seen(life="life-2", remembers=False, closed=True), "Lost"),
    "absent in another life that remembers": (job(by_id()), site(FENCED_ID), seen(life="life-2"), "submit"),
    "whatever a probe has found": (job(by_id()), site(FENCED_ID, blocked=BLOCKED), seen(life="life-2"), "submit"),
    "only a refused copy, behind our closed fence": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.REFUSED, **_AT), closed=True), "Cancelled"),
    "refused for want of another file: close first": (job(by_id()), site(FENCED_ID),
        seen(run("a1", Verdict.REFUSED, reason="LocalizationFailed", **_AT)), "close"),
    "refused for want of another file, and closed": (job(by_id()), site(FENCED_ID),
        seen(run("a1", Verdict.REFUSED, reason="LocalizationFailed", **_AT), closed=True),
        "Failed LocalizationFailed"),
    "only a refused copy, behind a fence that a run took": (job(by_id()), site(FENCED_ID),
        seen(run("a1", Verdict.REFUSED, **_AT), closed=True, cleanly=True), "Lost RefusedCopy"),
    "another start under the id is killed": (job(_SEEN), site(FENCED_ID),
        seen(run("a1", RUNNING, started_time="t1")), "kill a1"),
    "another start under the id, ended": (job(_SEEN), site(FENCED_ID),
        seen(run("a1", Verdict.FAILED, started_time="t1"), closed=True), "Lost ForeignRun"),
    "another's application has the id: it is not killed": (job(by_id()), site(FENCED_ID),
        seen(run("a1", RUNNING, foreign=True, **_AT)), "close"),
    "another's application has the id, and it is closed": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", RUNNING, foreign=True, **_AT), closed=True), "Lost ForeignRun"),
    "at first sight it is looked at exactly": (job(by_id()), site(FENCED_ID), listed(run("a1", RUNNING, **_AT)),
        "look up exactly"),
    "its start is recorded at first sight": (job(by_id()), site(FENCED_ID), seen(run("a1", RUNNING, **_AT)),
        "Submitted"),
    "if it has ended by then, closing tells": (job(by_id()), site(FENCED_ID),
        listed(run("a1", Verdict.SUCCEEDED, **_AT)), "close, t0 was seen"),
    "also where it was closed before": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.SUCCEEDED, **_AT), closed=True), "close, t0 was seen"),
    "then comes the end": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.SUCCEEDED, **_AT), closed=True, known="t0"), "Succeeded"),
    "a clean end that has taken the fence tells it, too": (job(by_id()), site(FENCED_ID),
        seen(run("a1", Verdict.SUCCEEDED, **_AT), closed=True, cleanly=True), "Succeeded"),
    "absent, closed, and a run was seen": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(closed=True, known="t0"), "Lost"),
    "which run was seen is as good as recorded": (job(by_id()), site(FENCED_ID),
        seen(run("a1", RUNNING, started_time="t1"), closed=True, known="t0"), "kill a1"),
    "a run was seen, and a copy was killed": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.KILLED, started_time="t1"), closed=True, known="t0"), "Lost ForeignRun"),
    "a run was seen killed": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.KILLED, **_AT), closed=True, known="t0"), "Cancelled"),
    "a run was seen, and a copy was refused": (job(by_id()), site(FENCED_ID),
        seen(run("a1", Verdict.REFUSED, started_time="t1"), closed=True, known="t0"), "Lost ForeignRun"),
    "and why it is to end is not forgotten over it": (
        job(by_id(cancel_requested_at=NOW, reason="NoSuchQueue"), state=State.CANCELLING), site(FENCED_ID),
        seen(run("a1", RUNNING, **_AT)), "Cancelling NoSuchQueue"),
    "one that the system may still lose is not recorded": (job(by_id(), state=State.SUBMITTED), site(FENCED_ID),
        listed(run("a1", QUEUED)), "Submitted"),
    "first seen active when a clean end has taken the fence: a copy is killed": (job(by_id()), site(FENCED_ID),
        seen(run("a1", RUNNING, **_AT), closed=True, cleanly=True), "kill a1"),
    "and is not called Cancelled": (job(by_id(), cancelled=True), site(FENCED_ID),
        seen(run("a1", Verdict.KILLED, **_AT), closed=True, cleanly=True), "Lost ForeignRun"),
    "a run that was recorded may be killed after it has taken the fence": (job(_SEEN, cancelled=True),
        site(FENCED_ID), seen(run("a1", Verdict.KILLED, **_AT), closed=True, cleanly=True), "Cancelled"),
    "it runs": (job(_SEEN), site(FENCED_ID), seen(run("a1", RUNNING, **_AT)), "Running"),
    "it is queued": (job(_SEEN), site(FENCED_ID), seen(run("a1", QUEUED, **_AT)), "Submitted"),
    "it runs and is cancelled": (job(_SEEN, cancelled=True), site(FENCED_ID), seen(run("a1", RUNNING, **_AT)),
        "Cancelling, kill a1"),
    "it runs, with Orphan": (job(_SEEN, **ORPHAN), site(FENCED_ID), seen(run("a1", RUNNING, **_AT)), "unguard"),
    "it ended: close first": (job(_SEEN), site(FENCED_ID), seen(run("a1", Verdict.SUCCEEDED, **_AT)), "close"),
    "it ended, and it is closed": (job(_SEEN), site(FENCED_ID), seen(run("a1", Verdict.SUCCEEDED, **_AT), closed=True),
        "Succeeded"),
    "its node is lost": (job(_SEEN), site(FENCED_ID), seen(run("a1", Verdict.UNKNOWN, **_AT), closed=True),
        "Lost LostSight"),
}  # fmt: skip

_DONE = current(claim=ended("returned"), outcome=Outcome.SUCCEEDED, finished_at=ago(100))
_REVOKED = current(claim=Claim(number=1, state=ClaimState.REVOKED), outcome=Outcome.CANCELLED, finished_at=ago(100))
_LOST = current(claim=STARTED, outcome=Outcome.LOST, finished_at=ago(100))
_FOUND = current(reservation=None, outcome=Outcome.LOST, finished_at=ago(100))
_OBJECT = by_object(outcome=Outcome.SUCCEEDED, finished_at=ago(100))
_HOLDER = Holder(incarnation="i", id="t")
_STAGED = current(
    reservation=reservation(application_id="a1", staging="f/h"), outcome=Outcome.SUCCEEDED, finished_at=ago(100)
)
_LEFT = seen(closed=True, held=True)

AFTER_THE_END: dict[str, Row] = {
    "its time to live runs": (job(_DONE, ttl_seconds_after_finished=160), site(), seen(), "wait 60"),
    "its time to live is over": (job(_DONE, ttl_seconds_after_finished=100), site(), seen(), "delete"),
    "a result that nobody took is kept four times as long": (
        job(current(outcome=Outcome.FAILED, finished_at=ago(4000)), ttl_seconds_after_finished=2000, holder=_HOLDER),
        site(), seen(), "wait 4000"),
    "a result that was taken is not": (
        job(_DONE, ttl_seconds_after_finished=100, holder=_HOLDER.model_copy(update={"acknowledged": 1})),
        site(), seen(), "delete"),
    "what was staged is looked for before its resource goes": (job(_STAGED, deleting=True), site(FENCED_ID), listed(),
        "look up exactly"),
    "what was staged is swept before its resource goes": (job(_STAGED, deleting=True), site(FENCED_ID), _LEFT,
        "release"),
    "and before the next attempt begins": (job(_STAGED, attempt=2), site(FENCED_ID), _LEFT, "release"),
    "what was swept holds nothing up": (job(_STAGED, deleting=True), site(FENCED_ID), seen(closed=True), "unguard"),
    "a staging area that does not answer is not waited for": (job(_STAGED, deleting=True), site(FENCED_ID),
        Seen(trouble="no route to host"), "unguard"),
    "until then it is left": (job(_STAGED, ttl_seconds_after_finished=160), site(FENCED_ID), _LEFT, "wait 60"),
    "a stray is killed": (job(_REVOKED), site(), seen(run("d1", QUEUED, claim=1)), "kill d1"),
    "only after a fresh look: it may be gone by now": (job(_REVOKED), site(), old(run("d1", QUEUED, claim=1)),
        "look up"),
    "what never started is looked for in the queue before its resource goes": (job(_REVOKED, deleting=True), site(),
        NOTHING_YET, "look up"),
    "and before the next attempt": (job(_REVOKED, attempt=2), site(), old(), "look up"),
    "and is let go when nothing is there": (job(_REVOKED, deleting=True), site(), seen(), "unguard"),
    "or nobody answers": (job(_REVOKED, deleting=True), site(), Seen(trouble="no route"), "unguard"),
    "where nobody waits for it, the system is asked until it answers": (
        job(_REVOKED, ttl_seconds_after_finished=160), site(), Seen(trouble="no route"), "look up"),
    "or until its time to live is over": (
        job(_REVOKED, ttl_seconds_after_finished=100), site(), Seen(trouble="no route"), "delete"),
    "the winner's tail is not": (job(_DONE, ttl_seconds_after_finished=160), site(), seen(run("d1", RUNNING)),
        "wait 60"),
    "whether an object is held is looked up: who wrote the end may have died": (job(_OBJECT), site(OBJECT),
        NOTHING_YET, "look up"),
    "what is held is released": (job(_OBJECT), site(OBJECT), seen(run("o1", Verdict.SUCCEEDED, held=True)), "release"),
    "a deleted job is let go": (job(_DONE, deleting=True), site(), NOTHING_YET, "unguard"),
    "once": (job(_DONE, deleting=True, guarded=False), site(), NOTHING_YET, "wait"),
    "one with an object only after a fresh look": (job(_OBJECT, deleting=True), site(OBJECT), old(), "look up"),
    "then it is let go": (job(_OBJECT, deleting=True), site(OBJECT), listed(run("o1", Verdict.SUCCEEDED)), "unguard"),
    "or when its backend is back": (job(_OBJECT, deleting=True), GONE, NOTHING_YET, "wait"),
    "or when an administrator says that it will not be": (
        job(_OBJECT, deleting=True, annotations={RELEASE: "true"}), GONE, NOTHING_YET, "unguard"),
    "the next attempt begins with a write of its own": (job(_DONE, attempt=2), site(), seen(),
        "Pending NextAttempt attempt 2"),
    "not while it is deleted": (job(_DONE, attempt=2, deleting=True), site(), seen(), "unguard"),
    "after Lost not unless that is accepted": (job(_LOST, attempt=2, ttl_seconds_after_finished=160), site(), seen(),
        "wait 60"),
    "after Lost when it is accepted": (job(_LOST, attempt=2, accept_lost=1), site(), seen(),
        "Pending NextAttempt attempt 2"),
    "what was lost and is found ends first": (job(_LOST, attempt=2, accept_lost=1), site(), seen(run("d1", RUNNING)),
        "kill d1"),
    "what was lost is looked for before the next attempt": (job(_LOST, attempt=2, accept_lost=1), site(),
        old(run("d1", RUNNING)), "look up"),
    "what was lost is looked for before its resource goes": (job(_LOST, deleting=True), site(), NOTHING_YET, "look up"),
    "unless the system does not answer: the risk was taken": (job(_LOST, deleting=True), site(),
        Seen(trouble="no route to host"), "unguard"),
    "what was lost and is found may run on otherwise": (job(_LOST, ttl_seconds_after_finished=160), site(),
        seen(run("d1", RUNNING)), "wait 60"),
    "what was lost and is found ends with its resource": (job(_LOST, deleting=True), site(), seen(run("d1", RUNNING)),
        "kill d1"),
    "a run found without a reservation is not killed": (job(_FOUND, ttl_seconds_after_finished=160), site(),
        seen(run("d1", RUNNING)), "wait 60"),
    "unless its end is wished": (job(_FOUND, deleting=True), site(), seen(run("d1", RUNNING)), "kill d1"),
}  # fmt: skip

_BACK = reasons.storage_rolled_back("b", "1000")
_COPY: dict[str, Any] = {"annotations": {CREATED_AT: "2026-01-01T10:00:00Z"}}
_LET_RUN: dict[str, Any] = {"annotations": {**_COPY["annotations"], RUN_RESTORED: UID}}
_LET_ANOTHER_RUN: dict[str, Any] = {"annotations": {**_COPY["annotations"], RUN_RESTORED: "another"}}

RESTORED: dict[str, Row] = {
    "after a restore of etcd nothing is reserved": (job(), site(FENCED_ID, held=_BACK), seen(),
        "Pending StorageRolledBack"),
    "nor claimed": (job(), site(held=_BACK), seen(), "Pending StorageRolledBack"),
    "nor claimed again, though a run has failed": (job(_OPEN), site(held=_BACK),
        seen(run("d1", Verdict.FAILED, claim=1)), "Submitting StorageRolledBack"),
    "nor submitted again": (job(by_id()), site(FENCED_ID, held=_BACK), seen(), "Submitting StorageRolledBack"),
    "nor is an object activated": (job(by_object()), site(OBJECT, held=_BACK), seen(run("o1", INERT)),
        "Submitting StorageRolledBack"),
    "nor the next attempt begun": (job(by_id(number=2), attempt=2), site(FENCED_ID, held=_BACK), seen(),
        "Submitting StorageRolledBack attempt 2"),
    "but what runs is followed": (job(_WON), site(held=_BACK), seen(run("d1", Verdict.SUCCEEDED, claim=1)),
        "Succeeded"),
    "and what is found without a reservation is Lost": (job(), site(held=_BACK), seen(run("d1", RUNNING, claim=1)),
        "Lost FoundWithoutReservation"),
    "and a cancel ends it": (job(by_object(), cancelled=True), site(OBJECT, held=_BACK), seen(run("o1", INERT)),
        "Cancelling, kill o1"),
    "a copy of a job does not run by itself": (job(**_COPY), site(), seen(), "Pending Restored"),
    "a person lets it run": (job(**_LET_RUN), site(), seen(), "Submitting, submit"),
    "a copy of that one is held again": (job(**_LET_ANOTHER_RUN), site(), seen(), "Pending Restored"),
    "a copy that is cancelled ends": (job(cancelled=True, **_COPY), site(), seen(), "Cancelled"),
    "a copy with its status is followed": (job(_WON, **_COPY), site(), seen(run("d1", Verdict.SUCCEEDED, claim=1)),
        "Succeeded"),
    "its next attempt was asked for by somebody": (job(current(2, reservation=None), attempt=2, **_COPY), site(),
        seen(), "Submitting attempt 2, submit"),
}  # fmt: skip

TABLE = {
    f"{part}: {name}": row
    for part, rows in {
        "before the start": BEFORE_THE_START,
        "an open claim": AN_OPEN_CLAIM,
        "the winner": THE_WINNER,
        "an object": AN_OBJECT,
        "a reserved id": A_RESERVED_ID,
        "after the end": AFTER_THE_END,
        "restored": RESTORED,
    }.items()
    for name, row in rows.items()
}


@pytest.mark.parametrize(("given", "backend", "sight", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_verdict_is(given: DurableJob, backend: Site | NoSite, sight: Seen, expected: str) -> None:
    assert told(decide(given, backend, sight, NOW)) == expected


def test_what_is_news_is_said_once() -> None:
    first = decide(job(suspend=True), site(), NOTHING_YET, NOW)
    assert isinstance(first, Record)
    again = job(suspend=True).model_copy(update={"status": first.status})
    assert told(decide(again, site(), NOTHING_YET, NOW)) == "wait"


def test_progress_is_news_when_it_is_due_and_an_end_keeps_none() -> None:
    given = job(by_object(started_at=NOW), state=State.RUNNING)
    first = decide(given, site(OBJECT), seen(run("o1", RUNNING, progress=Progress(percent=3))), NOW)
    assert isinstance(first, Record)
    given = given.model_copy(update={"status": first.status})
    further = run("o1", RUNNING, progress=Progress(percent=4))
    assert told(decide(given, site(OBJECT), seen(further), NOW)) == "wait"
    again = decide(given, site(OBJECT), seen(further, progress_due=True), NOW)
    assert isinstance(again, Record)
    assert again.status.progress == Progress(percent=4)
    for verdict in (Verdict.SUCCEEDED, Verdict.KILLED):
        over = decide(given, site(OBJECT), seen(run("o1", verdict)), NOW)
        assert isinstance(over, Record)
        assert over.status.progress is None


def test_the_reservation_pins_the_backend_and_the_body() -> None:
    decision = decide(job(), site(FENCED_ID), seen(offer=Offer(application_id="a1", incarnation="life-7")), NOW)
    assert isinstance(decision, Record)
    assert decision.status.current is not None
    assert decision.status.current.reservation == reservation(application_id="a1", incarnation="life-7", at=NOW)


def test_an_end_keeps_what_the_system_said_of_it() -> None:
    decision = decide(job(by_object()), site(OBJECT), seen(run("o1", Verdict.FAILED, exit_code=3)), NOW)
    assert isinstance(decision, Record)
    assert decision.status.current is not None
    assert (decision.status.current.exit_code, decision.status.current.finished_at) == (3, NOW)


@pytest.mark.parametrize("traits", [CLAIM, OBJECT, GATED_ID, FENCED_ID])
def test_no_answer_at_all_is_never_judged(traits: Traits) -> None:
    for attempt in (current(claim=OPEN), current(claim=STARTED), by_object(), by_id()):
        decision = decide(job(attempt), site(traits), NOTHING_YET, NOW)
        assert told(decision) == "look up"
