"""The last lines of a failed program's log, where the backend's administrator wants them told."""

from __future__ import annotations

import asyncio

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_controller.backends.contract import Backend, Run
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_objects import tails
from durablejob_controller.backends.kubernetes_objects.tails import LENGTH, shortened
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import KubernetesUnavailable, NotFound
from tests.backends.kubernetes_job import works
from tests.backends.kubernetes_job.scripted_cluster import ScriptedCluster
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.controller.stage import until

JOB = works.job()
KEY = works.key(JOB)
POD = f"dj-{KEY}-pod"
FAILED = {"name": "main", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}


def make(cluster: ScriptedCluster, lines: int) -> Backend:
    surroundings = Surroundings("c-uid", "", Paths(), kubernetes=cluster, namespace=works.NAMESPACE, timeout=1.0)
    return plugin.make(JobBackendSpec.model_validate({"kubernetes": {"failureLogLines": lines}}), surroundings)


async def failed(cluster: ScriptedCluster, backend: Backend) -> Backend:
    """A Job whose program has ended with exit code 3."""
    await backend.submit(await works.reserve(JOB, backend))
    cluster.finish(KEY, "Failed", reason="BackoffLimitExceeded", message="too often")
    cluster.pods[0]["status"]["containerStatuses"] = [FAILED]
    return backend


async def seen(backend: Backend) -> Run:
    (run,) = (await backend.observe()).runs[KEY]
    return run


def reads(cluster: ScriptedCluster) -> list[str]:
    return [path for _, path, _ in cluster.asked if path.endswith("/log")]


async def test_the_last_lines_are_part_of_the_message() -> None:
    cluster = ScriptedCluster(logs={POD: "one\ntwo\nthree\n"})
    run = await seen(await failed(cluster, make(cluster, 2)))
    assert (run.message or "").endswith("ended with exit code 3 (Error). Its last lines:\ntwo\nthree")
    params = cluster.asked[-1][2] or {}
    assert (params["container"], params["tailLines"]) == ("main", "2")
    assert int(params["limitBytes"]) <= 64 * 1024


async def test_by_default_no_log_is_read() -> None:
    cluster = ScriptedCluster(logs={POD: "a secret\n"})
    run = await seen(await failed(cluster, make(cluster, 0)))
    assert reads(cluster) == []
    assert "secret" not in (run.message or "")


async def test_a_log_is_read_once() -> None:
    cluster = ScriptedCluster(logs={POD: "one\n"})
    backend = await failed(cluster, make(cluster, 5))
    messages = {(await seen(backend)).message for _ in range(2)}
    await backend.look_up("another", None)
    messages.add((await seen(backend)).message)
    assert len(messages) == 1
    assert len(reads(cluster)) == 1


async def test_what_is_listed_no_more_is_forgotten() -> None:
    cluster = ScriptedCluster(logs={POD: "one\n"})
    backend = await failed(cluster, make(cluster, 5))
    await seen(backend)
    (job,) = cluster.jobs.items()
    cluster.jobs.clear()
    await backend.observe()
    cluster.jobs[job[0]] = job[1]
    await seen(backend)
    assert len(reads(cluster)) == 2


async def test_of_a_program_that_ended_well_no_log_is_read() -> None:
    cluster = ScriptedCluster(logs={POD: "one\n"})
    backend = make(cluster, 5)
    await backend.submit(await works.reserve(JOB, backend))
    cluster.finish(KEY)
    await seen(backend)
    assert reads(cluster) == []


@pytest.mark.parametrize("error", [KubernetesUnavailable("secret words", 503), NotFound("secret words", 404)])
async def test_a_log_that_cannot_be_read_does_not_delay_the_end(error: Exception) -> None:
    cluster = ScriptedCluster(logs={POD: error})
    run = await seen(await failed(cluster, make(cluster, 5)))
    assert run.exit_code == 3
    assert "(its log could not be read: HTTP" in (run.message or "")
    assert "secret" not in (run.message or "")


async def test_a_log_that_is_never_told_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "PATIENCE", 0.05)
    cluster = ScriptedCluster(hang=True)
    backend = await failed(cluster, make(cluster, 5))
    run = await seen(backend)
    assert run.exit_code == 3
    assert "(its log could not be read in time)" in (run.message or "")


async def test_while_logs_are_waited_for_it_is_known_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "PATIENCE", 0.5)
    cluster = ScriptedCluster(hang=True)
    backend = await failed(cluster, make(cluster, 5))
    looking = asyncio.create_task(backend.observe())
    await until(lambda: reads(cluster))
    cluster.asked.clear()
    await backend.kill(cluster.of(KEY)["metadata"]["uid"])
    assert [method for method, _, _ in cluster.asked] == ["DELETE"]
    await looking


def test_what_is_told_is_short_and_harmless() -> None:
    assert shortened("fine\n\x1b[31mred\x07\r\n\tdone \x00\n") == "fine\n[31mred\n\tdone"
    assert shortened("naïve – ☃\n") == "naïve – ☃"
    long = shortened("x" * 10_000 + "end")
    assert long.endswith("xend")
    assert len(long) == LENGTH + 1


async def test_the_right_to_read_logs_is_needed_only_where_they_are_told() -> None:
    cluster = ScriptedCluster(denied={"get pods/log"})
    assert (await make(cluster, 0).probe()).ready
    probe = await make(cluster, 1).probe()
    assert (probe.ready, probe.reason) == (False, "MissingRights")
    assert "get pods/log" in probe.message
