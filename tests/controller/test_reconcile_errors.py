"""Errors delay a job, and never decide about it; and one bad job never stops the others."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import replace
from datetime import datetime

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller import external, jobs, reconcile, steps
from durablejob_controller import poller as pollers
from durablejob_controller.backends.contract import Deferred, Identity, Phase, Run, Traits, Unclear, Verdict
from durablejob_controller.backends.fake import world
from durablejob_controller.decide import decide
from durablejob_controller.errors import (
    BackendError,
    BackendUnavailable,
    Conflict,
    CredentialsRefused,
    Forbidden,
    KubernetesUnavailable,
    NotFound,
    NotServed,
    Refused,
)
from durablejob_controller.kube import BACKENDS, JOBS, SECRETS, Object
from durablejob_controller.views import Decision, NoSite, Seen, Site
from tests.controller.fake_kube import backend_object
from tests.controller.scripted_backend import READY
from tests.controller.stage import FAST, Stage, pause, staged, until

SECRET_ENV = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pause(monkeypatch, lambda times, *_: 0.01 * 2 ** min(times, 5))


async def fake(stage: Stage, seconds: str = "0.1") -> str:
    """A job on a fake cluster of its own; returns the cluster's name."""
    name = f"cluster-{uuid.uuid4().hex[:8]}"
    await stage.backend(clusterID=name)
    stage.job(plugin={"parameters": {"seconds": seconds}})
    return name


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    "error", [KubernetesUnavailable("away"), Forbidden("RBAC is not in sync yet"), NotServed("page not found")]
)
async def test_a_status_write_without_an_answer_is_repeated_until_it_is_there(error: Exception, applied: bool) -> None:
    async with staged() as stage:
        stage.kube.fail("replace", JOBS, error, times=3, applied=applied)
        name = await fake(stage)
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1


async def test_a_lost_swap_is_decided_anew_on_what_is_there_now() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        stage.kube.silent = True
        uid = stage.job()
        stage.kube.silent = False
        stage._seen("ADDED", stage.raw())
        stage.kube.silent = True
        stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})
        await stage.work(lambda: stage.state() == "Cancelled")
        assert backend.submitted == []
        assert stage.entry(uid).job.spec.cancel is not None


async def test_conflicts_that_reading_does_not_cure_are_not_a_hot_loop() -> None:
    async with staged() as stage:
        stage.kube.fail("replace", JOBS, Conflict("for ever"), times=10**6)
        await fake(stage)

        def tries() -> int:
            return sum(verb == "replace" for verb, *_ in stage.kube.calls)

        await stage.work(lambda: tries() >= 3)
        before = tries()
        await asyncio.gather(stage.work(lambda: tries() > before), asyncio.sleep(0.3))
        assert tries() < 12
        stage.kube.faults.clear()
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_a_job_that_is_gone_is_forgotten() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.kube.silent = True
        uid = stage.job()
        stage._seen("ADDED", stage.raw())
        stage.kube.silent = False
        del stage.kube.objects[(JOBS.plural, "data", "load")]
        await stage.work(lambda: stage.jobs.get(uid) is None)


async def test_a_job_of_the_same_name_takes_the_place_of_the_one_that_is_gone() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.kube.silent = True
        old = stage.job()
        stage._seen("ADDED", stage.raw())
        new = stage.job(plugin={"parameters": {"seconds": "0"}})
        stage.kube.silent = False
        await stage.work(lambda: stage.state() == "Succeeded")
        assert stage.jobs.get(old) is None
        assert stage.jobs.get(new) is not None


async def test_a_refused_status_parks_the_job_until_its_resource_changes(caplog: pytest.LogCaptureFixture) -> None:
    async with staged() as stage:
        stage.kube.fail("replace", JOBS, Refused("status.current.outcome: never changes"))
        name = await fake(stage)
        (uid, entry), *_ = stage.jobs
        await stage.work(lambda: entry.parked)
        assert "parked" in caplog.text
        stage.queue.add(uid)
        await asyncio.gather(stage.work(lambda: not len(stage.queue)), asyncio.sleep(0.1))
        assert stage.status() == {}
        assert stage.events._queue.get_nowait()["reason"] == "Parked"
        stage.kube.change(JOBS, "data", "load", metadata={"annotations": {"look": "again"}})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1


async def test_a_refused_status_is_written_when_the_rule_that_refused_it_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CRDs are upgraded, webhooks mended: the resource itself does not change."""
    monkeypatch.setattr("durablejob_controller.reconcile.PARKED_SECONDS", 0.2)
    async with staged() as stage:
        stage.kube.fail("replace", JOBS, Refused("admission webhook denied the request"), times=3)
        name = await fake(stage)
        (uid, entry), *_ = stage.jobs
        await stage.work(lambda: entry.parked)
        stage.queue.add(uid)  # its backend has changed, say: that wakes all of its jobs
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1
        reasons = [stage.events._queue.get_nowait()["reason"] for _ in range(3)]
        assert reasons == ["Parked"] * 3


async def test_a_refused_finalizer_parks_it_too(caplog: pytest.LogCaptureFixture) -> None:
    """What is stored is not valid under today's rules: the API server refuses every write of it."""
    async with staged() as stage:
        await stage.use_scripted()
        stage.kube.fail("patch", JOBS, Refused("spec: no such key: backendRef"), times=100)
        uid = stage.job()
        stage.kube.change(JOBS, "data", "load", metadata={"finalizers": []})
        await stage.work(lambda: stage.entry(uid).parked)
        assert "no such key: backendRef" in caplog.text
        assert stage.events._queue.get_nowait()["reason"] == "Parked"
        assert [call for call in stage.kube.calls if call[0] == "patch" and call[1] == JOBS.plural] == [
            ("patch", JOBS.plural, "load")
        ]


@pytest.mark.parametrize("error", [KubernetesUnavailable("away"), Forbidden("not allowed")])
async def test_a_secret_that_cannot_be_read_now_is_no_missing_secret(error: Exception) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        stage.kube.add(SECRETS, {"metadata": {"name": "db", "namespace": "data"}, "data": {"password": "eA=="}})
        stage.kube.fail("get", SECRETS, error, times=2)
        stage.job(spark={"mainApplicationFile": "local:///a.py", "env": SECRET_ENV})
        await stage.work(lambda: backend.submitted)
        assert backend.submitted[0].secrets == {("db", "password"): "x"}


async def test_a_secret_that_may_not_be_read_uses_up_no_claim_and_is_named_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pause(monkeypatch, lambda *_: 0.02)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.CLAIM, gated=True)
        stage.kube.fail("get", SECRETS, Forbidden("secrets db is forbidden"), times=100)
        stage.job(spark={"mainApplicationFile": "local:///a.py", "env": SECRET_ENV})
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "SecretForbidden"
        assert stage.status()["current"]["claim"]["number"] == 1
        assert backend.submitted == []


async def test_a_body_that_is_no_longer_what_was_reserved_is_not_sent() -> None:
    """The backend is edited between the record and the submission."""
    async with staged() as stage:
        backend = await stage.use_scripted()

        def edited(_: str, raw: Object) -> None:
            if (raw.get("status") or {}).get("current"):
                backend.hash = "another"

        stage.kube.watchers.append(edited)
        stage.job()
        await stage.work(lambda: stage.state() == "Failed" or backend.done.count("close") > 0)
        assert backend.submitted == []


@pytest.mark.parametrize(
    "error", [BackendUnavailable("away"), CredentialsRefused("401"), BackendError("strange"), ZeroDivisionError("bug")]
)
async def test_no_error_of_a_submission_is_taken_for_a_refusal(error: Exception) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.answer = error
        stage.job()
        await stage.work(lambda: len(backend.submitted) >= 3)
        assert stage.state() == "Submitting"
        keys = {(s.current.key, s.reservation.application_id) for s in backend.submitted}
        assert len(keys) == 1


@pytest.mark.parametrize("error", [BackendUnavailable("away"), ZeroDivisionError("bug")])
async def test_a_system_that_cannot_be_observed_ends_no_job(error: Exception) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("app-1", Phase.RUNNING),)})
        stage.job()
        await stage.work(lambda: stage.state() == "Running")
        backend.fault, backend.runs = error, {}
        observed = backend.observed
        await stage.work(lambda: backend.observed > observed + 2)
        assert stage.state() == "Running"


async def test_jobs_are_told_of_a_system_that_stays_away_and_go_on_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pollers, "TROUBLE_AFTER", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.fault = BackendUnavailable("m1:8080 cannot be reached")
        stage.job()
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        assert "m1:8080" in stage.status()["current"]["message"]
        backend.fault = None
        await stage.work(lambda: backend.submitted)


async def test_what_waits_in_a_queue_is_killed_when_its_system_is_back_though_its_job_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pollers, "TROUBLE_AFTER", 0.05)
    monkeypatch.setattr(external, "LOOK_AGAIN", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.CLAIM, gated=True)
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("d1", Phase.QUEUED, claim=1),)})
        stage.job()
        await stage.work(lambda: backend.submitted)
        backend.fault = BackendUnavailable("m1:8080 cannot be reached")
        stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})
        await stage.work(lambda: stage.state() == "Cancelled")
        (poller,) = [e.poller for e in stage.sites._entries.values() if e.poller is not None]
        await stage.work(lambda: poller.trouble)
        asked = backend.observed
        await stage.work(lambda: backend.observed > asked + 2)
        assert "kill d1" not in backend.done
        backend.fault = None
        await stage.work(lambda: "kill d1" in backend.done)


async def test_a_job_is_told_when_only_the_exact_look_ups_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pollers, jobs):
        monkeypatch.setattr(module, "TROUBLE_AFTER", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.RESERVED_ID, gated=False)
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("app-1", Phase.RUNNING),)})
        stage.job()
        await stage.work(lambda: stage.state() == "Running")
        backend.runs, backend.exact_fault = {}, BackendUnavailable("m1:6066 cannot be reached")
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        assert "m1:6066" in stage.message()
        assert stage.state() == "Running"
        writes, observed = len(stage.status_writes()), backend.observed
        await stage.work(lambda: backend.observed > observed + 3)
        assert len(stage.status_writes()) == writes


async def test_a_job_whose_exact_look_ups_had_no_answer_goes_on_when_they_have_although_no_batch_tells_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ResourceManager that recovers lists before it lets anything be looked up."""
    for module in (pollers, jobs):
        monkeypatch.setattr(module, "TROUBLE_AFTER", 0.05)
    async with staged(replace(FAST, poll_interval=0.3)) as stage:
        stage.reconciler._poll_interval = stage.reconciler._external._poll_interval = (
            0.01  # it looks again before there is a newer batch
        )
        backend = await stage.use_scripted()
        backend.exact_fault = BackendUnavailable("rm:8088 is INITIALIZING")
        stage.job()
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        backend.exact_fault = None
        await stage.work(lambda: backend.submitted)


async def test_a_job_whose_fence_cannot_be_closed_is_told_and_ends_when_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (pollers, jobs):
        monkeypatch.setattr(module, "TROUBLE_AFTER", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("app-1", Phase.RUNNING),)})
        stage.job()
        await stage.work(lambda: stage.state() == "Running")
        backend.put_fault = BackendUnavailable("nn:9870: HDFS is in safe mode")
        backend.runs = {key: (Run("app-1", Phase.ENDED, verdict=Verdict.SUCCEEDED),) for key in backend.runs}
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        assert (stage.state(), "safe mode" in stage.message()) == ("Running", True)
        writes, tries = len(stage.status_writes()), backend.done.count("close")
        await stage.work(lambda: backend.done.count("close") > tries + 2)
        assert len(stage.status_writes()) == writes  # it is told once
        backend.put_fault = None
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_the_next_attempt_does_not_wait_until_the_files_of_the_last_one_can_be_swept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (pollers, jobs):
        monkeypatch.setattr(module, "TROUBLE_AFTER", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.staging, backend.held = "folder/hash", True
        ended = (Run("app-1", Phase.ENDED, verdict=Verdict.FAILED),)
        backend.on_submit = lambda s: backend.runs.update({s.current.key: ended})
        stage.job()
        await stage.work(lambda: stage.state() == "Failed")
        backend.put_fault = BackendUnavailable("nn:9870: HDFS is in safe mode")
        stage.kube.change(JOBS, "data", "load", spec={"attempt": 2})
        await stage.work(lambda: len(backend.submitted) == 2)
        assert "release" in backend.done


async def test_a_submission_that_is_never_clear_is_told_and_at_last_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "DOUBT_GRACE", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.answer = CredentialsRefused("rm:8088 refuses the credentials: HTTP 401")
        stage.job()
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        assert (stage.state(), "HTTP 401" in stage.message()) == ("Submitting", True)
        monkeypatch.setattr(steps, "AMBIGUITY_ENDS_AFTER", 0.1)
        monkeypatch.setattr(steps, "AMBIGUITY_ENDS_AT", 3)
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "NeverListed"
        assert "HTTP 401" in stage.message()
        assert backend.closed


async def test_an_outage_in_the_middle_of_submitting_is_waited_for_however_long_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "AMBIGUITY_ENDS_AFTER", 0.5)
    monkeypatch.setattr(steps, "AMBIGUITY_ENDS_AT", 1)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.RESERVED_ID, gated=False)
        backend.answer = Unclear("rm:8088 gave no complete answer")
        uid = stage.job()
        await stage.work(lambda: backend.submitted)
        backend.fault = BackendUnavailable("rm:8088 cannot be reached")
        await stage.work(lambda: stage.entry(uid).trying_since is None)
        await asyncio.sleep(0.6)
        submitted, backend.fault = len(backend.submitted), None
        await stage.work(lambda: len(backend.submitted) > submitted)
        assert stage.state() == "Submitting"


async def test_a_kill_that_is_refused_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pollers, jobs):
        monkeypatch.setattr(module, "TROUBLE_AFTER", 0.05)
    monkeypatch.setattr(external, "LOOK_AGAIN", 0.05)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("app-1", Phase.RUNNING),)})
        stage.job()
        await stage.work(lambda: stage.state() == "Running")
        over = (Run("app-1", Phase.ENDED, verdict=Verdict.KILLED),)
        backend.on_kill = lambda _: backend.runs.update(dict.fromkeys(backend.runs, over))
        backend.put_fault = CredentialsRefused("rm:8088 refuses the credentials: HTTP 403")
        stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})
        await stage.work(lambda: stage.reason() == "BackendUnreachable")
        assert (stage.state(), "HTTP 403" in stage.message()) == ("Cancelling", True)
        writes, tries = len(stage.status_writes()), backend.done.count("kill app-1")
        await stage.work(lambda: backend.done.count("kill app-1") > tries + 2)
        assert len(stage.status_writes()) == writes
        backend.put_fault = None
        await stage.work(lambda: stage.state() == "Cancelled")


async def test_what_was_listed_and_then_vanished_is_not_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have waited in the queue for hours: the time counts since a run was last seen."""
    monkeypatch.setattr(steps, "AMBIGUITY_ENDS_AFTER", 0.3)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.RESERVED_ID, gated=True)
        backend.on_submit = lambda s: backend.runs.update({s.current.key: (Run("app-1", Phase.QUEUED),)})
        uid = stage.job()
        await stage.work(lambda: backend.submitted and stage.entry(uid).sighting and stage.entry(uid).sighting.runs)
        await asyncio.sleep(0.4)
        backend.runs = {}
        await stage.work(lambda: len(backend.submitted) > 1)
        assert stage.state() == "Submitting"


async def test_what_keeps_anything_from_being_reserved_is_told_and_tried_again() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.refusal = BackendUnavailable("nn:9870: the quota is exceeded")
        stage.job()
        await stage.work(lambda: backend.done.count("reserve") > 2)
        assert (stage.state(), stage.reason()) == ("Pending", "BackendUnreachable")
        assert "the quota is exceeded" in stage.message()
        assert len(stage.status_writes()) == 1
        backend.refusal = None
        await stage.work(lambda: backend.submitted)
        assert "Submit" in stage.state()


async def test_what_there_is_no_room_for_now_is_told_and_tried_again() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.refusal = Deferred("QuotaExceeded", "few, used: 5, limited: 5")
        stage.job()
        await stage.work(lambda: backend.done.count("reserve") > 2)
        assert (stage.state(), stage.reason()) == ("Pending", "QuotaExceeded")
        assert len(stage.status_writes()) == 1
        backend.refusal = None
        await stage.work(lambda: backend.submitted)
        assert "Submit" in stage.state()


async def test_the_words_about_a_backend_that_is_not_ready_follow_its_probe() -> None:
    async with staged() as stage:
        stage.scripted.found = replace(READY, ready=False, reason="CredentialsRefused", message="401")
        backend = await stage.use_scripted()
        stage.job()
        await stage.work(lambda: "CredentialsRefused" in stage.message())
        backend.found = replace(READY, ready=False, reason="MasterUnreachable", message="no route")
        await stage.work(lambda: "MasterUnreachable" in stage.message())
        assert [stage.events._queue.get_nowait()["reason"] for _ in range(2)] == ["BackendNotReady"] * 2


async def test_nothing_is_said_of_a_backend_before_it_was_looked_at() -> None:
    async with staged() as stage:
        gate = asyncio.Event()
        stage.scripted.probing = gate
        await stage.sites.put(stage.kube.add(BACKENDS, backend_object(plugin={"name": "scripted"})))
        stage.job()
        with pytest.raises(AssertionError):
            async with asyncio.timeout(5):
                await stage.work(stage.status, patience=0.3)
        gate.set()
        await stage.work(lambda: stage.scripted.submitted)


async def test_no_worker_waits_for_a_system_that_is_known_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pollers, "TROUBLE_AFTER", 0.05)
    async with staged() as stage:
        await stage.backend(name="healthy", clusterID=f"cluster-{uuid.uuid4().hex[:8]}")
        backend = await stage.use_scripted()
        stage.job("first")
        await stage.work(lambda: backend.submitted)
        (poller,) = [e.poller for e in stage.sites._entries.values() if e.address[2] == "fake"]
        assert poller is not None
        await poller.fresh()
        backend.fault = BackendUnavailable("no answer")
        assert poller.last is not None  # an old answer, which later jobs find too old
        await until(lambda: poller.trouble)
        backend.gate = asyncio.Event()  # from now on it does not even refuse
        await asyncio.sleep(0.05)
        for number in range(20):
            stage.job(f"stuck-{number}")
        ref = {"kind": "JobBackend", "name": "healthy", "type": "Plugin"}
        stage.job("well", backendRef=ref, plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.state("well") == "Succeeded")
        assert all(stage.reason(f"stuck-{number}") == "BackendUnreachable" for number in range(20))


async def test_a_system_that_takes_its_time_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each exact look-up takes longer than its answer counts, and batches come in between."""
    monkeypatch.setattr(jobs, "CONFIRMED_FOR", 0.08)
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.takes, backend.ended_unlisted = 0.1, True
        over = (Run("app-1", Phase.ENDED, started_time="1", verdict=Verdict.FAILED),)
        backend.on_submit = lambda s: backend.runs.update({s.current.key: over})
        stage.job()
        await stage.work(lambda: stage.state() == "Failed", patience=3.0)
        assert len(backend.submitted) == 1


async def test_a_job_that_makes_the_controller_stumble_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumbling(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
        if job.metadata.name == "bad":
            raise ZeroDivisionError("a bug of ours")
        return decide(job, site, seen, now)

    monkeypatch.setattr(reconcile, "decide", stumbling)
    async with staged() as stage:
        name = f"cluster-{uuid.uuid4().hex[:8]}"
        await stage.backend(clusterID=name)
        bad = stage.job("bad")
        stage.job("good", plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.state("good") == "Succeeded" and stage.entry(bad).failures > 2)
        assert "bad: unexpected error" in caplog.text
        monkeypatch.setattr(reconcile, "decide", decide)
        await stage.work(lambda: stage.state("bad") == "Succeeded")
        assert len(world(name).ledger) == 2


async def test_a_spec_that_cannot_be_read_is_a_verdict_with_the_field() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.job(activeDeadlineSeconds=-5)
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "InvalidSpec"
        assert "activeDeadlineSeconds" in stage.status()["current"]["message"]


async def test_a_field_that_only_a_newer_version_knows_ends_no_job_and_begins_none() -> None:
    async with staged() as stage:
        await stage.backend()
        uid = stage.job(newer=True, plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.reason() == "ControllerTooOld")
        assert stage.state() == "Pending"
        assert "newer" in stage.message()
        raw = stage.raw()
        stage.kube.objects[(JOBS.plural, "data", "load")] = {**raw, "spec": {**raw["spec"]}}
        del stage.kube.objects[(JOBS.plural, "data", "load")]["spec"]["newer"]  # as to the controller that knows it
        stage.kube.change(JOBS, "data", "load", spec={})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert stage.entry(uid).invalid is None


async def test_what_runs_is_ended_as_wished_also_when_a_newer_version_has_written_the_wish() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.job(plugin={"parameters": {"seconds": "600"}})
        await stage.work(lambda: stage.state() == "Running")
        stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "Cleared", "newer": 1}})
        await stage.work(lambda: stage.state() == "Cancelled")


async def test_what_runs_is_followed_to_its_end_though_its_spec_is_refused_today() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.job(plugin={"parameters": {"seconds": "0.5"}})
        await stage.work(lambda: stage.state() == "Running")
        stage.kube.change(JOBS, "data", "load", spec={"activeDeadlineSeconds": -5})
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_and_is_ended_as_wished() -> None:
    async with staged() as stage:
        await stage.backend()
        stage.job(plugin={"parameters": {"seconds": "600"}})
        await stage.work(lambda: stage.state() == "Running")
        wish = {"activeDeadlineSeconds": -5, "cancel": {"attempt": 1, "cause": "Cleared"}}
        stage.kube.change(JOBS, "data", "load", spec=wish)
        await stage.work(lambda: stage.state() == "Cancelled")


async def test_a_reconciliation_of_nothing_is_nothing() -> None:
    async with staged() as stage:
        await stage.reconciler.reconcile("nobody")
        assert stage.kube.calls == []


async def test_errors_say_which_job_they_are_about(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with staged() as stage:
        stage.kube.fail("replace", JOBS, KubernetesUnavailable("PUT …: 503"))
        await fake(stage, "0")
        await stage.work(lambda: stage.state() == "Succeeded")
        (line,) = [record for record in caplog.records if "503" in record.message]
        assert (line.__dict__["job"], line.__dict__["namespace"], line.__dict__["attempt"]) == ("load", "data", 1)


async def test_a_version_that_cannot_be_taken_in_after_a_conflict_ends_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with staged() as stage:
        name = await fake(stage, "0")
        stage.kube.silent = True
        stage.kube.change(JOBS, "data", "load", metadata={"creationTimestamp": "yesterday"})
        await stage.work(lambda: "load: unexpected error" in caplog.text)
        stage.kube.change(JOBS, "data", "load", metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1


async def test_an_unfinished_step_of_a_vanished_object_is_no_error() -> None:
    async with staged() as stage:
        await stage.use_scripted()
        uid = stage.job()
        stage.kube.fail("replace", JOBS, NotFound("gone", 404))
        stage.kube.fail("get", JOBS, KubernetesUnavailable("away"))
        await stage.work(lambda: stage.scripted.submitted)
        await until(lambda: stage.jobs.get(uid))
