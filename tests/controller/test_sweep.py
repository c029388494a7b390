"""The slow sweep: what has ended is let go, what runs is an alarm, what belongs to somebody is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durablejob_controller import metrics
from durablejob_controller.backends.contract import Leftover
from durablejob_controller.errors import BackendUnavailable, KubernetesUnavailable
from durablejob_controller.kube import JOBS
from durablejob_controller.sweep import Sweeper
from tests.controller.fake_kube import job_object
from tests.controller.scripted_backend import ScriptedBackend, ScriptedPlugin
from tests.controller.stage import FAST, Stage, staged

GONE = Leftover("uid-1", "Job/dj-1", "data", "load", "gone", runs=False)


async def swept(stage: Stage, *left: Leftover, namespaces: tuple[str, ...] = ()) -> list[str]:
    """What the backend was told after it said that this is left."""
    scripted = await stage.use_scripted()
    scripted.left = left
    await Sweeper(stage.kube, stage.jobs, stage.sites, replace(FAST, namespaces=namespaces)).sweep()
    return [said for said in scripted.done if said.startswith("discard")]


def told(backend: str = "fake") -> float | None:
    """What the alert sees."""
    labels = {"kind": "JobBackend", "namespace": "data", "backend": backend}
    return metrics.REGISTRY.get_sample_value("durablejob_strays", labels)


def strays() -> float:
    return told() or 0.0


async def test_what_has_ended_for_a_job_that_is_no_more_is_let_go() -> None:
    assert await swept(Stage(), GONE) == ["discard uid-1"]
    assert strays() == 0


async def test_what_runs_is_an_alarm_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert await swept(Stage(), replace(GONE, runs=True)) == []
    assert strays() == 1
    assert "Job/dj-1 in namespace data runs, and its DurableJob load is no more" in caplog.text


async def test_an_alarm_ends_when_nothing_is_left() -> None:
    stage = Stage()
    await swept(stage, replace(GONE, runs=True))
    await swept(stage)
    assert strays() == 0


async def test_an_alarm_ends_for_a_backend_that_is_gone() -> None:
    async with staged() as stage:
        stage.scripted.left = (replace(GONE, runs=True),)
        raw = await stage.backend(plugin={"name": "scripted"})
        sweeper = Sweeper(stage.kube, stage.jobs, stage.sites, FAST)
        await sweeper.sweep()
        assert told() == 1
        await stage.sites.remove(raw["metadata"]["uid"])
        await sweeper.sweep()
        assert told() is None


async def test_who_leads_no_more_has_no_alarm() -> None:
    async with staged() as stage:
        stage.scripted.left = (replace(GONE, runs=True),)
        await stage.use_scripted()
        sweeper = Sweeper(stage.kube, stage.jobs, stage.sites, FAST)
        await sweeper.sweep()
        assert told() == 1
        stage.sites.lead(False)
        assert told() is None
        await sweeper.sweep()  # it had begun before
        assert told() is None


async def test_no_answer_does_not_end_an_alarm() -> None:
    async with staged() as stage:
        stage.scripted.left = (replace(GONE, runs=True),)
        await stage.use_scripted()
        sweeper = Sweeper(stage.kube, stage.jobs, stage.sites, FAST)
        await sweeper.sweep()
        stage.scripted.fault = BackendUnavailable("away")
        await sweeper.sweep()
        assert told() == 1
        stage.scripted.fault, stage.scripted.left = None, ()
        await sweeper.sweep()
        assert told() == 0


async def test_another_job_of_the_same_name_does_not_own_it() -> None:
    stage = Stage()
    stage.kube.add(JOBS, job_object("load", namespace="data"))
    assert await swept(stage, GONE) == ["discard uid-1"]


async def test_what_belongs_to_a_job_is_left_alone_although_the_watch_has_not_told_of_it() -> None:
    stage = Stage()
    stage.kube.silent = True
    raw = stage.kube.add(JOBS, job_object("load", namespace="data"))
    assert await swept(stage, replace(GONE, job_uid=raw["metadata"]["uid"])) == []


async def test_other_namespaces_are_other_controllers() -> None:
    assert await swept(Stage(), GONE, namespaces=("another",)) == []
    assert await swept(Stage(), GONE, namespaces=("another", "data")) == ["discard uid-1"]


async def test_what_does_not_say_whose_it_is_is_left_alone() -> None:
    assert await swept(Stage(), replace(GONE, job="")) == []


async def test_no_answer_is_no_reason() -> None:
    stage = Stage()
    stage.kube.fail("get", JOBS, KubernetesUnavailable("away", 503))
    assert await swept(stage, GONE) == []
    assert await swept(stage, GONE) == ["discard uid-1"]


@pytest.mark.parametrize("error", [BackendUnavailable("its executors cannot be deleted"), ValueError("bug")])
async def test_one_that_cannot_be_let_go_hinders_nobody_behind_it(error: Exception) -> None:
    stage = Stage()
    stage.scripted.stuck = {"bad": error}
    left = (replace(GONE, id="bad"), replace(GONE, id="uid-2", runs=True), GONE)
    assert await swept(stage, *left) == ["discard uid-1"]
    assert strays() == 1


async def test_a_backend_that_does_not_answer_does_not_hinder_the_others() -> None:
    silent, well = ScriptedBackend(), ScriptedBackend()
    silent.fault, well.left = BackendUnavailable("away"), (GONE,)
    stage = Stage(scripted=ScriptedPlugin({"silent": silent, "well": well}))
    for name in ("silent", "well"):
        await stage.backend(name=name, plugin={"name": "scripted", "parameters": {"name": name}})
    await Sweeper(stage.kube, stage.jobs, stage.sites, FAST).sweep()
    assert "discard uid-1" in well.done
