"""Backends come, change and go, told by a watch and a list at once; and what is written about them."""

from __future__ import annotations

import asyncio
import base64
import copy
from typing import Any

import pytest

from durablejob_api.backend import Guarantee
from durablejob_api.marks import BACKEND_FINALIZER
from durablejob_controller.backend_report import Findings, report
from durablejob_controller.backends.contract import Probe
from durablejob_controller.errors import BackendUnavailable, Conflict, Forbidden, KubernetesUnavailable
from durablejob_controller.kube import BACKENDS, JOBS, SECRETS, Object
from durablejob_controller.settings import Settings
from tests.controller.fake_kube import backend_object
from tests.controller.scripted_backend import READY, ScriptedPlugin
from tests.controller.stage import Stage, staged, until

SCRIPTED: dict[str, Any] = {"plugin": {"name": "scripted"}}


def stored(stage: Stage, name: str = "fake") -> Object:
    return stage.kube.objects[(BACKENDS.plural, "data", name)]


def ready(stage: Stage) -> tuple[str, str]:
    """Status and reason of the Ready condition."""
    found = [c for c in stored(stage).get("status", {}).get("conditions", []) if c["type"] == "Ready"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def finalizers(stage: Stage) -> list[str]:
    return list(stored(stage)["metadata"].get("finalizers") or [])


def tasks(word: str) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(word) and not task.done()]


# --- come, change, go ------------------------------------------------------------------------------------


async def test_an_older_version_does_not_undo_a_newer_one() -> None:
    async with staged() as stage:
        old = copy.deepcopy(await stage.backend(**SCRIPTED))
        new = stage.kube.change(BACKENDS, "data", "fake", spec={"clusterID": "new"})
        await stage.sites.put(new)
        await stage.sites.put(old)
        (entry,) = stage.sites._entries.values()
        assert entry.raw["spec"]["clusterID"] == "new"


async def test_the_watch_and_the_list_at_once_leave_one_prober_and_one_poller() -> None:
    async with staged() as stage:
        raw = stage.kube.add(BACKENDS, backend_object(**SCRIPTED))
        changed = stage.kube.change(BACKENDS, "data", "fake", spec={"clusterID": "new"})
        await asyncio.gather(*(stage.sites.put(copy.deepcopy(version)) for version in (raw, changed, raw, changed)))
        assert len(tasks("probe")) == len(tasks("poll")) == 1
        await stage.sites.remove(raw["metadata"]["uid"])
        assert tasks("probe") + tasks("poll") == []


async def test_a_late_word_of_a_deletion_does_not_remove_what_came_after() -> None:
    async with staged() as stage:
        old = await stage.backend(**SCRIPTED)
        stage.kube.objects.clear()
        await stage.backend(**SCRIPTED)
        await stage.sites.remove(old["metadata"]["uid"])
        assert len(stage.sites.uids()) == 1


async def test_an_edited_backend_is_made_anew_and_the_old_one_closed() -> None:
    async with staged() as stage:
        await stage.backend(**SCRIPTED)
        plugin = stage.registry._named["scripted"]
        assert isinstance(plugin, ScriptedPlugin)
        await stage.sites.put(stage.kube.change(BACKENDS, "data", "fake", spec={"clusterID": "new"}))
        assert (plugin.made, stage.scripted.ended) == (2, True)
        await stage.sites.put(stage.kube.change(BACKENDS, "data", "fake", metadata={"labels": {"a": "b"}}))
        assert plugin.made == 2


async def test_who_waits_for_a_backend_that_is_replaced_gets_an_error_and_no_cancellation() -> None:
    async with staged() as stage:
        await stage.backend(**SCRIPTED)
        stage.scripted.gate = asyncio.Event()
        (entry,) = stage.sites._entries.values()
        assert entry.poller is not None
        waiting = asyncio.create_task(entry.poller.fresh())
        await until(lambda: stage.scripted.observed)
        await stage.sites.put(stage.kube.change(BACKENDS, "data", "fake", spec={"clusterID": "new"}))
        assert not waiting.done()
        stage.scripted.fault = BackendUnavailable("closed")
        stage.scripted.gate.set()
        with pytest.raises(BackendUnavailable):
            await waiting


# --- probing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BackendUnavailable("m1 is away"), ZeroDivisionError("bug")])
async def test_a_probe_that_fails_is_tried_again_and_stops_nobody(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durablejob_controller.prober.PROBE_AGAIN", 0.05)
    async with staged() as stage:
        stage.scripted.found = error
        await stage.backend(**SCRIPTED)
        await stage.backend(name="other")
        stage.job()
        await stage.work(lambda: stage.reason() == "BackendNotReady")
        assert ready(stage)[0] == "False"
        stage.scripted.found = READY
        await stage.work(lambda: stage.scripted.submitted)
        await until(lambda: ready(stage) == ("True", "Ready"))


async def test_a_backend_that_is_not_ready_is_probed_ever_more_seldom_unless_jobs_wait_for_it() -> None:
    """A thousand of them must not keep the controller from its other work."""
    async with staged(Settings(probe_interval=30)) as stage:
        await stage.backend(**SCRIPTED)
        (entry,) = stage.sites.entries()
        assert [stage.sites._prober._pause(entry, failures) for failures in (0, 1, 2, 3, 4, 99)] == [
            30,
            5,
            10,
            20,
            30,
            30,
        ]
        stage.job()
        assert [stage.sites._prober._pause(entry, failures) for failures in (0, 1, 2, 3, 4, 99)] == [30, 5, 5, 5, 5, 5]


async def test_a_new_leader_probes_its_backends_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablejob_controller.sites.APART", 0.1)
    async with staged(Settings(probe_interval=30)) as stage:
        for number in range(5):
            await stage.backend(name=f"b{number}", **SCRIPTED)
        await until(lambda: stage.scripted.done.count("probe") == 5)
        for entry in stage.sites.entries():
            entry.asked.clear()
        stage.sites.lead(False)
        assert [entry.asked.is_set() for entry in stage.sites.entries()] == [False] * 5
        stage.sites.lead(True)
        await asyncio.sleep(0.05)
        assert stage.scripted.done.count("probe") <= 7
        await until(lambda: stage.scripted.done.count("probe") >= 10)


async def test_a_status_that_cannot_be_written_or_read_does_not_end_the_probing() -> None:
    async with staged() as stage:
        stage.kube.fail("replace", BACKENDS, KubernetesUnavailable("away"))
        stage.kube.fail("replace", BACKENDS, ZeroDivisionError("bug"))
        await stage.backend(**SCRIPTED)
        await until(lambda: ready(stage) == ("True", "Ready"))


async def test_the_status_is_written_only_when_it_is_news() -> None:
    async with staged() as stage:
        await stage.backend(**SCRIPTED)
        await until(lambda: stage.scripted.done.count("probe") >= 4)
        assert len(stage.kube.written("jobbackends/status")) == 1
        stage.scripted.found = Probe(True, "Ready", "another life", Guarantee.EXACT, incarnation="life-2")
        await until(lambda: stored(stage)["status"]["incarnation"] == "life-2")


async def test_who_stands_by_writes_nothing_until_it_leads() -> None:
    async with staged() as stage:
        stage.sites.lead(False)
        await stage.backend(**SCRIPTED)
        await asyncio.sleep(0.05)
        assert stage.kube.writes == []
        stage.sites.lead(True)
        await until(lambda: ready(stage) == ("True", "Ready"))


async def test_what_a_system_says_of_itself_is_cut_to_what_a_status_may_hold() -> None:
    async with staged() as stage:
        long = Probe(True, "Ready", "m" * 5000, Guarantee.EXACT, version="v" * 500, incarnation="i" * 500)
        stage.scripted.found = long
        await stage.backend(**SCRIPTED)
        await until(lambda: ready(stage) == ("True", "Ready"))
        status = stored(stage)["status"]
        assert [len(status[name]) for name in ("message", "version", "incarnation")] == [1024, 128, 128]


async def test_a_swap_lost_to_somebody_else_is_made_on_what_is_there_now_and_not_in_a_loop() -> None:
    async with staged() as stage:
        raw = stage.kube.add(BACKENDS, backend_object(**SCRIPTED))
        stage.kube.change(BACKENDS, "data", "fake", metadata={"labels": {"a": "b"}})
        new = await report(stage.kube, raw, Findings(READY, True, "c", "Plugin"))
        assert new["metadata"]["labels"] == {"a": "b"}
        assert ready(stage) == ("True", "Ready")
        stage.kube.fail("replace", BACKENDS, Conflict("for ever"), times=1000)
        before = len(stage.kube.calls)
        await report(stage.kube, raw, Findings(Probe(False, "Away", "", Guarantee.NONE), True, "c", "P"))
        assert len(stage.kube.calls) - before < 10


# --- in use --------------------------------------------------------------------------------------------


async def test_our_finalizer_is_there_before_the_first_reservation() -> None:
    async with staged() as stage:
        await stage.use_scripted()
        seen: list[list[str]] = []
        stage.scripted.on_submit = lambda _: seen.append(finalizers(stage))
        stage.job()
        await stage.work(lambda: seen)
        verbs = [(verb, plural) for verb, plural, _ in stage.kube.writes]
        assert seen[0] == [BACKEND_FINALIZER]
        assert verbs.index(("patch", "jobbackends")) < verbs.index(("replace", "durablejobs/status"))


@pytest.mark.parametrize("error", [Conflict("changed"), Forbidden("not yet")])
async def test_nothing_is_reserved_on_a_backend_that_could_vanish(error: Exception) -> None:
    async with staged() as stage:
        await stage.use_scripted()
        stage.kube.fail("patch", BACKENDS, error, times=3)
        stage.kube.change(BACKENDS, "data", "fake", metadata={"labels": {"a": "b"}})
        stage.scripted.on_submit = lambda _: stage.scripted.done.append(str(finalizers(stage)))
        stage.job()
        await stage.work(lambda: stage.scripted.submitted)
        assert str([BACKEND_FINALIZER]) in stage.scripted.done


async def test_a_backend_that_is_deleted_stays_until_its_jobs_have_ended() -> None:
    async with staged() as stage:
        await stage.backend(clusterID="kept", plugin={"name": "fake"})
        stage.job(plugin={"parameters": {"seconds": "0.4"}})
        await stage.work(lambda: stage.state() == "Running")
        stage.kube.remove(BACKENDS, "data", "fake")
        await stage.sites.put(stored(stage))
        stage.job("late")
        await stage.work(lambda: stage.reason("late") == "BackendNotReady")
        assert "being deleted" in stage.status("late")["current"]["message"]
        assert stage.state() == "Running"
        await stage.work(lambda: stage.state() == "Succeeded")
        await until(lambda: (BACKENDS.plural, "data", "fake") not in stage.kube.objects)


async def test_a_deletion_that_comes_during_our_own_write_is_not_forgotten() -> None:
    async with staged() as stage:
        await stage.backend(**SCRIPTED)
        uid = stage.job()
        await stage.work(lambda: BACKEND_FINALIZER in finalizers(stage))
        (entry,) = stage.sites._entries.values()
        before = copy.deepcopy(entry.raw)
        stage.kube.remove(BACKENDS, "data", "fake")
        await stage.sites.put(stored(stage))
        entry.take(before)  # the answer to our own write comes late
        assert entry.raw["metadata"]["deletionTimestamp"]
        stage.jobs.remove(uid)
        stage.kube.objects.pop((JOBS.plural, "data", "load"))
        await until(lambda: (BACKENDS.plural, "data", "fake") not in stage.kube.objects)


# --- credentials ---------------------------------------------------------------------------------------


async def test_a_token_that_was_refused_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablejob_controller.prober.PROBE_AGAIN", 0.05)
    masters = [{"rest": "http://127.0.0.1:9", "ui": "http://127.0.0.1:9"}]
    spec = {"sparkStandalone": {"masters": masters, "tokenSecretRef": {"name": "t"}}}
    async with staged() as stage:
        plugin = ScriptedPlugin({"": stage.scripted})
        stage.registry._typed = dict.fromkeys(stage.registry._typed, plugin)
        stage.scripted.found = Probe(False, "CredentialsRefused", "401", Guarantee.NONE)

        def put(token: bytes) -> None:
            data = {"token": base64.b64encode(token).decode()}
            stage.kube.add(SECRETS, {"metadata": {"name": "t", "namespace": "data"}, "data": data})

        put(b"old")
        await stage.backend(**spec)
        await until(lambda: stage.scripted.done.count("probe") >= 2)
        assert plugin.made == 1
        put(b"new")
        await until(lambda: plugin.made == 2)
        assert stage.scripted.surroundings is not None
        assert stage.scripted.surroundings.token == "new"
        assert "new" not in repr(stage.scripted.surroundings)


async def test_a_token_that_cannot_be_read_again_keeps_nobody_from_probing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("durablejob_controller.prober.PROBE_AGAIN", 0.05)
    masters = [{"rest": "http://127.0.0.1:9", "ui": "http://127.0.0.1:9"}]
    async with staged() as stage:
        plugin = ScriptedPlugin({"": stage.scripted})
        stage.registry._typed = dict.fromkeys(stage.registry._typed, plugin)
        stage.scripted.found = Probe(False, "CredentialsRefused", "401", Guarantee.NONE)
        stage.kube.add(SECRETS, {"metadata": {"name": "t", "namespace": "data"}, "data": {"token": "eA=="}})
        await stage.backend(sparkStandalone={"masters": masters, "tokenSecretRef": {"name": "t"}})
        stage.kube.fail("get", SECRETS, KubernetesUnavailable("away"), times=10**6)
        before = stage.scripted.done.count("probe")
        await until(lambda: stage.scripted.done.count("probe") > before + 1)
        assert "its token cannot be read again: away" in caplog.text
        assert "not written" not in caplog.text
