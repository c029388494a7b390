"""A job's life on the stand-in whose ResourceManager forgets it between its end and the write that would tell of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durablejob_controller.backends.yarn import plugin
from durablejob_controller.errors import KubernetesUnavailable
from durablejob_controller.kube import BACKENDS, JOBS
from tests.backends.yarn import works
from tests.backends.yarn.scripted_yarn import App, ScriptedYarn
from tests.controller.stage import Stage, pause, staged


async def _ends_at_once(cluster: ScriptedYarn, app: App) -> None:
    cluster.launch(app)
    cluster.end(app)


@asynccontextmanager
async def _heir(before: Stage) -> AsyncIterator[Stage]:
    """The controller process that comes after: it has what is in the API server."""
    async with staged(yarn=plugin) as stage:
        stage.kube.objects, stage.kube._serial = before.kube.objects, before.kube._serial
        await stage.sites.put(stage.kube.objects[(BACKENDS.plural, "data", "fake")])
        stage._seen("ADDED", stage.raw())
        yield stage


async def test_what_was_seen_and_is_evicted_before_its_end_is_written_is_lost_and_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The API server takes no write from the submission on; so nothing but the fence knows that it was seen."""
    pause(monkeypatch, lambda times, first=0.02, most=0.2: min(most, first * 2 ** min(times, 9)))
    async with works.serving(ScriptedYarn(live=_ends_at_once)) as cluster, staged(yarn=plugin) as first:
        await first.backend(name="fake", **{"plugin": None, **works.backend(cluster.url).to_api()})
        submit = first.reconciler._external.submit

        async def cut_off(*arguments: Any) -> bool:
            first.kube.fail("replace", JOBS, KubernetesUnavailable("away"), times=10**6)
            return await submit(*arguments)

        monkeypatch.setattr(first.reconciler._external, "submit", cut_off)
        ref = {"kind": "JobBackend", "name": "fake", "type": "Yarn"}
        first.job(backendRef=ref, plugin=None, yarn={"command": "run"})
        await first.work(lambda: any(".seen/" in path for path in cluster.files), patience=30)
        assert first.state() == "Submitting"
        cluster.forget()
        async with _heir(first) as second:
            await second.work(lambda: second.state().startswith(("Lost", "Failed", "Succeeded")), patience=30)
            assert (second.state(), second.reason()) == ("Lost", "Lost")
        assert len(cluster.runs) == 1
