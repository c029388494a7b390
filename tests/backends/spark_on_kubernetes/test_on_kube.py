"""Drivers' Pods on a real API server, scheduler and garbage collector; only the kubelet is a fake.

The judge is the fake kubelet's ledger: what it "started", by the attempt's key. Real drivers run in ``tests/node``.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Deferred, Offer, Phase, Rejected, Unclear, Verdict
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.kube import JOBS, Kube, load_configuration
from tests.backends.kubernetes_job import works
from tests.backends.kubernetes_job.test_on_kube import PATIENCE, Bench
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.testbed.kube import Cluster, kubelet
from tests.testbed.kube.kubelet import END, SECONDS, FakeKubelet

Object = dict[str, Any]
INGRESS = {"host": "{name}.{namespace}.example.invalid", "className": "nginx", "tlsSecretName": "cert"}
SPEC = JobBackendSpec.model_validate(
    {"kubernetes": {"spark": {"image": "example.invalid/spark:4", "ui": {"ingress": INGRESS}}}}
)
BESIDE = "services,ingresses"


class Drivers(Bench):
    """The same for Spark applications; ``settings`` are those of spec.spark.kubernetes."""

    async def job(self, notes: dict[str, str] | None = None, **settings: Any) -> DurableJob:
        driver = {"annotations": notes or {}, **settings.pop("driver", {})}
        work = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "kubernetes": {"driver": driver, **settings}}
        meta = {"name": f"job-{secrets.token_hex(3)}", "namespace": self.namespace}
        spec = {"backendRef": {"name": "here", "type": "Kubernetes"}, "spark": work}
        kind = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob"}
        raw = await self.kube.create(JOBS, self.namespace, {**kind, "metadata": meta, "spec": spec})
        return DurableJob.model_validate(raw)

    def of(self, key: str, what: str = "pods") -> list[str]:
        """What there is of this attempt."""
        return self.kubectl("get", what, "-o", "name", "-l", f"durablejob.io/attempt-key={key}").split()

    async def nothing(self, key: str, what: str = "pods") -> None:
        """Wait until there is none of it."""
        deadline = time.monotonic() + PATIENCE
        while found := self.of(key, what):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def ground(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str, FakeKubelet]]:
    namespace = f"durablejob-drivers-{secrets.token_hex(3)}"
    crds.kubectl("create", "namespace", namespace)
    # A pod needs the namespace's account, which a controller makes.
    deadline = time.monotonic() + PATIENCE
    while "default" not in crds.kubectl("-n", namespace, "get", "serviceaccounts", "-o", "name"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with kubelet.running(crds, tmp_path_factory.mktemp("kubelet")) as fake:
        yield crds, namespace, fake
    crds.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
async def bench(ground: tuple[Cluster, str, FakeKubelet]) -> AsyncIterator[Drivers]:
    cluster, namespace, fake = ground
    kube = Kube(load_configuration(str(cluster.kubeconfig), None))
    backend = plugin.make(SPEC, Surroundings("c", "", Paths(), kubernetes=kube, namespace=namespace))
    yield Drivers(cluster, namespace, fake, kube, backend)
    await kube.aclose()


async def test_a_driver_that_ends_well_is_its_durablejobs_again_once_it_is_released(bench: Drivers) -> None:
    submission = await bench.submitted({SECONDS: "1"})
    key = submission.current.key
    assert len(bench.of(key, BESIDE)) == 2
    run = await bench.end(submission)
    assert (run.verdict, run.exit_code, run.held) == (Verdict.SUCCEEDED, 0, True)
    await bench.backend.release(submission.job, submission.current)
    await bench.nothing(key, BESIDE)
    assert bench.of(key) == [f"pod/dj-{key}"]
    bench.kubectl("delete", "durablejob", submission.job.metadata.name)
    await bench.nothing(key)
    assert bench.starts(submission) == 1


async def test_its_ui_has_a_host_of_its_own_while_it_runs(bench: Drivers) -> None:
    submission = await bench.running()
    run = await bench.until(submission, lambda run: run.tracking_url)
    host = f"dj-{submission.current.key}.{bench.namespace}.example.invalid"
    assert run.tracking_url == f"https://{host}/"
    (ingress,) = bench.of(submission.current.key, "ingresses")
    assert bench.kubectl("get", ingress, "-o", "jsonpath={.spec.rules[0].host}") == host
    await bench.backend.kill(run.id)
    assert (await bench.end(submission)).verdict is Verdict.DELETED
    assert bench.starts(submission) == 1


async def test_inert_it_is_given_no_node_and_goes_with_its_durablejob(bench: Drivers) -> None:
    submission = await works.reserve(await bench.job(), bench.backend)
    key = submission.current.key
    await asyncio.sleep(1)
    assert bench.kubectl("get", "pod", f"dj-{key}", "-o", "jsonpath={.spec.nodeName}") == ""
    bench.kubectl("delete", "durablejob", submission.job.metadata.name)
    await bench.nothing(key, f"pods,{BESIDE}")
    assert bench.starts(submission) == 0


async def test_an_activation_that_comes_late_finds_another_pod_and_does_nothing(bench: Drivers) -> None:
    late = await works.reserve(await bench.job(), bench.backend)
    await bench.backend.close(late.job, late.current)
    await bench.nothing(late.current.key)
    again = await works.reserve(late.job, bench.backend)
    assert again.reservation.object_uid != late.reservation.object_uid
    assert isinstance(await bench.backend.submit(late), Unclear)
    (run,) = (await bench.backend.look_up(late.current.key, again.current)).runs
    assert run.phase is Phase.INERT
    assert bench.starts(late) == 0


async def test_another_gate_holds_it_and_another_finalizer_stays(bench: Drivers) -> None:
    """As a webhook that asks for approval puts them on every pod that is made."""
    send = bench.kube.call

    async def hooked(method: str, path: str, *, body: Any = None, **given: Any) -> Object:
        if method == "POST" and path.endswith("/pods"):
            body["spec"]["schedulingGates"].insert(0, {"name": "example.com/approval"})
            body["metadata"]["finalizers"] = ["example.com/theirs"]
        return await send(method, path, body=body, **given)

    bench.kube.call = hooked  # type: ignore[method-assign]
    submission = await bench.submitted({SECONDS: "1"})
    name = f"dj-{submission.current.key}"

    def said(what: str) -> str:
        return bench.kubectl("get", "pod", name, "-o", f"jsonpath={what}")

    assert said("{.spec.schedulingGates[*].name}") == "example.com/approval"
    assert said("{.metadata.finalizers[*]}") == "example.com/theirs durablejob.io/outcome"
    run = await bench.until(submission, lambda run: run.reason)
    assert (run.phase, run.reason) == (Phase.QUEUED, "SchedulingGated")
    approve = json.dumps({"spec": {"schedulingGates": []}})
    bench.kubectl("patch", "pod", name, "--type=merge", "-p", approve)
    assert (await bench.end(submission)).verdict is Verdict.SUCCEEDED
    await bench.backend.release(submission.job, submission.current)
    assert said("{.metadata.finalizers[*]}") == "example.com/theirs"
    bench.kubectl("patch", "pod", name, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": []}}))
    assert bench.starts(submission) == 1


async def test_an_activation_that_is_repeated_and_doubled_starts_it_once(bench: Drivers) -> None:
    submission = await bench.submitted()
    await asyncio.gather(*(bench.backend.submit(submission) for _ in range(5)))
    await bench.end(submission)
    await bench.backend.submit(submission)
    await bench.backend.release(submission.job, submission.current)
    await bench.backend.submit(submission)
    await asyncio.sleep(0.5)
    assert bench.starts(submission) == 1


async def test_one_that_no_node_takes_says_so_and_is_over_when_it_is_killed(bench: Drivers) -> None:
    submission = await bench.submitted(driver={"nodeSelector": {"there": "is-none"}})
    run = await bench.until(submission, lambda run: run.reason)
    assert (run.phase, run.reason) == (Phase.QUEUED, "Unschedulable")
    await bench.backend.kill(run.id)
    run = await bench.end(submission)
    assert (run.verdict, run.held) == (Verdict.DELETED, True)
    await bench.backend.release(submission.job, submission.current)
    await bench.nothing(submission.current.key)
    assert bench.starts(submission) == 0


async def test_executors_that_a_driver_has_left_are_removed_with_its_release(bench: Drivers) -> None:
    submission = await bench.submitted({END: "fail:3"})
    name = f"dj-{submission.current.key}"
    for number, app in enumerate((name, "another")):
        meta = {"name": f"{app}-exec-{number}", "labels": {"spark-app-selector": app, "spark-role": "executor"}}
        spec = {"containers": [{"name": "e", "image": "i"}], "nodeSelector": {"there": "is-none"}}
        bench.kubectl("create", "-f", "-", body={"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    run = await bench.end(submission)
    assert (run.verdict, run.exit_code) == (Verdict.FAILED, 3)
    await bench.backend.release(submission.job, submission.current)
    found = bench.kubectl("get", "pods", "-l", "spark-role=executor", "-o", "name").split()
    assert found == ["pod/another-exec-1"]
    bench.kubectl("delete", "pod", "another-exec-1", "--force")


async def test_a_full_quota_is_waited_for_and_told_in_its_own_words(bench: Drivers) -> None:
    early = await bench.job()
    made = await bench.backend.reserve(early, works.key(early))
    bench.kubectl("create", "quota", "none", "--hard=pods=0")
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"driver": {"priorityClassName": "nonsense"}}, "no PriorityClass with name nonsense"),
        ({"serviceAccountName": "nobody"}, 'serviceaccount "nobody" not found'),
        ({"driver": {"labels": {"no label": "x"}}}, "metadata.labels"),
    ],
    ids=["priority class", "account", "label"],
)
async def test_what_the_api_server_refuses_is_told_in_its_words(bench: Drivers, settings: Object, words: str) -> None:
    job = await bench.job(**settings)
    answer = await bench.backend.reserve(job, works.key(job))
    assert isinstance(answer, Rejected)
    assert words in answer.message
    assert "spec.spark: " in answer.message
