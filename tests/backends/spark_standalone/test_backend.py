"""The verbs against scripted Masters: what each answer, and each way of not answering, is taken for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from durablejob_controller.backends.contract import Accepted, Backend, Identity, Rejected, Unclear, Verdict
from durablejob_controller.backends.spark_standalone import plugin
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import BackendUnavailable, CredentialsRefused, InvalidBackend
from tests.backends.spark_standalone import works
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.backends.spark_standalone.scripted_master import RESET, SILENCE, TRICKLE, ScriptedMaster, http, scripted

RECORDED = Path(__file__).parent / "recorded"
ALIVE = json.loads((RECORDED / "alive.json").read_text())
CREATE, STATUS, KILL, JSON = (
    "POST /v1/submissions/create",
    "GET /v1/submissions/status/",
    "POST /v1/submissions/kill/",
    "GET /json/",
)
KEY = "kerroraaaaaaaaaaaaaa"
NOWHERE = "http://127.0.0.1:9"
HTML = http(200, b"<html>please log in</html>", "text/html")


def state(status: str = "ALIVE", url: str = "spark://m1:7077", **more: object) -> bytes:
    return http(200, {**ALIVE, "url": url, "status": status, **more}, "text/json;charset=utf-8")


def created(**fields: object) -> bytes:
    return http(200, {"action": "CreateSubmissionResponse", "serverSparkVersion": "4.3.0", **fields})


def found(**fields: object) -> bytes:
    return http(200, {"action": "SubmissionStatusResponse", "serverSparkVersion": "4.3.0", **fields})


NOT_ALIVE = created(
    success=False, message="Current state is not alive: STANDBY. Can only accept driver submissions in ALIVE state."
)
OK = {JSON: state(), CREATE: created(success=True, submissionId="driver-1"), STATUS: found(success=False)}


@asynccontextmanager
async def making(masters: Sequence[tuple[str, str]], token: str | None = None, **spec: Any) -> AsyncIterator[Backend]:
    chosen = works.backend(masters=[{"rest": rest, "ui": ui} for rest, ui in masters], **spec)
    backend = plugin.make(chosen, Surroundings("c", "https://gate:1", Paths(), token=token, timeout=1.0))
    yield backend
    await backend.aclose()


@asynccontextmanager
async def one(answers: dict[str, bytes], token: str | None = None) -> AsyncIterator[tuple[Backend, ScriptedMaster]]:
    async with scripted({**OK, **answers}) as master, making([(master.url, master.url)], token) as backend:
        yield backend, master


# --- submit ------------------------------------------------------------------------------------------


async def test_an_accepted_submission_names_its_driver() -> None:
    async with one({}) as (backend, master):
        assert await backend.submit(works.submission(works.job())) == Accepted("driver-1")
    (body,) = master.bodies
    assert body["appArgs"][:2] == ["--master", "spark://m1:7077"]
    assert body["mainClass"].endswith(f"{works.key(works.job())}_1")


@pytest.mark.parametrize(
    "answer",
    [
        RESET,
        SILENCE,
        TRICKLE,
        HTML,
        http(502, b"bad gateway", "text/plain"),
        http(500, {"action": "ErrorResponse", "message": "timed out"}),
        http(503, b""),
        http(404, b"<html>", "text/html"),
        http(429, b"{}"),
        http(302, b"", "text/plain", "Location: http://127.0.0.1:9/"),
        http(200, b'{"action": "CreateSubmissionRes'),
        http(200, ["a", "list"]),
        http(200, {"unexpected": True}),
        http(200, {"action": "SomethingElse", "success": True}),
        http(200, b"[" * 100_000),
        http(200, b" " * (1 << 20) + b"{}"),
    ],
)
async def test_every_doubt_about_a_submission_is_unclear_and_nothing_is_sent_twice(answer: bytes) -> None:
    async with one({CREATE: answer}) as (backend, master):
        found = await backend.submit(works.submission(works.job()))
    assert isinstance(found, Unclear)
    assert "127.0.0.1" in found.message
    assert "log in" not in found.message
    assert master.count(CREATE) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            http(400, {"action": "ErrorResponse", "message": "Malformed request: boom\n\tat Scala"}),
            "Malformed request: boom",
        ),
        (http(468, {"action": "ErrorResponse", "message": "Unknown protocol version"}), "Unknown protocol version"),
        (created(success=False, message="too many drivers"), "too many drivers"),
    ],
)
async def test_a_definite_refusal_is_rejected_with_sparks_own_words(answer: bytes, words: str) -> None:
    async with one({CREATE: answer}) as (backend, _):
        found = await backend.submit(works.submission(works.job()))
    assert isinstance(found, Rejected)
    assert found.message.endswith(words)


@pytest.mark.parametrize("answer", [NOT_ALIVE, http(401, b""), http(403, b"")])
async def test_what_certainly_started_nothing_may_be_tried_again(answer: bytes) -> None:
    async with one({CREATE: answer}) as (backend, _):
        with pytest.raises(BackendUnavailable) as caught:
            await backend.submit(works.submission(works.job()))
    assert (caught.type is CredentialsRefused) == (answer != NOT_ALIVE)


async def test_a_refused_connection_is_no_doubt() -> None:
    async with scripted(OK) as ui, making([(NOWHERE, ui.url)]) as backend:
        with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
            await backend.submit(works.submission(works.job()))


async def test_the_token_goes_to_the_rest_server_only() -> None:
    async with one({}, token="hush") as (backend, master):
        await backend.submit(works.submission(works.job()))
    by_line = dict(zip(master.asked, master.heads, strict=True))
    assert "authorization: bearer hush" in by_line[f"{CREATE} HTTP/1.1"].lower()
    assert "hush" not in by_line[f"{JSON} HTTP/1.1"]


# --- which Master ------------------------------------------------------------------------------------


async def test_the_active_master_is_the_one_that_says_alive() -> None:
    standby = {**OK, JSON: state("STANDBY", "spark://m0:7077", activedrivers=[], completeddrivers=[])}
    async with (
        scripted(standby) as first,
        scripted(OK) as second,
        making([(first.url, first.url), (second.url, second.url)]) as backend,
    ):
        snapshot = await backend.observe()
        await backend.observe()
        await backend.submit(works.submission(works.job()))
    assert snapshot.incarnation == "spark://m1:7077"
    assert (first.count(JSON), second.count(JSON)) == (1, 2)
    assert (first.count(CREATE), second.count(CREATE)) == (0, 1)
    assert second.bodies[0]["appArgs"][1] == "spark://m0:7077,m1:7077"


async def test_the_probe_meets_all_masters_so_that_a_driver_knows_them_before_the_first_failover() -> None:
    standby = {**OK, JSON: state("STANDBY", "spark://m2:7077")}
    async with (
        scripted(OK) as first,
        scripted(standby) as second,
        making([(first.url, first.url), (second.url, second.url), (NOWHERE, NOWHERE)]) as backend,
    ):
        probe = await backend.probe()
        await backend.submit(works.submission(works.job()))
    assert probe.ready
    assert "active Master spark://m1:7077 (others: spark://m2:7077 is STANDBY; 127.0.0.1:9 cannot be" in probe.message
    assert first.bodies[0]["appArgs"][1] == "spark://m1:7077,m2:7077"


@pytest.mark.parametrize("status", ["STANDBY", "RECOVERING", "COMPLETING_RECOVERY"])
async def test_a_master_that_is_not_alive_says_nothing_about_absence(status: str) -> None:
    async with one({JSON: state(status, activedrivers=[], completeddrivers=[])}) as (backend, _):
        with pytest.raises(BackendUnavailable, match=f"no active Master: .* is {status}"):
            await backend.observe()
        with pytest.raises(BackendUnavailable):
            await backend.look_up(KEY, None)


@pytest.mark.parametrize(
    "answer",
    [HTML, RESET, SILENCE, TRICKLE, http(500, b""), http(200, {"status": "ALIVE"}), http(200, b'{"url": "spark:'),
     http(200, {**ALIVE, "activedrivers": [{"id": 7}]}), http(302, b"", "text/plain", "Location: /x")],
)  # fmt: skip
async def test_half_a_listing_is_no_listing(answer: bytes) -> None:
    async with one({JSON: answer}) as (backend, _):
        with pytest.raises(BackendUnavailable) as caught:
            await backend.observe()
    assert "127.0.0.1" in str(caught.value)
    assert "log in" not in str(caught.value)


# --- look_up -----------------------------------------------------------------------------------------


async def test_an_error_is_explained_by_the_drivers_own_status() -> None:
    message = "Exception from the cluster:\njava.net.ConnectException: Connection refused\n\tat sun.nio"
    async with one({STATUS: found(success=True, driverState="ERROR", message=message)}) as (backend, _):
        (run,) = (await backend.look_up(KEY, None)).runs
    assert run.verdict is Verdict.UNKNOWN
    assert run.reason is None
    assert "java.net.ConnectException: Connection refused (the worker fetches claim.jar" in (run.message or "")


async def test_a_claims_url_in_an_exception_is_not_passed_on() -> None:
    message = (
        "Exception from the cluster:\njava.io.IOException: Server returned 403 for URL: https://gate/v1/hmac/claim.jar"
    )
    async with one({STATUS: found(success=True, driverState="ERROR", message=message)}) as (backend, _):
        (run,) = (await backend.look_up(KEY, None)).runs
    assert "hmac" not in (run.message or "")


async def test_a_winner_that_the_list_has_dropped_is_asked_for_by_its_id() -> None:
    job = works.job()
    status = found(success=True, driverState="FINISHED", submissionId="driver-9")
    async with one({STATUS: status}) as (backend, master):
        (run,) = (await backend.look_up(works.key(job), works.current(job, 3, "driver-9"))).runs
    assert (run.id, run.claim, run.verdict) == ("driver-9", 3, Verdict.SUCCEEDED)
    assert master.asked[:3] == [f"{JSON} HTTP/1.1", f"{STATUS}driver-9 HTTP/1.1", f"{JSON} HTTP/1.1"]


async def test_an_absent_winner_counts_only_while_the_same_master_is_alive() -> None:
    job = works.job()
    current = works.current(job, 1, "driver-9")
    async with one({}) as (backend, master):
        assert (await backend.look_up(works.key(job), current)).runs == ()
        message = "Exception from the cluster:\njava.lang.Exception: Current state is not alive: RECOVERING. Can only"
        for doubt in (RESET, HTML, found(success=False, message=message)):
            master.answers[STATUS] = doubt
            with pytest.raises(BackendUnavailable):
                await backend.look_up(works.key(job), current)


async def test_an_id_is_quoted_in_a_path() -> None:
    async with one({KILL: http(200, {"action": "KillSubmissionResponse", "success": False})}) as (backend, master):
        await backend.kill("../create?x#y")
    assert master.asked[-1].startswith(f"{KILL}..%2Fcreate%3Fx%23y ")


async def test_killing_what_is_gone_is_no_error_but_a_standby_is() -> None:
    gone = {"action": "KillSubmissionResponse", "success": False, "message": "has already finished or does not exist"}
    async with one({KILL: http(200, gone)}) as (backend, master):
        await backend.kill("driver-1")
        master.answers[KILL] = http(200, {**gone, "message": "Current state is not alive: STANDBY."})
        with pytest.raises(BackendUnavailable):
            await backend.kill("driver-1")


# --- probe, and what a backend is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({JSON: HTML}, "NotAMaster"),
        ({JSON: http(401, b"")}, "CredentialsRefused"),
        ({JSON: SILENCE}, "MasterUnreachable"),
        ({JSON: state("STANDBY")}, "MasterUnreachable"),
        ({STATUS: http(403, b"")}, "CredentialsRefused"),
        ({STATUS: HTML}, "NotAMaster"),
        ({STATUS: RESET}, "MasterUnreachable"),
    ],
)
async def test_a_backend_that_is_not_ready_says_why(answers: dict[str, bytes], reason: str) -> None:
    async with one(answers) as (backend, _):
        probe = await backend.probe()
    assert (probe.ready, probe.reason) == (False, reason)
    assert "127.0.0.1" in probe.message or "spark://" in probe.message


async def test_a_rest_server_that_is_off_is_named() -> None:
    async with scripted(OK) as ui, making([(NOWHERE, ui.url)]) as backend:
        probe = await backend.probe()
    assert probe.reason == "RestDisabled"
    assert "spark.master.rest.enabled" in probe.message


async def test_the_recovery_mode_is_read_where_the_master_shows_it() -> None:
    page = (RECORDED / "environment.html").read_bytes()
    shown = {"GET /environment/": http(200, page, "text/html")}
    none = {"GET /environment/": http(200, page.replace(b"FILESYSTEM", b"NONE"), "text/html")}
    hidden = {"GET /environment/": http(404, b"")}
    for answers, words in [(shown, "recoveryMode FILESYSTEM"), (none, "NONE"), (hidden, "cannot be read")]:
        async with one(answers) as (backend, _):
            probe = await backend.probe()
            assert probe.ready
            assert words in probe.message
            assert "https://gate:1" in probe.message


async def test_the_kind_of_system_and_its_name_are_told() -> None:
    async with making([("http://a:6066/", "http://a:8080"), ("http://b:6066", "http://b:8080")]) as backend:
        assert (backend.traits.identity, backend.traits.gated) == (Identity.CLAIM, True)
        derived = backend.cluster_id
    async with making([("http://b:6066", "http://x:1"), ("http://a:6066", "http://y:1")]) as backend:
        assert backend.cluster_id == derived
    async with making([("http://a:6066", "http://a:8080")], clusterID="prod") as backend:
        assert backend.cluster_id == "prod"


def test_a_backend_without_a_gate_is_invalid() -> None:
    with pytest.raises(InvalidBackend, match=r"spec\.fence\.gate\.url"):
        plugin.make(works.backend(), Surroundings("c", "", Paths()))
