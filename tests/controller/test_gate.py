"""The start gate's server: leave is given once, denied only on evidence, and every doubt means "come back"."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from durablejob_api.names import attempt_key
from durablejob_controller import gate as gates
from durablejob_controller import metrics
from durablejob_controller.backend_report import CONFIRM
from durablejob_controller.backends.contract import Phase, Run
from durablejob_controller.errors import BackendUnavailable, Conflict, Forbidden, KubernetesUnavailable, NotServed
from durablejob_controller.gate import VERDICT, Gate
from durablejob_controller.kube import BACKENDS, JOBS, Object
from durablejob_controller.tokens import Keys, Tokens
from tests.controller.stage import TOKENS, Stage, staged

UID = "uid-1"
KEY = attempt_key(UID, 1)
CALL = {"nonce": "nonce-one", "driver": "driver-1"}
OTHER = {"nonce": "nonce-two", "driver": "driver-2"}
KEPT = hashlib.sha256(b"nonce-one").hexdigest()
"""What is recorded of CALL's nonce."""


def claimed(state: str = "Open", **more: Any) -> Object:
    claim = {"number": 1, "state": state, **more}
    at = "2026-01-01T00:00:00Z"
    reservation = {"backendUID": "b", "backendType": "Plugin", "clusterID": "c", "bodyHash": "h", "at": at}
    current = {"number": 1, "key": KEY, "reservation": reservation, "claim": claim}
    return {"state": "Submitting", "current": current}


class Scene:
    """A gate, one job with an open claim, and a backend that lists driver-1 and driver-2 under it."""

    def __init__(self, stage: Stage, client: TestClient[Any, Any]) -> None:
        self.stage = stage
        self.kube = stage.kube
        self.client = client
        self.path = "/" + TOKENS.path("data", "load", UID, 1, 1)

    async def post(self, verb: str, body: object = CALL, path: str | None = None) -> ClientResponse:
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        return await self.client.post(f"{path or self.path}/{verb}", **data)

    @property
    def claim(self) -> Object:
        found: Object = self.stage.status()["current"]["claim"]
        return found

    def reads(self) -> int:
        return self.kube.calls.count(("get", JOBS.plural, "load"))


@asynccontextmanager
async def scene(status: Object | None = None, tokens: Tokens = TOKENS) -> AsyncIterator[Scene]:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.runs = {KEY: (Run("driver-1", Phase.RUNNING, claim=1), Run("driver-2", Phase.RUNNING, claim=1))}
        raw: Object = {"metadata": {"name": "load", "namespace": "data", "uid": UID}, "spec": {}}
        raw = stage.kube.add(JOBS, raw | {"kind": "DurableJob", "status": status or claimed()})
        ref = {"kind": "JobBackend", "name": "fake", "type": "Plugin"}
        stage.kube.change(JOBS, "data", "load", spec={"backendRef": ref, "plugin": {}})
        gate = Gate(stage.kube, tokens, stage.registry, stage.sites, stage.jobs, stage.queue, stage.events)
        async with TestClient(TestServer(gate.application())) as client:
            yield Scene(stage, client)


def verdict(answer: ClientResponse) -> tuple[int, str | None]:
    return answer.status, answer.headers.get(VERDICT)


# --- start -------------------------------------------------------------------------------------------


async def test_the_first_driver_is_granted_and_recorded_as_the_winner() -> None:
    async with scene() as its:
        assert verdict(await its.post("start")) == (200, "granted")
        assert (its.claim["state"], its.claim["nonce"], its.claim["driver"]) == ("Started", KEPT, "driver-1")
        assert (its.stage.state(), its.stage.status()["externalID"]) == ("Running", "driver-1")


async def test_leave_is_given_again_to_the_same_jvm_and_to_no_other() -> None:
    async with scene() as its:
        await its.post("start")
        assert verdict(await its.post("start")) == (200, "granted")
        assert verdict(await its.post("start", OTHER)) == (409, "denied")
        assert verdict(await its.post("start", {**CALL, "nonce": "relaunched"})) == (409, "denied")
        assert len(its.stage.status_writes()) == 1


async def test_of_many_drivers_at_once_one_wins() -> None:
    async with scene() as its:
        bodies = [{"nonce": f"nonce-{n:04}", "driver": f"driver-{1 + n % 2}"} for n in range(12)]
        answers = [verdict(answer) for answer in await asyncio.gather(*(its.post("start", body) for body in bodies))]
        assert answers.count((200, "granted")) == 1
        assert set(answers) <= {(200, "granted"), (409, "denied"), (503, None)}


@pytest.mark.parametrize(
    "status",
    [
        claimed("Revoked"),
        {**claimed(), "current": {**claimed()["current"], "number": 2, "key": attempt_key(UID, 2)}},
        {**claimed(), "current": {**claimed()["current"], "claim": {"number": 2, "state": "Open"}}},
        {**claimed(), "state": "Failed", "current": {**claimed()["current"], "outcome": "Failed"}},
    ],
)
async def test_a_claim_that_is_gone_is_denied_for_good(status: Object) -> None:
    async with scene(status) as its:
        assert verdict(await its.post("start")) == (409, "denied")
        assert its.stage.status_writes() == []


async def test_a_job_that_is_cancelled_or_deleted_starts_nothing() -> None:
    async with scene() as its:
        its.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})
        assert verdict(await its.post("start")) == (409, "denied")
    async with scene() as its:
        its.kube.remove(JOBS, "data", "load")
        assert verdict(await its.post("start")) == (409, "denied")


@pytest.mark.parametrize(
    "wish", [{}, {"cancel": {"attempt": 1, "cause": "Cleared"}}, {"cancel": {"attempt": 1, "cause": "Unheard"}}]
)
async def test_by_a_spec_that_this_version_cannot_read_nobody_is_given_leave_nor_denied_it(wish: Object) -> None:
    async with scene() as its:
        its.kube.change(JOBS, "data", "load", spec={"newer": True, **wish})
        assert verdict(await its.post("start")) == (503, None)
        assert its.claim["state"] == "Open"


async def test_who_has_begun_reports_its_end_whatever_was_written_since() -> None:
    async with scene() as its:
        await its.post("start")
        its.kube.change(JOBS, "data", "load", spec={"newer": True})
        assert verdict(await its.post("start")) == (200, "granted")
        assert verdict(await its.post("start", OTHER)) == (409, "denied")
        assert verdict(await its.post("ended", {**CALL, "how": "returned"})) == (200, "noted")
        assert its.claim["how"] == "returned"


async def test_no_end_is_said_to_be_noted_in_a_status_that_cannot_be_read() -> None:
    async with scene(claimed("Elsewhere", nonce=KEPT, driver="driver-1")) as its:
        assert verdict(await its.post("ended", {**CALL, "how": "returned"})) == (503, None)
        assert verdict(await its.post("start")) == (503, None)


async def test_a_job_of_the_same_name_is_another_job() -> None:
    async with scene() as its:
        its.kube.change(JOBS, "data", "load", metadata={"uid": "uid-2"})
        assert verdict(await its.post("start")) == (409, "denied")


@pytest.mark.parametrize(
    "error", [KubernetesUnavailable("away"), Forbidden("not yet"), NotServed("404 page not found")]
)
async def test_an_api_server_that_is_away_denies_nothing(error: Exception) -> None:
    async with scene() as its:
        its.kube.fail("get", JOBS, error)
        assert verdict(await its.post("start")) == (503, None)
        its.kube.fail("replace", JOBS, error)
        assert verdict(await its.post("start")) == (503, None)
        assert verdict(await its.post("start")) == (200, "granted")


async def test_leave_whose_record_was_answered_by_nobody_is_given_when_asked_again() -> None:
    async with scene() as its:
        its.kube.fail("replace", JOBS, KubernetesUnavailable("lost"), applied=True)
        assert verdict(await its.post("start")) == (503, None)
        assert its.claim["state"] == "Started"
        assert verdict(await its.post("start", OTHER)) == (409, "denied")
        assert verdict(await its.post("start")) == (200, "granted")


async def test_a_lost_swap_is_tried_again_on_what_is_there_now() -> None:
    async with scene() as its:
        its.kube.fail("replace", JOBS, Conflict("changed"), times=2)
        assert verdict(await its.post("start")) == (200, "granted")
        assert its.reads() == 3
        its.kube.change(JOBS, "data", "load", status=claimed())
        its.kube.fail("replace", JOBS, Conflict("changed"), times=100)
        answer = await its.post("start")
        assert verdict(answer) == (503, None)
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "runs",
    [
        (),
        (Run("driver-2", Phase.RUNNING, claim=1),),
        (Run("driver-1", Phase.RUNNING, claim=2),),
        (Run("driver-1", Phase.ENDED, claim=1),),
    ],
)
async def test_a_driver_that_the_system_does_not_list_under_the_claim_must_come_back(runs: tuple[Run, ...]) -> None:
    async with scene() as its:
        its.stage.scripted.runs = {KEY: runs}
        assert verdict(await its.post("start")) == (503, None)
        assert its.claim["state"] == "Open"


@pytest.mark.parametrize("fault", [BackendUnavailable("away"), ZeroDivisionError("bug")])
async def test_a_system_that_gives_no_answer_lists_nobody(fault: Exception) -> None:
    async with scene() as its:
        its.stage.scripted.fault = fault
        assert verdict(await its.post("start")) == (503, None)
        its.stage.scripted.fault = None
        assert verdict(await its.post("start")) == (200, "granted")


async def test_the_run_is_asked_for_after_the_driver_called() -> None:
    async with scene() as its:
        its.stage.scripted.runs, listed = {}, its.stage.scripted.runs
        entry = next(iter(its.stage.sites._entries.values()))
        assert entry.poller is not None
        await entry.poller.fresh()  # this list lacks the driver
        its.stage.scripted.runs = listed
        assert verdict(await its.post("start")) == (200, "granted")


# --- who may speak -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "ended", "claim.jar"])
async def test_a_url_that_was_not_made_here_is_refused_before_anything_is_read(verb: str) -> None:
    good = TOKENS.path("data", "load", UID, 1, 1)
    async with scene() as its:
        reads = its.reads()
        for bad in (
            good[:-1] + ("a" if good[-1] != "a" else "b"),
            good.replace("/load/", "/other/"),
            good.replace("/k1/", "/k2/"),
        ):
            path = f"/{bad}"
            answer = await (its.client.get(f"{path}/{verb}") if "." in verb else its.post(verb, CALL, path))
            assert verdict(answer) == (403, None)
        assert its.reads() == reads


async def test_a_url_that_another_replica_has_made_with_a_newer_key_is_known() -> None:
    both = Keys({"k1": b"o" * 32, "k2": b"n" * 32}, "k2")

    async def read() -> Keys:
        return both

    async with scene(tokens=Tokens(Keys({"k1": b"o" * 32}, "k1"), read)) as its:
        path = "/" + Tokens(both).path("data", "load", UID, 1, 1)
        assert (await its.client.get(f"{path}/claim.jar")).status == 200
        assert verdict(await its.post("start", path=path)) == (200, "granted")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"nonce"', b"\xff\xfe", b"[" * 3000, {}, {"nonce": "short", "driver": "d"},
     {"nonce": "long enough"}, {"nonce": 12345678, "driver": "d"}, {**CALL, "driver": "d" * 200},
     {**CALL, "how": "somehow"}],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["start", "ended"])
async def test_a_body_that_says_nothing_of_use_is_a_bad_request(verb: str, body: object) -> None:
    async with scene() as its:
        assert verdict(await its.post(verb, body)) == (400, None)
        assert its.claim["state"] == "Open"


async def test_a_body_over_the_cap_is_not_read() -> None:
    async with scene() as its:
        assert verdict(await its.post("start", {**CALL, "padding": "x" * 5000})) == (413, None)


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "BODY_PATIENCE", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with scene() as its:
        answer = await its.client.post(f"{its.path}/start", data=slow())
        assert verdict(answer) == (408, None)


async def test_a_claims_jar_is_served_to_who_has_its_url() -> None:
    async with scene() as its:
        answer = await its.client.get(f"{its.path}/claim.jar")
        assert (answer.status, answer.content_type) == (200, "application/java-archive")
        assert await answer.read() == f"{KEY} 1".encode()
        assert (await its.client.get(f"{its.path}/other.jar")).status == 404
        assert (await its.client.get(f"{its.path}/start")).status == 405
        assert its.reads() == 0


# --- ended -------------------------------------------------------------------------------------------


async def test_the_winners_own_report_is_noted() -> None:
    async with scene(claimed("Started", nonce=KEPT, driver="driver-1")) as its:
        answer = await its.post("ended", {**CALL, "how": "threw", "message": "java.lang.Error: boom"})
        assert verdict(answer) == (200, "noted")
        assert (its.claim["state"], its.claim["how"], its.claim["message"]) == (
            "Ended", "threw", "java.lang.Error: boom",
        )  # fmt: skip
        assert verdict(await its.post("ended", {**CALL, "how": "returned"})) == (200, "noted")
        assert its.claim["how"] == "threw"


@pytest.mark.parametrize("body", [OTHER, {**CALL, "nonce": "nonce-xxx"}])
async def test_nobody_else_can_report_the_end(body: Object) -> None:
    async with scene(claimed("Started", nonce=KEPT, driver="driver-1")) as its:
        assert verdict(await its.post("ended", {**body, "how": "returned"})) == (200, "noted")
        assert its.claim["state"] == "Started"
        assert its.stage.status_writes() == []


async def test_who_can_read_the_resource_and_the_claims_url_cannot_report_the_end() -> None:
    async with scene() as its:
        await its.post("start")
        assert "nonce-one" not in json.dumps(its.stage.raw())
        forged = {**CALL, "nonce": its.claim["nonce"], "how": "returned"}
        assert verdict(await its.post("ended", forged)) == (200, "noted")
        assert verdict(await its.post("start", forged)) == (409, "denied")
        assert its.claim["state"] == "Started"
        await its.post("ended", {**CALL, "how": "threw"})
        assert (its.claim["state"], its.claim["how"]) == ("Ended", "threw")


async def test_an_end_is_reported_again_until_it_is_recorded() -> None:
    async with scene(claimed("Started", nonce=KEPT, driver="driver-1")) as its:
        its.kube.fail("get", JOBS, KubernetesUnavailable("away"))
        assert verdict(await its.post("ended")) == (503, None)
        its.kube.fail("replace", JOBS, Conflict("changed"))
        assert verdict(await its.post("ended", {**CALL, "how": "returned"})) == (200, "noted")
        assert its.claim["how"] == "returned"


async def test_the_end_of_a_job_that_is_gone_is_no_error() -> None:
    async with scene() as its:
        its.kube.remove(JOBS, "data", "load")
        assert verdict(await its.post("ended")) == (200, "noted")


# --- after a restore of etcd -----------------------------------------------------------------------------


async def test_after_a_restore_of_etcd_nobody_is_given_leave_until_a_person_agrees() -> None:
    async with scene() as its:
        its.stage.sites.roll_back(1000)
        assert verdict(await its.post("start")) == (503, None)
        assert its.claim["state"] == "Open"
        its.kube.change(BACKENDS, "data", "fake", metadata={"annotations": {CONFIRM: "1000"}})
        await its.stage.sites.put(its.kube.objects[(BACKENDS.plural, "data", "fake")])
        assert verdict(await its.post("start")) == (200, "granted")


async def test_leave_whose_own_write_tells_of_a_restore_is_not_given() -> None:
    async with scene() as its:
        its.kube.high_water.told = lambda before, found: its.stage.sites.roll_back(before)
        its.kube.high_water.mark = 1000
        assert verdict(await its.post("start")) == (503, None)
        assert verdict(await its.post("start")) == (503, None)  # although it is recorded as the winner by now


async def test_who_reports_an_end_under_an_open_claim_has_won_it_by_a_record_that_is_no_more() -> None:
    async with scene() as its:
        answer = await its.post("ended", {**CALL, "how": "threw", "message": "java.lang.Error: boom"})
        assert verdict(answer) == (200, "noted")
        assert its.claim == {
            "number": 1, "state": "Ended", "nonce": KEPT, "driver": "driver-1", "how": "threw",
            "message": "java.lang.Error: boom", "unstarted": 0,
        }  # fmt: skip


def later(verb: str) -> float:
    return metrics.REGISTRY.get_sample_value("durablejob_gate_answers_total", {"verb": verb, "answer": "later"}) or 0.0


async def test_but_only_a_driver_that_is_listed_under_the_claim() -> None:
    async with scene() as its:
        start, end = later("start"), later("ended")
        assert verdict(await its.post("ended", {"nonce": "nonce-one", "driver": "driver-9"})) == (503, None)
        assert its.claim["state"] == "Open"
        assert (later("start"), later("ended")) == (start, end + 1)
