"""The reconciler over whole lives of jobs, on the fake backend and on a scripted one."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from dataclasses import replace

import pytest

from durablejob_api.status import Progress
from durablejob_controller import jobs
from durablejob_controller.backends.contract import Identity, Phase, Rejected, Run, Traits, Verdict
from durablejob_controller.backends.fake import world
from durablejob_controller.kube import JOBS, SECRETS
from tests.controller.stage import pause, staged, until


def cluster() -> str:
    """A fake cluster of the test's own."""
    return f"cluster-{uuid.uuid4().hex[:8]}"


async def test_a_jobs_whole_life_is_four_writes_and_one_start() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name)
        stage.job(plugin={"parameters": {"seconds": "0.2"}})
        await stage.work(lambda: stage.state() == "Succeeded")
        states = [raw["status"]["state"] for raw in stage.status_writes()]
        assert states[0] == "Submitting"
        assert states[-1] == "Succeeded"
        assert len(states) <= 4
        assert len(world(name).ledger) == 1
        assert stage.status()["externalID"] == world(name).ledger[0][1]


async def test_many_jobs_end_each_with_its_own_outcome() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name)
        for number in range(30):
            outcome = "fail" if number % 3 == 0 else "succeed"
            stage.job(f"job-{number}", plugin={"parameters": {"seconds": "0.05", "outcome": outcome}})
        await stage.work(lambda: all(stage.state(f"job-{n}") in ("Succeeded", "Failed") for n in range(30)), workers=8)
        assert [stage.state(f"job-{n}") for n in range(30)] == ["Failed", "Succeeded", "Succeeded"] * 10
        assert len(world(name).ledger) == 30


async def test_the_next_attempt_runs_when_it_is_asked_for() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name)
        stage.job(plugin={"parameters": {"seconds": "0", "outcome": "fail"}})
        await stage.work(lambda: stage.state() == "Failed")
        stage.kube.change(JOBS, "data", "load", spec={"attempt": 2, "plugin": {"parameters": {"seconds": "0"}}})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert stage.status()["current"]["number"] == 2
        assert stage.status()["history"][0]["outcome"] == "Failed"
        assert len(world(name).ledger) == 2


async def test_a_cancelled_job_is_killed_and_says_so() -> None:
    async with staged() as stage:
        await stage.backend(clusterID=cluster())
        stage.job(plugin={"parameters": {"seconds": "600"}})
        await stage.work(lambda: stage.state() == "Running")
        stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})
        await stage.work(lambda: stage.state() == "Cancelled")


async def test_a_deleted_job_is_let_go_only_when_nothing_runs_any_more() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name)
        uid = stage.job(plugin={"parameters": {"seconds": "600"}})
        await stage.work(lambda: stage.state() == "Running")
        stage.kube.remove(JOBS, "data", "load")
        await stage.work(lambda: not stage.jobs.get(uid))
        (application,) = world(name).applications.values()
        assert application.killed


async def test_a_job_without_our_finalizer_gets_it_before_anything_is_reserved() -> None:
    async with staged() as stage:
        await stage.backend(clusterID=cluster())
        stage.kube.watchers.clear()
        stage.job(plugin={"parameters": {"seconds": "0"}})
        raw = stage.kube.change(JOBS, "data", "load", metadata={"finalizers": []})
        stage.kube.watchers.append(stage._seen)
        stage._seen("ADDED", raw)
        await stage.work(lambda: stage.state() == "Succeeded")
        first = next(write for write in stage.kube.writes if write[1].startswith("durablejobs"))
        assert first[0] == "patch"
        assert "durablejob.io/external-job" in first[2]["metadata"]["finalizers"]


async def test_a_running_job_ends_at_its_deadline_though_nothing_else_happens() -> None:
    async with staged() as stage:
        await stage.backend(clusterID=cluster())
        stage.job(plugin={"parameters": {"seconds": "600"}}, activeDeadlineSeconds=1)
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "DeadlineExceeded"


async def test_a_suspended_job_starts_when_it_is_released() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name)
        stage.job(suspend=True, plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.reason() == "Suspended")
        assert world(name).ledger == []
        stage.kube.change(JOBS, "data", "load", spec={"suspend": False})
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_a_job_waits_for_its_backend_and_goes_on_when_it_comes() -> None:
    async with staged() as stage:
        stage.job(plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.reason() == "BackendNotFound")
        await stage.backend(clusterID=cluster())
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_a_finished_job_is_deleted_when_its_time_is_over() -> None:
    async with staged() as stage:
        await stage.backend(clusterID=cluster())
        uid = stage.job(plugin={"parameters": {"seconds": "0"}}, ttlSecondsAfterFinished=1)
        await stage.work(lambda: stage.jobs.get(uid) is None)
        assert (JOBS.plural, "data", "load") not in stage.kube.objects


# --- progress ------------------------------------------------------------------------------------------


async def test_progress_is_told_now_and_then_and_a_finished_job_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PROGRESS_EVERY", 0.2)
    async with staged() as stage:
        backend = await stage.use_scripted()

        def at(percent: int) -> None:
            run = Run("app-1", Phase.RUNNING, started_time="1", progress=Progress(percent=percent))
            backend.runs = {submission.current.key: (run,)}

        stage.job()
        await stage.work(lambda: backend.submitted)
        (submission,) = backend.submitted
        at(3)
        await stage.work(lambda: stage.status().get("progress") == {"percent": 3})
        await stage.work(lambda: stage.state() == "Running")
        writes = len(stage.status_writes())
        began, percent = time.monotonic(), 3
        while time.monotonic() - began < 0.5:
            at(percent := percent + 1)
            observed = backend.observed
            await stage.work(lambda seen=observed: backend.observed > seen + 1)  # type: ignore[misc]
        assert 1 <= len(stage.status_writes()) - writes <= 3
        at(99)
        await stage.work(lambda: stage.status()["progress"] == {"percent": 99})
        over = Run("app-1", Phase.ENDED, started_time="1", verdict=Verdict.SUCCEEDED)
        backend.runs = {submission.current.key: (over,)}
        await stage.work(lambda: stage.state() == "Succeeded")
        assert "progress" not in stage.status()


async def test_progress_that_nobody_is_to_be_told_of_wakes_no_job() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        stage.job()
        await stage.work(lambda: backend.submitted)
        (submission,) = backend.submitted
        run = Run("app-1", Phase.RUNNING, started_time="1", progress=Progress(percent=3))
        backend.runs = {submission.current.key: (run,)}
        await stage.work(lambda: stage.state() == "Running")
        await stage.work(lambda: not len(stage.queue))
        backend.runs = {submission.current.key: (replace(run, progress=Progress(percent=4)),)}
        observed = backend.observed
        await until(lambda: backend.observed > observed + 2)
        assert len(stage.queue) == 0


# --- Secrets -------------------------------------------------------------------------------------------


SPARK = {
    "mainApplicationFile": "local:///a.py",
    "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
}


async def test_the_secrets_that_a_job_names_reach_the_submission_and_nothing_else() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        data = {"password": base64.b64encode(b"hush").decode(), "other": "eA=="}
        stage.kube.add(SECRETS, {"metadata": {"name": "db", "namespace": "data"}, "data": data})
        stage.job(spark=SPARK)
        await stage.work(lambda: backend.submitted)
        assert backend.submitted[0].secrets == {("db", "password"): "hush"}
        assert "hush" not in repr(backend.submitted[0])
        assert "hush" not in str(stage.kube.writes)


async def test_where_the_system_looks_secrets_up_itself_none_is_read() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = replace(backend.traits, takes_secrets=False)
        stage.job(spark=SPARK)  # there is no such Secret
        await stage.work(lambda: backend.submitted)
        assert backend.submitted[0].secrets == {}


@pytest.mark.parametrize("data", [None, {}, {"password": "%%%"}, {"password": base64.b64encode(b"\xff").decode()}])
async def test_a_job_whose_secret_is_of_no_use_fails_with_its_name(data: object) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        if data is not None:
            stage.kube.add(SECRETS, {"metadata": {"name": "db", "namespace": "data"}, "data": data})
        stage.job(spark=SPARK)
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "SecretNotFound"
        assert "Secret db" in stage.status()["current"]["message"]
        assert backend.submitted == []


async def test_what_waits_in_the_queue_of_a_job_that_ended_is_killed_once_though_nobody_polls_any_more() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.CLAIM, gated=True)
        backend.on_submit = lambda sent: backend.runs.update({sent.current.key: (Run("d1", Phase.QUEUED, claim=1),)})
        backend.on_kill = lambda _: backend.runs.clear()
        stage.job()
        await stage.work(lambda: backend.observed > 1 and backend.runs)
        stage.kube.remove(JOBS, "data", "load")
        await stage.work(lambda: not len(stage.jobs))
        assert backend.done.count("kill d1") == 1


# --- what the external system answers ------------------------------------------------------------------


async def test_a_definite_refusal_is_the_end() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.answer = Rejected("NoSuchQueue", "there is no queue night")
        stage.job()
        await stage.work(lambda: stage.state() == "Failed")
        assert stage.reason() == "NoSuchQueue"
        assert len(backend.submitted) == 1


async def test_what_the_system_will_not_even_hold_fails_and_nothing_is_recorded_as_reserved() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.refusal = Rejected("InvalidSpec", "spec.template.spec.containers[0].name: Required value")
        stage.job()
        await stage.work(lambda: stage.state() == "Failed")
        assert (stage.reason(), stage.message()) == (backend.refusal.reason, backend.refusal.message)
        assert "reservation" not in stage.status()["current"]
        assert backend.submitted == []


async def test_a_submission_whose_answer_was_lost_is_found_and_not_repeated() -> None:
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name, plugin={"name": "fake", "parameters": {"fault": "unclear"}})
        stage.job(plugin={"parameters": {"seconds": "0.1"}})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1


async def test_a_submission_that_was_lost_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pause(monkeypatch, lambda *_: 0.05)
    name = cluster()
    async with staged() as stage:
        await stage.backend(clusterID=name, plugin={"name": "fake", "parameters": {"fault": "dropped"}})
        stage.job(plugin={"parameters": {"seconds": "0"}})
        await stage.work(lambda: stage.state() == "Succeeded")
        assert len(world(name).ledger) == 1


async def test_what_is_submitted_is_built_from_what_was_recorded() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        uid = stage.job()
        await stage.work(lambda: backend.submitted)
        submission = backend.submitted[0]
        assert submission.reservation.application_id == "app-1"
        assert submission.job.metadata.resource_version == stage.status_writes()[0]["metadata"]["resourceVersion"]
        assert submission.job.metadata.uid == uid


async def test_a_program_that_was_seen_to_end_needs_no_further_question() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.on_submit = lambda s: backend.runs.update(
            {s.current.key: (Run("app-1", Phase.ENDED, started_time="1", verdict=Verdict.SUCCEEDED),)}
        )
        stage.job()
        await stage.work(lambda: stage.state() == "Succeeded")
        assert "close" in backend.done
        await asyncio.sleep(0.05)
        assert len(backend.submitted) == 1
