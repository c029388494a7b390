"""What this process remembers of the jobs, and how it stays right over changes."""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import pytest

from durablejob_api.names import attempt_key
from durablejob_api.spec import DeletionPolicy
from durablejob_controller.backends.contract import Offer, Phase, Rejected, Run, Sighting, Verdict
from durablejob_controller.jobs import CONFIRMED_FOR, JobEntry, Jobs, address_of, parse
from durablejob_controller.kube import Object
from tests.controller.fake_kube import job_object

UID = "uid-1"
FAKE = ("JobBackend", "data", "fake")


def version(number: int, uid: str = UID, status: Object | None = None, **spec: Any) -> Object:
    raw = job_object(**spec)
    raw["metadata"] |= {"uid": uid, "resourceVersion": str(number)}
    return raw | ({"status": status} if status else {})


def status(attempt: int = 1, outcome: str | None = None) -> Object:
    ended = {"outcome": outcome} if outcome else {}
    current = {"number": attempt, "key": attempt_key(UID, attempt), **ended}
    return {"state": outcome or "Running", "current": current}


def put(jobs: Jobs, raw: Object) -> JobEntry:
    entry = jobs.put(raw)
    assert entry is not None
    return entry


@pytest.mark.parametrize(("number", "taken"), [(9, False), (10, False), (11, True), (100, True)])
def test_only_a_newer_version_is_taken(number: int, taken: bool) -> None:
    jobs = Jobs()
    put(jobs, version(10))
    assert (jobs.put(version(number, suspend=True)) is not None) == taken
    entry = jobs.get(UID)
    assert entry is not None
    assert entry.job.spec.suspend == taken


def test_versions_that_are_not_numbers_are_all_taken_once() -> None:
    jobs = Jobs()
    raw = version(1)
    raw["metadata"]["resourceVersion"] = "abc"
    put(jobs, copy.deepcopy(raw))
    assert jobs.put(copy.deepcopy(raw)) is None
    raw["metadata"]["resourceVersion"] = "abb"
    put(jobs, raw)


def test_the_memory_of_a_job_outlives_its_versions() -> None:
    jobs = Jobs()
    entry = put(jobs, version(1))
    entry.tries, entry.parked_until = 3, math.inf
    assert entry.parked
    before = entry.read
    time.sleep(0.001)
    assert put(jobs, version(2)) is entry
    assert (entry.tries, entry.parked) == (3, False)
    assert entry.read > before


def test_a_spec_that_cannot_be_read_says_what_is_wrong() -> None:
    raw = version(1, status=status())
    raw["spec"]["activeDeadlineSeconds"] = -1
    entry = put(Jobs(), raw)
    assert entry.invalid is not None
    assert entry.invalid.final
    assert entry.invalid.why.reason == "InvalidSpec"
    assert "activeDeadlineSeconds" in entry.invalid.why.message
    assert entry.job.metadata.uid == UID
    assert entry.job.current is not None


def test_a_spec_of_a_newer_version_is_read_without_what_is_new() -> None:
    holder = {"incarnation": "i", "id": "ti-1", "acknowledged": 1, "newer": True}
    wishes = {"deletionPolicy": "Orphan", "ttlSecondsAfterFinished": 60, "cancel": {"attempt": 1, "newer": [1]}}
    job, invalid = parse(version(1, newer={"a": 1}, holder=holder, **wishes))
    assert invalid is not None
    assert not invalid.final  # its author is not to blame
    assert invalid.why.reason == "ControllerTooOld"
    assert "holder.newer" in invalid.why.message
    spec = job.spec
    assert spec.cancel is not None
    assert spec.holder is not None
    assert (spec.cancel.attempt, spec.holder.acknowledged) == (1, 1)
    assert (spec.deletion_policy, spec.ttl_seconds_after_finished) == (DeletionPolicy.ORPHAN, 60)
    assert address_of(job) == FAKE


def test_a_newer_versions_kind_of_work_is_no_verdict_either() -> None:
    raw = version(1, newer={"a": 1}, deletionPolicy="Orphan")
    del raw["spec"]["plugin"]
    job, invalid = parse(raw)
    assert invalid is not None
    assert not invalid.final
    assert job.spec.deletion_policy is DeletionPolicy.ORPHAN


def test_a_newer_versions_value_is_no_verdict_either() -> None:
    job, invalid = parse(version(1, deletionPolicy="Abandon", cancel={"attempt": 1}))
    assert invalid is not None
    assert not invalid.final
    assert invalid.why.reason == "ControllerTooOld"
    assert job.spec.cancel is not None


def test_a_status_that_cannot_be_read_is_no_reason_to_end_a_job() -> None:
    job, invalid = parse(version(1, status={**status(), "state": "Resting"}, activeDeadlineSeconds=-1))
    assert job.status is None
    assert invalid is not None
    assert not invalid.final


def test_how_a_job_may_end_is_read_of_a_spec_that_cannot_be_read_as_a_whole() -> None:
    wishes: Any = {"cancel": {"attempt": 1}, "deletionPolicy": "Orphan", "ttlSecondsAfterFinished": 60}
    job, invalid = parse(version(1, activeDeadlineSeconds=-1, **wishes))
    assert invalid is not None
    assert invalid.final
    assert job.spec.cancel is not None
    assert (job.spec.deletion_policy, job.spec.ttl_seconds_after_finished) == (DeletionPolicy.ORPHAN, 60)
    job, _ = parse(version(1, holder={"id": 7}, **wishes))  # has its holder taken the result? Nobody knows
    assert (job.spec.deletion_policy, job.spec.ttl_seconds_after_finished) == (DeletionPolicy.ORPHAN, 604_800)


def test_what_has_begun_is_followed_whatever_was_written_since() -> None:
    begun = status()
    begun["current"]["startedAt"] = "2026-01-01T00:00:00Z"
    assert parse(version(1, status=begun, newer=True))[1] is None
    assert parse(version(1, status=status(), newer=True))[1] is not None


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"attempt": 0},
        {"attempt": True, "x": 1},
        {"attempt": 10**9},
        {"attempt": "many"},
        {"backendRef": []},
        None,
        7,
    ],
)
@pytest.mark.parametrize("bad_status", [None, {"state": "Strange"}, {"current": {"number": "x"}}])
def test_no_object_is_too_strange_to_be_taken_in(spec: Any, bad_status: Any) -> None:
    raw = {"metadata": version(1)["metadata"], "spec": spec, "status": bad_status}
    job, invalid = parse(raw)
    assert invalid
    assert job.metadata.name == "load"
    assert put(Jobs(), raw).invalid == invalid


def test_a_job_is_found_by_the_key_of_its_attempt() -> None:
    jobs = Jobs()
    put(jobs, version(1))
    assert jobs.uid_of(attempt_key(UID, 1)) == UID
    put(jobs, version(2, status=status(outcome="Failed"), attempt=2))
    assert jobs.uid_of(attempt_key(UID, 1)) == UID  # attempt 2 is only wished for
    put(jobs, version(3, status=status(2), attempt=2))
    assert jobs.uid_of(attempt_key(UID, 1)) is None
    assert jobs.uid_of(attempt_key(UID, 2)) == UID
    jobs.remove(UID)
    assert jobs.uid_of(attempt_key(UID, 2)) is None
    assert len(jobs) == 0


def test_only_unfinished_jobs_are_users_of_their_backend() -> None:
    jobs = Jobs()
    put(jobs, version(1))
    put(jobs, version(1, uid="uid-2"))
    assert jobs.users(FAKE) == {UID, "uid-2"}
    put(jobs, version(2, status=status(outcome="Succeeded")))
    assert jobs.users(FAKE) == {"uid-2"}
    put(jobs, version(3, status=status(outcome="Succeeded"), attempt=2))
    assert jobs.users(FAKE) == {UID, "uid-2"}
    jobs.remove("uid-2")
    jobs.remove("nobody")
    assert jobs.users(FAKE) == {UID}


def test_a_job_that_names_another_backend_is_a_user_of_that() -> None:
    jobs = Jobs()
    put(jobs, version(1))
    ref = {"kind": "ClusterJobBackend", "name": "prod", "type": "Plugin"}
    put(jobs, version(2, backendRef=ref))
    assert jobs.users(FAKE) == set()
    assert jobs.users(("ClusterJobBackend", "", "prod")) == {UID}


def test_a_cluster_backend_has_no_namespace() -> None:
    ref = {"kind": "ClusterJobBackend", "name": "prod", "type": "Plugin"}
    assert address_of(parse(version(1, backendRef=ref))[0]) == ("ClusterJobBackend", "", "prod")
    assert address_of(parse(version(1))[0]) == FAKE


def test_another_attempt_begins_without_what_was_learnt_about_the_last() -> None:
    jobs = Jobs()
    entry = put(jobs, version(1, status=status(1)))
    entry.saw(Sighting((Run("d", Phase.RUNNING),), "life"), 5.0, exact=True)
    entry.tries, entry.not_before = 2, 9.0
    put(jobs, version(2, status=status(2), attempt=2))
    assert (entry.sighting, entry.exact, entry.asked, entry.tries, entry.not_before) == (None, False, 0.0, 0, 0.0)


def test_a_repeated_answer_keeps_its_age_and_an_older_one_is_ignored() -> None:
    entry = put(Jobs(), version(1))
    absent, there = Sighting((), "life"), Sighting((Run("d", Phase.RUNNING),), "life")
    entry.saw(absent, 1.0, exact=True)
    entry.saw(absent, 2.0, exact=False)
    assert (entry.since, entry.asked, entry.exact) == (1.0, 2.0, False)
    entry.saw(there, 1.5, exact=True)
    assert entry.sighting == absent
    entry.saw(there, 3.0, exact=True)
    assert (entry.since, entry.sighting) == (3.0, there)


ABSENT, THERE = Sighting((), "life"), Sighting((Run("d", Phase.RUNNING),), "life")


def test_an_exact_answer_stands_beside_batches_that_say_the_same() -> None:
    entry = put(Jobs(), version(1))
    sent = entry.read
    entry.saw(ABSENT, sent + 0.002, exact=False)  # it overtook the exact look-up, which was sent before
    entry.saw(ABSENT, sent + 0.001, exact=True)
    assert entry.confirmed
    entry.saw(ABSENT, sent + 0.003, exact=False)
    assert entry.confirmed
    entry.saw(THERE, sent + 0.004, exact=False)
    assert (entry.sighting, entry.fresh, entry.confirmed) == (THERE, True, False)


def test_an_exact_answer_from_before_the_version_does_not_replace_a_fresh_batch() -> None:
    entry = put(Jobs(), version(1))
    entry.saw(ABSENT, entry.read + 0.001, exact=False)
    entry.saw(ABSENT, entry.read - 0.001, exact=True)
    assert (entry.fresh, entry.confirmed) == (True, False)


def test_a_foreign_run_which_no_batch_shows_does_not_make_each_answer_new() -> None:
    entry = put(Jobs(), version(1))
    sent = entry.read
    foreign = Sighting((Run("a1", Phase.ENDED, foreign=True),), "life")
    for number in range(3):
        entry.saw(foreign, sent + number + 0.1, exact=True)
        entry.saw(ABSENT, sent + number + 0.2, exact=False)
    assert entry.since == sent + 0.1


def test_an_offer_of_a_life_that_is_over_is_forgotten() -> None:
    entry = put(Jobs(), version(1))
    for life, kept in (("life", True), ("next life", False)):
        entry.offer = Offer("a1", incarnation="life")
        entry.saw(Sighting((), life), time.monotonic(), exact=True)
        assert (entry.offer is not None) is kept


def test_a_run_under_our_key_in_another_namespace_is_nobodys() -> None:
    entry = put(Jobs(), version(1))
    own, forged = Run("o1", Phase.INERT, namespace="data"), Run("o2", Phase.RUNNING, namespace="elsewhere")
    entry.saw(Sighting((forged, own), "life"), time.monotonic(), exact=True)
    assert entry.sighting == Sighting((own,), "life")


def test_a_refusal_to_reserve_is_forgotten_when_somebody_has_reserved() -> None:
    jobs = Jobs()
    entry = put(jobs, version(1))
    entry.rejected = Rejected("Quota", "none left")
    reservation = {"backendUID": "b", "backendType": "Plugin", "clusterID": "c", "bodyHash": "h"}
    reserved = status()
    reserved["current"]["reservation"] = {**reservation, "at": "2026-01-01T00:00:00Z"}
    put(jobs, version(2, status=reserved))
    assert entry.rejected is None


def test_a_confirmed_answer_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(Jobs(), version(1))
    entry.saw(ABSENT, entry.read, exact=True)
    assert entry.confirmed
    monkeypatch.setattr(time, "monotonic", lambda: entry.heard + CONFIRMED_FOR)
    assert not entry.confirmed
    entry.saw(ABSENT, entry.read + 1, exact=False)
    assert (entry.asked, entry.exact) == (entry.read + 1, False)


def test_a_slow_answer_is_as_good_as_a_quick_one(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(Jobs(), version(1))
    answered = entry.read + 2 * CONFIRMED_FOR
    monkeypatch.setattr(time, "monotonic", lambda: answered)
    entry.saw(ABSENT, entry.read, exact=True)
    assert entry.confirmed
    monkeypatch.setattr(time, "monotonic", lambda: answered + CONFIRMED_FOR)
    assert not entry.confirmed


def test_a_batch_that_leaves_out_what_has_ended_says_nothing_new() -> None:
    entry = put(Jobs(), version(1))
    sent = entry.read
    over = Sighting((Run("d", Phase.ENDED, verdict=Verdict.SUCCEEDED),), "life")
    entry.saw(over, sent, exact=True)
    entry.saw(ABSENT, sent + 0.001, exact=False)
    assert (entry.sighting, entry.confirmed) == (over, True)
    entry.saw(THERE, sent + 0.002, exact=False)
    assert (entry.sighting, entry.confirmed) == (THERE, False)
    entry.saw(ABSENT, sent + 0.003, exact=False)
    assert entry.sighting == ABSENT


def test_the_refusal_of_a_claim_is_forgotten_with_the_claim() -> None:
    def claimed(number: int) -> Object:
        made = status()
        made["current"]["claim"] = {"number": number, "state": "Open"}
        return made

    jobs = Jobs()
    entry = put(jobs, version(1, status=claimed(1)))
    entry.rejected = Rejected("Rejected", "no")
    put(jobs, version(2, status=claimed(1)))
    assert entry.rejected is not None
    put(jobs, version(3, status=claimed(2)))
    assert entry.rejected is None
