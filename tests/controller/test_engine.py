"""All parts together: listeners, watch, list, leadership and the end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from durablejob_api.status import Current
from durablejob_controller import engine as engines
from durablejob_controller.backends.contract import Sighting
from durablejob_controller.backends.fake import world
from durablejob_controller.backends.registry import Registry
from durablejob_controller.engine import Engine
from durablejob_controller.errors import KubernetesUnavailable, NotServed
from durablejob_controller.kube import BACKENDS, JOBS, LEASES, NAMESPACES, Object
from durablejob_controller.settings import Settings
from tests.controller.fake_kube import FakeKube, backend_object, job_object
from tests.controller.scripted_backend import ScriptedBackend, ScriptedPlugin
from tests.controller.stage import FAST, until

SETTINGS = replace(
    FAST, gate_listen="127.0.0.1:0", http_listen="127.0.0.1:0", identity="one", lease_duration=0.3, relist_interval=0.1
)


class Running:
    """An engine on a cluster of its own; its watch is the fake API server's."""

    def __init__(self, kube: FakeKube, settings: Settings, registry: Registry | None = None) -> None:
        self.kube = kube
        self.engine = Engine(kube, settings, registry or Registry.installed())
        self.tasks: list[asyncio.Future[None]] = []
        kube.watchers.append(self.seen)

    def seen(self, kind: str, raw: Object) -> None:
        if raw.get("kind") == "DurableJob":
            self.engine.job_seen(kind, raw)
        elif raw.get("kind") in ("JobBackend", "ClusterJobBackend"):
            self.tasks.append(asyncio.ensure_future(self.engine.backend_seen(kind, raw)))

    async def get(self, path: str) -> httpx.Response:
        port = self.engine._runners[0].addresses[0][1]
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://127.0.0.1:{port}{path}")


def cluster() -> FakeKube:
    kube = FakeKube()
    kube.add(NAMESPACES, {"metadata": {"name": "kube-system"}})
    return kube


@asynccontextmanager
async def running(
    kube: FakeKube, settings: Settings = SETTINGS, registry: Registry | None = None
) -> AsyncIterator[Running]:
    its = Running(kube, settings, registry)
    try:
        await its.engine.start()
        yield its
    finally:
        kube.watchers.remove(its.seen)
        await asyncio.gather(*its.tasks)
        await its.engine.stop()


def state(kube: FakeKube, name: str = "load") -> str:
    return str(kube.objects[(JOBS.plural, "data", name)].get("status", {}).get("state", ""))


def ref(name: str) -> Object:
    return {"kind": "JobBackend", "name": name, "type": "Plugin"}


def backend(kube: FakeKube, **spec: Any) -> str:
    name = f"cluster-{uuid.uuid4().hex[:8]}"
    kube.add(BACKENDS, backend_object(clusterID=name, **spec))
    return name


async def test_what_is_there_at_the_start_and_what_comes_later_is_worked_on() -> None:
    kube = cluster()
    name = backend(kube)
    kube.add(JOBS, job_object("before"))
    async with running(kube):
        await until(lambda: state(kube, "before") == "Succeeded")
        kube.add(JOBS, job_object("after"))
        await until(lambda: state(kube, "after") == "Succeeded")
    assert len(world(name).ledger) == 2


async def test_health_readiness_and_metrics_are_served() -> None:
    kube = cluster()
    async with running(kube) as its:
        assert (await its.get("/healthz")).text == "ok\n"
        assert (await its.get("/readyz")).status_code == 200
        assert "workqueue_depth" in (await its.get("/metrics")).text
        its.engine._tasks[-1].cancel()
        await until(its.engine._tasks[-1].done)
        answer = await its.get("/healthz")
        assert (answer.status_code, answer.text) == (500, "ended: ['elector']\n")


@pytest.mark.parametrize("said", [b"", b"POST /v1/k1 HTTP/1.1\r\nHost:"])
async def test_a_connection_that_does_not_bring_a_whole_request_is_ended(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(engines, "IDLE_PATIENCE", 0.2)
    async with running(cluster()) as its:
        for runner in its.engine._runners:
            reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
            writer.write(said)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()


async def test_it_waits_for_the_crds_and_serves_health_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablejob_controller.engine.CRD_PATIENCE", 0.02)
    kube = cluster()
    kube.fail("list", JOBS, NotServed("404 page not found"), times=5)
    kube.fail("list", BACKENDS, KubernetesUnavailable("away"), times=3)
    its = Running(kube, SETTINGS)
    starting = asyncio.create_task(its.engine.start())
    await until(lambda: kube.calls)
    assert (await its.get("/healthz")).status_code == 200
    assert (await its.get("/readyz")).status_code == 503
    await starting
    assert (await its.get("/readyz")).status_code == 200
    await its.engine.stop()


async def test_a_standby_takes_over_what_it_has_only_watched() -> None:
    kube = cluster()
    name = backend(kube)
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 0.5, "renewTime": "1"}
    lease = {"metadata": {"name": "durablejob-controller", "namespace": "system"}, "spec": spec}
    kube.add(LEASES, lease)
    async with running(kube):
        kube.add(JOBS, job_object())
        await asyncio.sleep(0.3)
        assert state(kube) == ""
        await until(lambda: state(kube) == "Succeeded")
    assert len(world(name).ledger) == 1


async def test_two_that_both_decide_start_each_program_once() -> None:
    kube = cluster()
    name = backend(kube)
    both = replace(SETTINGS, elect=False)
    async with running(kube, both), running(kube, replace(both, identity="two")):
        for number in range(10):
            kube.add(JOBS, job_object(f"job-{number}"))
        await until(lambda: all(state(kube, f"job-{n}") == "Succeeded" for n in range(10)))
    assert len(world(name).ledger) == 10


def stuck(slow: ScriptedBackend) -> asyncio.Event:
    """Its look-ups are answered when this is set."""
    answer = asyncio.Event()

    async def waits(key: str, current: Current | None) -> Sighting:
        slow.done.append("look_up")
        await answer.wait()
        return Sighting((), "life-1")

    slow.look_up = waits  # type: ignore[method-assign]  # the one verb that is to hang
    return answer


async def test_one_slow_backend_does_not_hold_up_the_jobs_of_another() -> None:
    kube = cluster()
    slow, well = ScriptedBackend(), ScriptedBackend()
    slow.cluster_id = "elsewhere"
    registry = Registry({"scripted": ScriptedPlugin({"slow": slow, "well": well})})
    for name in ("slow", "well"):
        kube.add(BACKENDS, backend_object(name, plugin={"name": "scripted", "parameters": {"name": name}}))
    answer = stuck(slow)
    async with running(kube, replace(SETTINGS, workers=4), registry):
        for number in range(10):
            kube.add(JOBS, job_object(f"job-{number}", backendRef=ref("slow")))
        await until(lambda: slow.done.count("look_up") == 2)
        kube.add(JOBS, job_object("well", backendRef=ref("well")))
        await until(lambda: well.submitted)
        assert slow.done.count("look_up") == 2  # half of the workers
        answer.set()


async def test_backends_of_one_slow_system_share_their_part_of_the_workers() -> None:
    kube = cluster()
    slow = ScriptedBackend()
    registry = Registry({"scripted": ScriptedPlugin({"one": slow, "two": slow})})
    for name in ("one", "two"):
        kube.add(BACKENDS, backend_object(name, plugin={"name": "scripted", "parameters": {"name": name}}))
    answer = stuck(slow)
    async with running(kube, replace(SETTINGS, workers=4), registry):
        for number in range(10):
            kube.add(JOBS, job_object(f"job-{number}", backendRef=ref(("one", "two")[number % 2])))
        await until(lambda: slow.done.count("look_up") == 2)
        await asyncio.sleep(0.3)
        assert slow.done.count("look_up") == 2
        answer.set()


async def test_what_the_watch_has_missed_is_found_by_the_periodic_list() -> None:
    kube = cluster()
    name = backend(kube)
    async with running(kube) as its:
        kube.silent = True
        raw = kube.add(JOBS, job_object())
        other = kube.add(BACKENDS, backend_object("other"))
        await until(lambda: state(kube) == "Succeeded")
        assert its.engine._sites is not None
        await until(lambda: other["metadata"]["uid"] in its.engine._sites.uids())  # type: ignore[union-attr]
        kube.objects.pop((JOBS.plural, "data", "load"))
        kube.objects.pop((BACKENDS.plural, "data", "other"))
        await until(lambda: its.engine._jobs.get(raw["metadata"]["uid"]) is None)
        await until(lambda: other["metadata"]["uid"] not in its.engine._sites.uids())  # type: ignore[union-attr]
    assert len(world(name).ledger) == 1


async def test_a_list_from_the_past_makes_nothing_vanish() -> None:
    kube = cluster()
    name = backend(kube)
    async with running(kube) as its:
        uid = kube.add(JOBS, job_object(plugin={"parameters": {"seconds": "0.5"}}))["metadata"]["uid"]
        await until(lambda: state(kube) == "Running")
        kube.behind = True
        before = len(kube.calls)
        await until(lambda: sum(call[:2] == ("list", JOBS.plural) for call in kube.calls[before:]) >= 3)
        assert its.engine._jobs.get(uid) is not None
        assert its.engine._sites is not None
        assert len(its.engine._sites.uids()) == 1
        await until(lambda: state(kube) == "Succeeded")
    assert len(world(name).ledger) == 1


async def test_a_list_that_fails_is_tried_again() -> None:
    kube = cluster()
    async with running(kube) as its:
        kube.fail("list", JOBS, KubernetesUnavailable("away"))
        kube.fail("list", JOBS, ZeroDivisionError("bug"))
        before = len(kube.calls)
        await until(lambda: sum(call[:2] == ("list", JOBS.plural) for call in kube.calls[before:]) >= 3)
        assert (await its.get("/healthz")).status_code == 200


async def test_an_object_that_cannot_be_taken_in_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    kube = cluster()
    backend(kube)
    bad = job_object("bad")
    bad["metadata"]["creationTimestamp"] = "yesterday"
    kube.add(JOBS, bad)
    kube.add(BACKENDS, {**backend_object("broken"), "spec": "nonsense"})
    kube.add(JOBS, job_object("good"))
    async with running(kube) as its:
        await until(lambda: state(kube, "good") == "Succeeded")
        assert (await its.get("/healthz")).status_code == 200
    assert "DurableJob bad cannot be taken in" in caplog.text


async def test_the_end_gives_the_lease_back_and_leaves_no_task_behind() -> None:
    kube = cluster()
    name = backend(kube)
    before = asyncio.all_tasks()
    async with running(kube):
        kube.add(JOBS, job_object(plugin={"parameters": {"seconds": "600"}}))
        await until(lambda: state(kube) == "Running")
    assert kube.objects[(LEASES.plural, "system", "durablejob-controller")]["spec"]["holderIdentity"] == ""
    await until(lambda: asyncio.all_tasks() <= before)
    (application,) = world(name).applications.values()
    assert not application.killed


async def test_events_tell_each_transition_once() -> None:
    kube = cluster()
    backend(kube)
    async with running(kube):
        kube.add(JOBS, job_object(plugin={"parameters": {"seconds": "0.2"}}))
        await until(lambda: any(event["reason"] == "Succeeded" for event in kube.written("events")))
    reasons = [event["reason"] for event in kube.written("events")]
    assert reasons[0] == "Submitting"
    assert len(set(reasons)) == len(reasons)
