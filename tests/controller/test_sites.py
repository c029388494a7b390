"""Which backend a job means, and what keeps it from running there."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from durablejob_api.names import attempt_key
from durablejob_controller.backends.contract import Phase, Run, Unclear, Verdict
from durablejob_controller.errors import InvalidBackend, InvalidWork, KubernetesUnavailable, NotFound
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, JOBS, NAMESPACES, SECRETS
from durablejob_controller.views import NoSite, Site
from tests.controller.fake_kube import backend_object
from tests.controller.scripted_backend import ScriptedBackend, ScriptedPlugin
from tests.controller.stage import Stage, staged, until

SPARK = {"masters": [{"rest": "http://127.0.0.1:9", "ui": "http://127.0.0.1:9"}]}
STAGING = {"dir": "hdfs://nn/staging", "webhdfs": {"nameNodes": ["http://nn:9870"]}}
YARN = {"resourceManagers": ["http://rm:8088"], "user": "etl", "staging": STAGING}
CLUSTER_REF = {"kind": "ClusterJobBackend", "name": "fake", "type": "Plugin"}
SCRIPTED = {"plugin": {"name": "scripted"}}


async def site(stage: Stage, **spec: Any) -> Site | NoSite:
    """What a new job sees."""
    entry = stage.entry(stage.job(f"job-{len(stage.jobs)}", **spec))
    return await stage.sites.site(entry)


def refusal(found: Site | NoSite) -> tuple[str, bool]:
    """Reason, and whether it is final."""
    assert isinstance(found, NoSite), found
    return found.why.reason, found.final


def blocked(found: Site | NoSite) -> str:
    assert isinstance(found, Site), found
    return found.blocked.message if found.blocked else ""


async def test_a_backend_that_is_not_there_may_still_come() -> None:
    async with staged() as stage:
        assert refusal(await site(stage)) == ("BackendNotFound", False)


async def test_each_job_waits_its_own_time_for_a_missing_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        first = stage.entry(stage.job("first"))
        await stage.sites.site(first)
        later = time.monotonic() + 3600
        monkeypatch.setattr(time, "monotonic", lambda: later)
        ages = [await stage.sites.site(entry) for entry in (first, stage.entry(stage.job("second")))]
        assert [round(age.missing or 0) for age in ages if isinstance(age, NoSite)] == [3600, 0]


async def test_a_ready_backend_is_a_site() -> None:
    async with staged() as stage:
        raw = await stage.backend(clusterID="prod")
        found = await site(stage)
        assert isinstance(found, Site)
        assert (found.uid, found.cluster_id, found.type) == (raw["metadata"]["uid"], "prod", "Plugin")
        assert blocked(found) == ""


@pytest.mark.parametrize(
    ("more", "gate"), [({}, "http://g"), ({"fence": {"gate": {"url": "https://own:1/gate/"}}}, "https://own:1/gate")]
)
async def test_a_backends_own_gate_goes_before_the_controllers(more: dict[str, Any], gate: str) -> None:
    async with staged() as stage:
        await stage.backend(**SCRIPTED, **more)
        assert stage.scripted.surroundings is not None
        assert stage.scripted.surroundings.gate() == gate


async def test_a_backend_of_another_type_is_refused_for_good() -> None:
    async with staged() as stage:
        await stage.backend(sparkStandalone=SPARK)
        assert refusal(await site(stage)) == ("BackendTypeMismatch", True)


async def test_a_cluster_backend_admits_only_the_namespaces_that_it_names() -> None:
    async with staged() as stage:
        await stage.backend(namespace="", namespaces=["other"])
        assert refusal(await site(stage, backendRef=CLUSTER_REF)) == ("BackendNotAllowed", True)
    async with staged() as stage:
        await stage.backend(namespace="", namespaces=["other", "data"])
        assert blocked(await site(stage, backendRef=CLUSTER_REF)) == ""


async def test_a_cluster_backend_admits_namespaces_by_their_labels_of_now() -> None:
    async with staged() as stage:
        stage.kube.add(NAMESPACES, {"metadata": {"name": "data", "labels": {"team": "b"}}})
        selector = {"matchLabels": {"team": "a", "tier": "prod"}}
        await stage.backend(namespace="", namespaceSelector=selector)
        assert refusal(await site(stage, backendRef=CLUSTER_REF)) == ("BackendNotAllowed", True)
        stage.kube.change(NAMESPACES, None, "data", metadata={"labels": {"team": "a", "tier": "prod", "x": "y"}})
        assert blocked(await site(stage, backendRef=CLUSTER_REF)) == ""


async def test_an_unknown_namespace_or_a_silent_api_server_decides_nothing() -> None:
    async with staged() as stage:
        await stage.backend(namespace="", namespaceSelector={"matchLabels": {"team": "a"}})
        for error in (KubernetesUnavailable("away"), NotFound("no such namespace")):
            stage.kube.fail("get", NAMESPACES, error)
            with pytest.raises(type(error)):
                await site(stage, backendRef=CLUSTER_REF)


async def test_what_is_reserved_is_looked_after_though_a_silent_api_server_tells_no_labels() -> None:
    async with staged() as stage:
        await stage.backend(namespace="", namespaceSelector={"matchLabels": {"team": "a"}})
        stage.kube.fail("get", NAMESPACES, KubernetesUnavailable("away"), times=9)
        uid = stage.job(backendRef=CLUSTER_REF)
        kept = {"backendUID": "b", "backendType": "Plugin", "clusterID": "c", "bodyHash": "h"}
        kept["at"] = "2026-01-01T00:00:00Z"
        current = {"number": 1, "key": attempt_key(uid, 1), "reservation": kept}
        stage.kube.change(JOBS, "data", "load", status={"state": "Submitting", "current": current})
        found = await stage.sites.site(stage.entry(uid))
        assert isinstance(found, Site)
        assert found.body_hash


async def test_a_refusal_is_made_from_the_backend_as_it_is_now_and_not_as_the_watch_last_told() -> None:
    async with staged() as stage:
        await stage.backend(namespace="", namespaces=["other"])
        stage.kube.change(CLUSTER_BACKENDS, None, "fake", spec={"namespaces": ["data"]})  # nobody tells Sites
        found = await site(stage, backendRef=CLUSTER_REF)
        assert isinstance(found, Site)


async def test_work_that_does_not_fit_is_refused_with_the_field() -> None:
    async with staged() as stage:
        (await stage.use_scripted()).invalid = InvalidWork("SchemeNotAllowed", "spark.jars[0]", "use s3a")
        found = await site(stage)
        assert refusal(found) == ("SchemeNotAllowed", True)
        assert isinstance(found, NoSite)
        assert found.why.message == "spec.spark.jars[0]: use s3a"


async def test_an_error_in_judging_it_is_told_and_is_no_verdict() -> None:
    async with staged() as stage:
        (await stage.use_scripted()).invalid = OverflowError("bug")
        found = await site(stage)
        assert refusal(found) == ("NotJudged", False)
        assert isinstance(found, NoSite)
        assert "unexpected OverflowError" in found.why.message
        stage.job()
        await stage.work(lambda: stage.reason() == "NotJudged")
        assert not stage.scripted.submitted


async def test_an_error_in_judging_it_blinds_nobody_for_what_runs() -> None:
    async with staged() as stage:
        await stage.use_scripted()
        uid = stage.job()
        await stage.work(lambda: stage.scripted.submitted)
        stage.scripted.invalid = OverflowError("bug")
        (submission,) = stage.scripted.submitted
        run = Run(submission.reservation.application_id or "", Phase.ENDED, verdict=Verdict.SUCCEEDED)
        stage.scripted.runs = {submission.current.key: (run,)}
        stage.queue.add(uid)
        await stage.work(lambda: stage.state() == "Succeeded")


async def test_an_error_in_judging_it_does_not_end_what_was_reserved() -> None:
    async with staged() as stage:
        await stage.use_scripted()
        stage.scripted.answer = Unclear("no complete answer")
        uid = stage.job()
        await stage.work(lambda: stage.scripted.submitted)
        stage.scripted.invalid = OverflowError("bug")
        stage.queue.add(uid)
        await stage.work(lambda: stage.reason() == "NotJudged")
        assert stage.state() == "Submitting"
        sent, stage.scripted.invalid = len(stage.scripted.submitted), None
        stage.queue.add(uid)
        await stage.work(lambda: len(stage.scripted.submitted) > sent)


@pytest.mark.parametrize("change", [{"namespaces": []}, {"namespaces": ["data"]}])
async def test_what_has_begun_is_followed_though_its_backend_would_refuse_it_today(change: dict[str, Any]) -> None:
    async with staged() as stage:
        await stage.backend(namespace="", namespaces=["data"], **SCRIPTED)
        uid = stage.job(backendRef=CLUSTER_REF)
        await stage.work(lambda: stage.scripted.submitted)
        raw = stage.kube.change(CLUSTER_BACKENDS, None, "fake", spec=change)
        stage.scripted.invalid = InvalidWork("SchemeNotAllowed", "spark.jars[0]", "use s3a")
        await stage.sites.put(raw)
        entry = stage.entry(uid)
        found = await stage.sites.site(entry)
        assert isinstance(found, Site)
        assert found.unfit is not None  # and nothing is submitted any more
        assert found.unfit.final


async def test_what_an_attempt_holds_is_let_go_on_its_own_backend_before_the_next_begins_on_another() -> None:
    backends = {"first": ScriptedBackend(), "second": ScriptedBackend()}
    async with staged(scripted=ScriptedPlugin(backends)) as stage:
        raws = {
            name: await stage.backend(name=name, plugin={"name": "scripted", "parameters": {"name": name}})
            for name in backends
        }
        uid = stage.job(backendRef={"kind": "JobBackend", "name": "first", "type": "Plugin"})
        key = attempt_key(uid, 1)
        kept = {"backendUID": raws["first"]["metadata"]["uid"], "backendType": "Plugin", "clusterID": "scripted"}
        kept |= {"objectUID": "o1", "bodyHash": "h", "at": "2026-01-01T00:00:00Z"}
        current = {"number": 1, "key": key, "outcome": "Failed", "reservation": kept}
        backends["first"].runs = {key: (Run("o1", Phase.ENDED, verdict=Verdict.FAILED, held=True),)}
        stage.kube.change(JOBS, "data", "load", status={"state": "Failed", "current": current})
        second = {"kind": "JobBackend", "name": "second", "type": "Plugin"}
        stage.kube.change(JOBS, "data", "load", spec={"attempt": 2, "backendRef": second})
        await stage.work(lambda: "release" in backends["first"].done)
        assert not backends["second"].submitted
        backends["first"].runs = {}
        stage.queue.add(uid)
        await stage.work(lambda: backends["second"].submitted)
        assert not backends["first"].submitted


# --- backends that cannot be used ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"plugin": {"name": "flink"}}, "no plugin 'flink' is installed; there is fake, scripted"),
        ({"plugin": {"name": "fake", "parameters": {"fault": "flood"}}}, "spec.plugin.parameters.fault"),
        ({"plugin": {"name": 7}}, "plugin.name"),
        ({"plugin": None, "yarn": YARN}, "no backend of type Yarn; it has SparkStandalone"),
        ({"plugin": None}, "exactly one of"),
    ],
)
async def test_a_backend_that_cannot_be_used_says_why_and_the_others_go_on(spec: dict[str, Any], words: str) -> None:
    async with staged() as stage:
        raw = backend_object("broken", **spec)
        await stage.sites.put(stage.kube.add(BACKENDS, raw))
        await stage.backend()
        ref = {"kind": "JobBackend", "name": "broken", "type": "Plugin"}
        found = await site(stage, backendRef=ref)
        assert refusal(found) == ("BackendNotReady", False)
        assert isinstance(found, NoSite)
        assert words in found.why.message
        assert blocked(await site(stage)) == ""


@pytest.mark.parametrize("error", [InvalidBackend("spec.x: no"), ZeroDivisionError("bug")])
async def test_a_plugin_that_stumbles_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durablejob_controller.prober.PROBE_AGAIN", 0.05)
    async with staged() as stage:
        plugin = stage.registry._named["scripted"]
        plugin.error = error  # type: ignore[attr-defined]
        await stage.backend(**SCRIPTED)
        assert refusal(await site(stage)) == ("BackendNotReady", False)
        plugin.error = None  # type: ignore[attr-defined]
        await stage.work(lambda: stage.scripted.submitted)


# --- credentials -----------------------------------------------------------------------------------------


def with_token(name: str = "t") -> dict[str, Any]:
    return {"sparkStandalone": {**SPARK, "tokenSecretRef": {"name": name}}}


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    "data",
    [None, {}, {"token": None}, {"token": "%%"}, {"token": encoded(b"\xff\xfe")}, {"token": encoded(b"")},
     {"token": encoded("sécret".encode())}, {"token": encoded(b"sec ret")}, {"token": encoded(b"sec\nret")}],
)  # fmt: skip
async def test_a_token_that_cannot_be_sent_is_named_and_not_shown(data: Any) -> None:
    async with staged() as stage:
        if data is not None:
            stage.kube.add(SECRETS, {"metadata": {"name": "t", "namespace": "data"}, "data": data})
        await stage.sites.put(stage.kube.add(BACKENDS, backend_object(**with_token())))
        ref = {"kind": "JobBackend", "name": "fake", "type": "SparkStandalone"}
        found = await site(stage, backendRef=ref, spark={"mainApplicationFile": "local:///a.py"})
        assert isinstance(found, NoSite)
        assert "tokenSecretRef" in found.why.message
        assert "ret" not in found.why.message.replace("Secret", "").replace("tokenSecretRef", "")


async def test_a_tokens_secret_is_read_where_the_backend_lives_and_a_cluster_backends_where_we_live() -> None:
    async with staged() as stage:
        for namespace, token in (("data", b"of-data\n"), ("system", b"of-system")):
            data = {"token": encoded(token)}
            stage.kube.add(SECRETS, {"metadata": {"name": "t", "namespace": namespace}, "data": data})
        await stage.backend(**with_token())
        await stage.backend(namespace="", **with_token())
        tokens = {address[0]: entry.token for address, entry in stage.sites._entries.items()}
        assert tokens == {"JobBackend": "of-data", "ClusterJobBackend": "of-system"}


# --- the work of the backends reaches the jobs -----------------------------------------------------------


async def test_jobs_are_found_by_the_key_of_their_attempt() -> None:
    async with staged() as stage:
        await stage.backend()
        uid = stage.job()
        while len(stage.queue):
            stage.queue.done(await stage.queue.get())
        stage.sites._changed({attempt_key(uid, 1), "nobody's"})
        assert await stage.queue.get() == uid


async def test_a_backend_that_goes_wakes_its_jobs() -> None:
    async with staged() as stage:
        raw = await stage.backend(**SCRIPTED)
        stage.job()
        await stage.work(lambda: stage.scripted.submitted)
        stage.kube.objects.pop((BACKENDS.plural, "data", "fake"))  # by force
        await stage.sites.remove(raw["metadata"]["uid"])
        await stage.work(lambda: stage.reason() == "BackendNotFound")
        assert stage.scripted.ended
        assert (JOBS.plural, "data", "load") in stage.kube.objects
        await until(lambda: not stage.sites.uids())


async def test_a_backend_that_the_watch_has_not_told_of_yet_is_not_missing() -> None:
    async with staged() as stage:
        stage.kube.add(BACKENDS, backend_object(**SCRIPTED))
        stage.job()
        await stage.work(lambda: stage.scripted.submitted)
    assert "BackendNotFound" not in [raw["status"]["current"].get("reason") for raw in stage.status_writes()]
