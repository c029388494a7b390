"""The backend on a real API server, Job controller, scheduler and garbage collector; only the kubelet is a fake.

The judge is the fake kubelet's ledger: what it "started", by the attempt's key.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import (
    Accepted,
    Backend,
    Deferred,
    Offer,
    Phase,
    Rejected,
    Run,
    Submission,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_job import manifest
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import CredentialsRefused
from durablejob_controller.kube import JOBS, Kube, load_configuration
from tests.backends.kubernetes_job import works
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.testbed.kube import Cluster, kubelet
from tests.testbed.kube.kubelet import END, GRACE, SECONDS, FakeKubelet

PATIENCE = 40.0
"""Seconds for what the controllers of Kubernetes do within one or two."""


@dataclass
class Bench:
    """A namespace of the tests' own, on a cluster with a fake kubelet."""

    cluster: Cluster
    namespace: str
    kubelet: FakeKubelet
    kube: Kube
    backend: Backend

    async def job(self, notes: dict[str, str] | None = None, **work: Any) -> DurableJob:
        """A DurableJob that the API server knows; nobody looks after it but the test."""
        template = works.template(annotations=notes or {}, **work)
        ref = {"name": "here", "type": "Kubernetes"}
        meta = {"name": f"job-{secrets.token_hex(3)}", "namespace": self.namespace}
        spec = {"backendRef": ref, "kubernetesJob": {"template": template}}
        kind = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob"}
        raw = await self.kube.create(JOBS, self.namespace, {**kind, "metadata": meta, "spec": spec})
        return DurableJob.model_validate(raw)

    async def submitted(self, notes: dict[str, str] | None = None, **work: Any) -> Submission:
        submission = await works.reserve(await self.job(notes, **work), self.backend)
        assert isinstance(await self.backend.submit(submission), Accepted)
        return submission

    def kubectl(self, *args: str, body: object = None) -> str:
        text = json.dumps(body) if body is not None else None
        return self.cluster.kubectl("--namespace", self.namespace, *args, input=text)

    def starts(self, submission: Submission) -> int:
        return self.kubelet.count(submission.current.key)

    async def until(self, submission: Submission, true: Callable[[Run], object]) -> Run:
        """Look until it is so; the list and the exact look-up agree once nothing moves any more."""
        deadline = time.monotonic() + PATIENCE
        while True:
            runs = (await self.backend.look_up(submission.current.key, submission.current)).runs
            found = [run for run in runs if run.id == submission.reservation.object_uid]
            if found and true(found[0]):
                return found[0]
            assert time.monotonic() < deadline, runs
            await asyncio.sleep(0.1)

    async def end(self, submission: Submission) -> Run:
        run = await self.until(submission, lambda run: run.phase is Phase.ENDED)
        assert (await self.backend.observe()).runs[submission.current.key] == (run,)
        return run

    async def running(self, notes: dict[str, str] | None = None) -> Submission:
        submission = await self.submitted({END: "hold", **(notes or {})})
        await self.until(submission, lambda run: run.phase is Phase.RUNNING)
        return submission

    async def gone(self, key: str) -> None:
        """Wait until no Job has the name of this key."""
        deadline = time.monotonic() + PATIENCE
        while (await self.backend.look_up(key, None)).runs:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def ground(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str, FakeKubelet]]:
    namespace = f"durablejob-jobs-{secrets.token_hex(3)}"
    crds.kubectl("create", "namespace", namespace)
    with kubelet.running(crds, tmp_path_factory.mktemp("kubelet")) as fake:
        yield crds, namespace, fake
    crds.kubectl("delete", "namespace", namespace, "--wait=false")


def client(kubeconfig: Path, namespace: str | None) -> tuple[Kube, Backend]:
    kube = Kube(load_configuration(str(kubeconfig), None))
    return kube, plugin.make(works.SPEC, Surroundings("c", "", Paths(), kubernetes=kube, namespace=namespace))


@pytest.fixture
async def bench(ground: tuple[Cluster, str, FakeKubelet]) -> AsyncIterator[Bench]:
    cluster, namespace, fake = ground
    kube, backend = client(cluster.kubeconfig, namespace)
    yield Bench(cluster, namespace, fake, kube, backend)
    await kube.aclose()


# --- what a program does --------------------------------------------------------------------------------


async def test_a_program_that_ends_well_has_succeeded_and_is_held_until_it_is_released(bench: Bench) -> None:
    submission = await bench.submitted({SECONDS: "1"})
    run = await bench.end(submission)
    assert (run.verdict, run.exit_code, run.held) == (Verdict.SUCCEEDED, 0, True)
    assert run.external_id == f"Job/dj-{submission.current.key}"
    bench.kubectl("delete", "job", f"dj-{submission.current.key}", "--wait=false")
    assert (await bench.end(submission)).verdict is Verdict.SUCCEEDED
    await bench.backend.release(submission.job, submission.current)
    await bench.gone(submission.current.key)
    assert bench.starts(submission) == 1


@pytest.mark.parametrize(("how", "reason", "code"), [("fail:3", "BackoffLimitExceeded", 3), ("oom", "OOMKilled", 137)])
async def test_a_program_that_fails_says_its_exit_code_and_why(bench: Bench, how: str, reason: str, code: int) -> None:
    submission = await bench.submitted({END: how})
    run = await bench.end(submission)
    assert (run.verdict, run.reason, run.exit_code) == (Verdict.FAILED, reason, code)
    assert f"exit code {code}" in (run.message or "")
    assert bench.starts(submission) == 1


async def test_the_jobs_own_deadline_ends_it(bench: Bench) -> None:
    submission = await bench.submitted({END: "hold"}, activeDeadlineSeconds=1)
    run = await bench.end(submission)
    assert (run.verdict, run.reason) == (Verdict.FAILED, "DeadlineExceeded")
    assert bench.starts(submission) == 1


async def test_an_indexed_job_starts_each_index_once(bench: Bench) -> None:
    submission = await bench.submitted(completionMode="Indexed", completions=4, parallelism=2)
    assert (await bench.end(submission)).verdict is Verdict.SUCCEEDED
    assert bench.starts(submission) == 4


async def test_a_program_whose_image_is_not_there_waits_and_says_so(bench: Bench) -> None:
    submission = await bench.submitted({END: "stuck"})
    run = await bench.until(submission, lambda run: run.message is not None and "Image" in run.message)
    assert (run.phase, run.message) == (Phase.QUEUED, "ImagePullBackOff: there is no such image")
    await bench.backend.kill(run.id)
    assert (await bench.end(submission)).verdict is Verdict.DELETED
    assert bench.starts(submission) == 0


# --- what others do --------------------------------------------------------------------------------------


async def test_one_that_is_deleted_by_hand_is_condemned_and_ends_when_it_is_killed(bench: Bench) -> None:
    submission = await bench.running()
    bench.kubectl("delete", "job", f"dj-{submission.current.key}", "--wait=false")
    run = await bench.until(submission, lambda run: run.condemned is not None)
    assert (run.phase, run.condemned) == (Phase.RUNNING, "DeletedExternally")
    await bench.backend.kill(run.id)
    run = await bench.end(submission)
    assert (run.verdict, run.held) == (Verdict.DELETED, True)
    assert bench.starts(submission) == 1


async def test_one_that_is_deleted_by_hand_with_its_pods_ends_as_deleted(bench: Bench) -> None:
    submission = await bench.running()
    bench.kubectl("delete", "job", f"dj-{submission.current.key}", "--wait=false", "--cascade=foreground")
    assert (await bench.end(submission)).verdict is Verdict.DELETED


async def test_one_that_is_suspended_by_hand_never_begins_again(bench: Bench) -> None:
    submission = await bench.running()
    suspend = json.dumps({"spec": {"suspend": True}})
    bench.kubectl("patch", "job", f"dj-{submission.current.key}", "--type=merge", "-p", suspend)
    run = await bench.until(submission, lambda run: run.condemned is not None)
    assert run.condemned == "Preempted"
    await bench.backend.kill(run.id)
    resume = json.dumps({"spec": {"suspend": False}})
    bench.kubectl("patch", "job", f"dj-{submission.current.key}", "--type=merge", "-p", resume)
    assert (await bench.end(submission)).verdict is Verdict.DELETED
    await bench.backend.release(submission.job, submission.current)
    await bench.gone(submission.current.key)
    assert bench.starts(submission) == 1


async def test_one_that_is_resumed_has_another_start_time(bench: Bench) -> None:
    submission = await bench.running()
    first = (await bench.until(submission, lambda run: run.started_time)).started_time
    name = f"dj-{submission.current.key}"
    bench.kubectl("patch", "job", name, "--type=merge", "-p", json.dumps({"spec": {"suspend": True}}))
    await bench.until(submission, lambda run: run.phase is Phase.QUEUED)
    await asyncio.sleep(1.1)  # a Job's start time counts whole seconds
    bench.kubectl("patch", "job", name, "--type=merge", "-p", json.dumps({"spec": {"suspend": False}}))
    again = await bench.until(submission, lambda run: run.started_time not in (None, first))
    assert again.condemned is None  # nothing else tells it from one that was never stopped
    await bench.backend.kill(again.id)
    await bench.end(submission)


async def test_what_a_durablejob_that_is_no_more_has_left_is_found_and_once_it_has_ended_let_go(bench: Bench) -> None:
    submission = await bench.running()
    key, job = submission.current.key, submission.job
    bench.kubectl("delete", "durablejob", job.metadata.name)  # has no finalizer here, as after one was removed by force
    mine = [left for left in await bench.backend.leftovers() if left.job_uid == job.metadata.uid]
    assert [(left.job, left.external_id, left.runs) for left in mine] == [(job.metadata.name, f"Job/dj-{key}", True)]
    await bench.backend.discard(mine[0])
    assert (await bench.until(submission, lambda run: True)).held  # it runs: it is left alone
    bench.kubectl("delete", "job", f"dj-{key}", "--cascade=foreground", "--wait=false")
    await bench.end(submission)
    ended = [left for left in await bench.backend.leftovers() if left.job_uid == job.metadata.uid]
    assert [left.runs for left in ended] == [False]
    await bench.backend.discard(ended[0])
    await bench.gone(key)
    assert bench.starts(submission) == 1


async def test_a_job_for_a_queue_waits_suspended_for_somebody_to_admit_it(bench: Bench) -> None:
    job = await bench.job()
    queued = job.model_copy(update={"metadata": job.metadata.model_copy(update={"labels": {manifest.QUEUE: "night"}})})
    submission = await works.reserve(queued, bench.backend)
    assert isinstance(await bench.backend.submit(submission), Accepted)
    run = await bench.until(submission, lambda run: run.phase is Phase.QUEUED)
    assert (run.condemned, run.message) == (None, "waiting for Kueue to admit it, queue night")
    resume = json.dumps({"spec": {"suspend": False}})
    bench.kubectl("patch", "job", f"dj-{submission.current.key}", "--type=merge", "-p", resume)  # as Kueue does
    assert (await bench.end(submission)).verdict is Verdict.SUCCEEDED
    assert bench.starts(submission) == 1


async def test_a_killed_program_has_ended_only_when_no_pod_is_left(bench: Bench) -> None:
    submission = await bench.running({GRACE: "2"})
    uid = submission.reservation.object_uid or ""
    for _ in range(2):
        await bench.backend.kill(uid)
    run = await bench.until(submission, lambda _: True)
    assert run.active
    assert (await bench.end(submission)).verdict is Verdict.DELETED
    selector = f"batch.kubernetes.io/controller-uid={uid}"
    assert json.loads(bench.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"] == []


# --- what is late, or false ------------------------------------------------------------------------------


async def test_an_inert_copy_is_collected_with_its_owner(bench: Bench) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    (run,) = (await bench.backend.look_up(submission.current.key, submission.current)).runs
    assert run.phase is Phase.INERT
    bench.kubectl("delete", "dj", submission.job.metadata.name)
    await bench.gone(submission.current.key)
    assert bench.starts(submission) == 0


async def test_an_activation_and_a_post_that_arrive_after_everything_is_over_start_nothing(bench: Bench) -> None:
    submission = await bench.submitted()
    await bench.end(submission)
    await bench.backend.release(submission.job, submission.current)
    assert isinstance(await bench.backend.submit(submission), Accepted)  # it has been done
    run = await bench.until(submission, lambda _: True)
    assert not run.held
    bench.kubectl("delete", "job", f"dj-{submission.current.key}")
    bench.kubectl("delete", "dj", submission.job.metadata.name)
    await bench.gone(submission.current.key)
    late = await bench.backend.reserve(submission.job, submission.current.key)
    assert isinstance(late, Offer)
    assert late.object_uid != submission.reservation.object_uid
    assert isinstance(await bench.backend.submit(submission), Unclear)
    await bench.gone(submission.current.key)  # the late copy, collected as its owner is gone
    assert isinstance(await bench.backend.submit(submission), Unclear)
    assert bench.starts(submission) == 1


async def test_activations_that_arrive_at_once_start_one_program(bench: Bench) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    answers = await asyncio.gather(*(bench.backend.submit(submission) for _ in range(8)))
    assert answers == [Accepted(submission.reservation.object_uid)] * 8
    assert (await bench.end(submission)).verdict is Verdict.SUCCEEDED
    assert bench.starts(submission) == 1


async def test_what_is_being_deleted_is_not_activated_any_more(bench: Bench) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    name = f"dj-{submission.current.key}"

    def finalizers(names: list[str]) -> None:
        bench.kubectl("patch", "job", name, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": names}}))

    finalizers(["example.com/wait"])
    await bench.backend.kill(submission.reservation.object_uid or "")
    assert isinstance(await bench.backend.submit(submission), Unclear)
    finalizers([])
    await bench.gone(submission.current.key)
    assert bench.starts(submission) == 0


async def test_an_impostor_under_our_name_is_seen_and_killed_and_never_activated(bench: Bench) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    key, name = submission.current.key, f"dj-{submission.current.key}"
    bench.kubectl("delete", "job", name)
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "i"}]}}
    pod["metadata"] = {"annotations": {END: "hold"}}
    forged = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": pod}}
    bench.kubectl("create", "-f", "-", body=forged)
    assert isinstance(await bench.backend.submit(submission), Unclear)
    (run,) = (await bench.backend.look_up(key, submission.current)).runs
    assert run.active
    assert run.id != submission.reservation.object_uid
    await bench.backend.kill(run.id)
    await bench.gone(key)
    assert bench.starts(submission) == 0


async def test_closing_removes_what_is_inert_and_no_activation_comes_after(bench: Bench) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    await bench.backend.close(submission.job, submission.current)
    assert isinstance(await bench.backend.submit(submission), Unclear)
    await bench.gone(submission.current.key)
    assert bench.starts(submission) == 0


# --- what is refused ---------------------------------------------------------------------------------------


async def test_an_invalid_job_is_rejected_with_its_field(bench: Bench) -> None:
    for work, words in (({"completionMode": "Never"}, "spec.completionMode"), ({"complitions": 1}, "spec.complitions")):
        job = await bench.job(**work)
        answer = await bench.backend.reserve(job, works.key(job))
        assert isinstance(answer, Rejected), answer
        assert answer.reason == "InvalidSpec"
        assert words in answer.message


async def test_a_full_quota_is_waited_for_and_told_in_its_own_words(bench: Bench) -> None:
    early = await bench.job()
    made = await bench.backend.reserve(early, works.key(early))
    bench.kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
    try:
        deadline = time.monotonic() + PATIENCE
        while True:  # until the quota is in force
            job = await bench.job()
            answer = await bench.backend.reserve(job, works.key(job))
            if isinstance(answer, Deferred):
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert answer.reason == "QuotaExceeded"
        assert "exceeded quota: none" in answer.message
        # What there was before is adopted, though the API server asks the quota before it looks at the name.
        assert await bench.backend.reserve(early, works.key(early)) == made
    finally:
        bench.kubectl("delete", "quota", "none")
    assert isinstance(await bench.backend.reserve(job, works.key(job)), Offer)


async def test_an_account_without_rights_is_told_which_it_lacks(bench: Bench) -> None:
    kube, backend = client(bench.cluster.user_kubeconfig("poor"), bench.namespace)
    probe = await backend.probe()
    assert (probe.ready, probe.reason) == (False, "MissingRights")
    assert "create jobs.batch, get jobs.batch, list jobs.batch" in probe.message
    job = await bench.job()
    with pytest.raises(CredentialsRefused, match="create jobs"):
        await backend.reserve(job, works.key(job))
    await kube.aclose()


async def test_the_probe_says_what_is_promised(bench: Bench) -> None:
    probe = await bench.backend.probe()
    assert probe.ready
    assert probe.guarantee == "Conditional"
    assert bench.namespace in probe.message


async def test_a_cluster_backend_sees_all_namespaces(bench: Bench) -> None:
    submission = await bench.running()
    kube, backend = client(bench.cluster.kubeconfig, None)
    (run,) = (await backend.look_up(submission.current.key, submission.current)).runs
    assert (run.id, run.namespace) == (submission.reservation.object_uid, bench.namespace)
    assert (await backend.observe()).runs[submission.current.key] == (run,)
    await backend.kill(run.id)
    await bench.end(submission)
    await kube.aclose()
