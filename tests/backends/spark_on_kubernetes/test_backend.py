"""The verbs, for drivers: what a release leaves, and that a kind is asked about its own objects only."""

from __future__ import annotations

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_controller.backends.contract import Backend, Offer
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_objects.objects import HOLD, RELEASED
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import InvalidBackend, InvalidWork
from tests.backends.kubernetes_job import works as job_works
from tests.backends.spark_on_kubernetes import works
from tests.backends.spark_on_kubernetes.scripted_pods import ScriptedPods
from tests.backends.spark_standalone.scripted_gate import Paths

SPARK = works.job()


def make(cluster: ScriptedPods, spec: JobBackendSpec = works.SPEC) -> Backend:
    return plugin.make(spec, Surroundings("c-uid", "", Paths(), kubernetes=cluster, namespace="data", timeout=1.0))


async def test_a_driver_is_reserved_inert_and_activated_once() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    offers = [await backend.reserve(SPARK, works.KEY) for _ in range(2)]
    assert offers[0] == offers[1]
    assert isinstance(offers[0], Offer)
    submission = await job_works.reserve(SPARK, backend)
    for _ in range(3):
        await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    assert "schedulingGates" not in driver["spec"]
    assert driver["metadata"]["finalizers"] == [HOLD]
    assert "ownerReferences" not in driver["metadata"]
    assert cluster.changes == 1


async def test_a_release_takes_the_executors_away_and_gives_the_driver_back_to_its_durablejob() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    driver["status"] = {"phase": "Succeeded"}
    await backend.release(SPARK, submission.current)
    assert cluster.cleared == [f"spark-app-selector=dj-{works.KEY},spark-role=executor"]
    assert driver["metadata"]["finalizers"] == []
    assert driver["metadata"]["labels"][RELEASED] == "true"
    (owner,) = driver["metadata"]["ownerReferences"]
    assert owner["uid"] == SPARK.metadata.uid


async def test_one_that_runs_on_belongs_to_nobody() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    driver["status"] = {"phase": "Running"}
    await backend.release(SPARK, submission.current)
    assert driver["metadata"]["finalizers"] == []
    assert "ownerReferences" not in driver["metadata"]


async def test_without_settings_for_spark_a_backend_runs_jobs_only() -> None:
    backend = make(ScriptedPods(), job_works.SPEC)
    with pytest.raises(InvalidWork, match=r"runs spec\.kubernetesJob only"):
        backend.validate(SPARK)
    make(ScriptedPods()).validate(SPARK)


def test_defaults_that_cannot_work_refuse_the_backend() -> None:
    given = {"kubernetes": {"spark": {}}, "defaults": {"sparkConf": {"spark.master": "local"}}}
    with pytest.raises(InvalidBackend):
        make(ScriptedPods(), JobBackendSpec.model_validate(given))
