"""The engine after a restore of etcd: it notices, holds everything, says so, and goes on when a person agrees."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from durablejob_api.marks import CONFIRM_RESTORE
from durablejob_controller.backends.contract import Identity, Traits, Unclear
from durablejob_controller.backends.fake import world
from durablejob_controller.kube import BACKENDS, JOBS, Object
from tests.controller.fake_kube import FakeKube, backend_object, job_object
from tests.controller.stage import staged, until
from tests.controller.test_engine import SETTINGS, cluster, running


def state(kube: FakeKube, name: str) -> tuple[str, str]:
    status = kube.objects[(JOBS.plural, "data", name)].get("status") or {}
    return status.get("state", ""), status.get("current", {}).get("reason", "")


def backend(kube: FakeKube) -> Object:
    return kube.objects[(BACKENDS.plural, "data", "fake")]


def ready(kube: FakeKube) -> tuple[str, str]:
    conditions = (backend(kube).get("status") or {}).get("conditions") or [{"status": "", "reason": ""}]
    return conditions[0]["status"], conditions[0]["reason"]


def events(kube: FakeKube) -> list[tuple[str, str]]:
    """Reason and kind of each; they are posted beside everything else."""
    return [(raw["reason"], raw["regarding"]["kind"]) for _, plural, raw in kube.writes if plural == "events"]


async def test_after_a_restore_nothing_begins_until_a_person_agrees() -> None:
    kube, name = cluster(), f"cluster-{uuid.uuid4().hex[:8]}"
    kube.add(BACKENDS, backend_object(clusterID=name))
    async with running(kube):
        await until(lambda: ready(kube)[0] == "True")
        kube.silent = True  # as a watch that waits for versions that will not come
        kube.add(JOBS, job_object("before"))
        saved = kube.backup()
        kube.silent = False
        kube.change(JOBS, "data", "before", metadata={"labels": {"a": "b"}})
        await until(lambda: state(kube, "before")[0] == "Succeeded")
        assert len(world(name).ledger) == 1
        world(name).by_key.clear()  # the system has forgotten: nothing but the storage's revision tells
        kube.add(JOBS, job_object("other"))
        await until(lambda: state(kube, "other")[0] == "Succeeded")  # and the poller has seen that it has forgotten
        kube.silent = True
        kube.restore(*saved)
        await until(lambda: state(kube, "before") == ("Pending", "StorageRolledBack"))
        await until(lambda: ready(kube) == ("False", "StorageRolledBack"))
        mark = backend(kube)["status"]["rolledBackFrom"]
        assert f"{CONFIRM_RESTORE}={mark}" in backend(kube)["status"]["message"]
        await until(lambda: ("StorageRolledBack", "JobBackend") in events(kube))
        kube.silent = False
        kube.change(BACKENDS, "data", "fake", metadata={"annotations": {CONFIRM_RESTORE: "1"}})  # of another restore
        kube.add(JOBS, job_object("after"))
        await until(lambda: state(kube, "after") == ("Pending", "StorageRolledBack"))
        assert len(world(name).ledger) == 2
        kube.change(BACKENDS, "data", "fake", metadata={"annotations": {CONFIRM_RESTORE: mark}})
        await until(lambda: state(kube, "after")[0] == "Succeeded")
        await until(lambda: ready(kube)[0] == "True")


@pytest.mark.parametrize("identity", [Identity.RESERVED_ID, Identity.CLAIM])
async def test_the_write_that_reserves_tells_it_before_anything_is_submitted(identity: Identity) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(identity, gated=identity is Identity.CLAIM)
        stage.kube.high_water.told = lambda before, found: stage.sites.roll_back(before)
        stage.kube.high_water.mark = 1000
        stage.job()
        await stage.work(lambda: stage.reason() == "StorageRolledBack")
        assert (stage.state(), backend.submitted) == ("Submitting", [])


async def test_so_does_a_look_before_a_submission_that_no_write_precedes() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.answer = Unclear("nobody knows")
        stage.job()
        await stage.work(lambda: len(backend.submitted) == 1)
        stage.kube.high_water.told = lambda before, found: stage.sites.roll_back(before)
        stage.kube.high_water.mark = 1000
        await stage.work(lambda: stage.reason() == "StorageRolledBack")
        assert len(backend.submitted) == 1


async def test_the_hold_outlives_the_process_in_the_backends_status() -> None:
    kube, name = cluster(), f"cluster-{uuid.uuid4().hex[:8]}"
    raw = kube.add(BACKENDS, backend_object(clusterID=name))
    raw["status"] = {"rolledBackFrom": "1000"}
    kube.objects[(BACKENDS.plural, "data", "fake")] = raw
    async with running(kube):
        kube.add(JOBS, job_object("held"))
        await until(lambda: state(kube, "held") == ("Pending", "StorageRolledBack"))
        assert world(name).ledger == []


async def test_a_new_process_notices_it_by_its_file(tmp_path: Path) -> None:
    kube, name = cluster(), f"cluster-{uuid.uuid4().hex[:8]}"
    kube.add(BACKENDS, backend_object(clusterID=name))
    kube.add(JOBS, job_object("load"))
    saved = kube.backup()
    settings = replace(SETTINGS, high_water_file=str(tmp_path / "high-water"))
    async with running(kube, settings):
        await until(lambda: state(kube, "load")[0] == "Succeeded")
        await until((tmp_path / "high-water").exists)
    world(name).by_key.clear()
    kube.restore(*saved)
    async with running(kube, settings):
        await until(lambda: state(kube, "load") == ("Pending", "StorageRolledBack"))
        assert len(world(name).ledger) == 1
