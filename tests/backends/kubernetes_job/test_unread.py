"""An object whose status cannot be read: it hides itself, and none of the others, and nothing is concluded from it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from durablejob_api.status import State
from durablejob_controller.backends.contract import Accepted, Backend, Identity, Phase, Submission, Traits, Verdict
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_job import manifest
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.decide import decide
from durablejob_controller.errors import BackendUnavailable
from tests.backends.kubernetes_job import works
from tests.backends.kubernetes_job.scripted_cluster import NOW as START
from tests.backends.kubernetes_job.scripted_cluster import ScriptedCluster
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.controller import situations
from tests.controller.situations import by_object, seen, site, told

JOBS = {name: works.job(name) for name in ("a", "b", "c", "d", "e")}
KEYS = {name: works.key(job) for name, job in JOBS.items()}
TRAITS = Traits(Identity.OBJECT, gated=False)


def make(cluster: ScriptedCluster) -> Backend:
    surroundings = Surroundings("c-uid", "", Paths(), kubernetes=cluster, namespace=works.NAMESPACE, timeout=1.0)
    return plugin.make(works.SPEC, surroundings)


async def running(cluster: ScriptedCluster, backend: Backend) -> dict[str, Submission]:
    """All of them run; ``c`` cannot be read."""
    submissions = {name: await works.reserve(job, backend) for name, job in JOBS.items()}
    for submission in submissions.values():
        assert isinstance(await backend.submit(submission), Accepted)
    cluster.of(KEYS["c"])["status"]["ready"] = "many"
    return submissions


async def test_one_that_cannot_be_read_hides_none_of_the_others() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    cluster.finish(KEYS["b"])
    found = (await backend.observe()).runs
    phases = {name: found[key][0].phase for name, key in KEYS.items()}
    assert phases == dict.fromkeys("ade", Phase.RUNNING) | {"b": Phase.ENDED, "c": Phase.QUEUED}


async def test_it_is_there_as_it_was_started_and_held_whoever_asks() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submissions = await running(cluster, backend)
    uid = cluster.of(KEYS["c"])["metadata"]["uid"]
    listed = (await backend.observe()).runs[KEYS["c"]]
    assert listed == (await backend.look_up(KEYS["c"], submissions["c"].current)).runs
    (run,) = listed
    assert (run.id, run.started_time, run.held, run.verdict) == (uid, START, True, None)
    assert [one.runs for one in await backend.leftovers() if one.id == uid] == [True]


async def test_one_that_was_not_activated_is_inert_all_the_same() -> None:
    cluster = ScriptedCluster()
    cluster.add({**manifest.body(JOBS["c"], KEYS["c"]), "status": {"conditions": [{"type": "Complete"}]}})
    (run,) = (await make(cluster).observe()).runs[KEYS["c"]]
    assert run.phase is Phase.INERT


async def test_the_log_says_so_once_and_again_when_it_could_be_read_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    for _ in range(3):
        await backend.observe()
    assert [record.getMessage() for record in caplog.records] == [
        f"the status of Job data/dj-{KEYS['c']} cannot be read: ValueError: invalid literal for int() with base 10: "
        "'many'"
    ]
    cluster.of(KEYS["c"])["status"]["ready"] = 1
    assert (await backend.observe()).runs[KEYS["c"]][0].phase is Phase.RUNNING
    cluster.of(KEYS["c"])["status"]["ready"] = "many"
    await backend.observe()
    assert len(caplog.records) == 2


async def test_it_costs_the_others_few_requests() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    for job in cluster.jobs.values():
        job["status"]["active"] = 1
        if job["status"]["ready"] == 1:
            job["status"]["ready"] = 0  # their pods are asked for
    await backend.observe()
    cluster.asked.clear()
    await backend.observe()
    assert [path for _, path, _ in cluster.asked].count(f"/api/v1/namespaces/{works.NAMESPACE}/pods") == 1


async def test_nothing_is_concluded_from_it() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    (run,) = (await backend.observe()).runs[KEYS["c"]]
    waiting = by_object().model_copy(update={"reservation": situations.reservation(object_uid=run.id)})
    ran = waiting.model_copy(update={"started_at": situations.ago(60), "run_started_time": START, "reason": "Running"})
    where = site(TRAITS)

    def decided(**given: Any) -> str:
        return told(decide(situations.job(**given), where, seen(run), situations.NOW))

    assert decided(recorded=ran, state=State.RUNNING) == "Running StatusUnreadable"  # a person can put it right
    assert decided(recorded=waiting) == "Submitted StatusUnreadable"
    assert decided(recorded=ran, state=State.RUNNING, cancelled=True).endswith(f"kill {run.id}")


async def test_it_ends_once_it_can_be_read() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    await backend.observe()
    cluster.finish(KEYS["c"])
    (run,) = (await backend.observe()).runs[KEYS["c"]]
    assert run.verdict is Verdict.SUCCEEDED


async def test_what_is_no_object_at_all_is_no_answer() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await running(cluster, backend)
    cluster.of(KEYS["c"])["metadata"]["ownerReferences"] = ["x"]
    with pytest.raises(BackendUnavailable, match="not made of Jobs"):
        await backend.observe()
