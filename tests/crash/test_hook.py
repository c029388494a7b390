"""The hook in the controller's process: which call it strikes, and what it tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.crash.hook import ANY, Crash, Hook, How, Moment, Notes, Since

JOB = "http://k/apis/durablejob.io/v1alpha1/namespaces/n/durablejobs/job"
LEASE = "http://k/apis/coordination.k8s.io/v1/namespaces/n/leases/l"


class Server:
    """Answers everything, and keeps what arrived."""

    def __init__(self) -> None:
        self.arrived: list[httpx.Request] = []
        self.slow: asyncio.Event | None = None
        """Answers to leases are held back until then."""

    async def send(self, transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        del transport
        self.arrived.append(request)
        if self.slow is not None and str(request.url) == LEASE:
            await self.slow.wait()
        return httpx.Response(200, json={})


class Process:
    """A process with a hook, which calls."""

    def __init__(self, folder: Path, *crashes: Crash, rival: str | None = None) -> None:
        self.notes, self.server = Notes(folder), Server()
        self._hook = Hook(crashes, self.notes, rival)
        self._transport = httpx.AsyncHTTPTransport()

    async def call(self, method: str, url: str, **body: object) -> bool:
        """Whether an answer came."""
        request = httpx.Request(method, url, json=body or None, headers={"authorization": "Bearer t"})
        try:
            await self._hook.pass_on(self.server.send, self._transport, request)
        except httpx.TransportError:
            return False
        return True


async def test_calls_are_told_by_name_before_and_after_the_job_came(tmp_path: Path) -> None:
    process = Process(tmp_path)
    await process.call("GET", LEASE)
    process.notes.job_comes()
    await process.call("PUT", f"{JOB}/status", status={"state": "Running", "current": {"claim": {"state": "Open"}}})
    await process.call("GET", "http://m/v1/submissions/status/driver-1")
    late = ["PUT durablejobs/status [Running, claim Open]", "GET /v1/submissions/status/ID"]
    assert process.notes.calls() == (["GET leases"], late)
    assert process.notes.fired() == []


@pytest.mark.parametrize(("moment", "arrives"), [(Moment.BEFORE, 0), (Moment.ACCEPTED, 1)])
async def test_a_reset_strikes_the_first_such_call_after_the_job_came_and_only_that(
    tmp_path: Path, moment: Moment, arrives: int
) -> None:
    process = Process(tmp_path, Crash("GET leases", moment, How.RESET))
    assert await process.call("GET", LEASE)
    process.notes.job_comes()
    assert await process.call("GET", JOB)
    before = len(process.server.arrived)
    assert not await process.call("GET", LEASE)
    assert len(process.server.arrived) - before == arrives
    assert await process.call("GET", LEASE)
    assert len(process.notes.fired()) == 1


async def test_a_second_crash_is_counted_from_the_first_in_the_same_process_and_in_the_next(tmp_path: Path) -> None:
    first = Crash("GET leases", Moment.BEFORE, How.RESET, since=Since.START)
    second = Crash(ANY, Moment.BEFORE, How.RESET, 3, Since.CRASH)
    process = Process(tmp_path, first, second)
    await process.call("GET", JOB)
    assert [await process.call("GET", url) for url in (LEASE, JOB, LEASE, JOB, JOB)] == [False, True, True, False, True]
    (tmp_path / "next").mkdir()
    process = Process(tmp_path / "next", second)
    assert [await process.call("GET", url) for url in (LEASE, JOB, LEASE, JOB)] == [True, True, False, True]


async def test_a_second_crash_does_not_overtake_the_first_whose_answer_is_on_its_way(tmp_path: Path) -> None:
    first = Crash("GET leases", Moment.ACCEPTED, How.RESET, since=Since.START)
    process = Process(tmp_path, first, Crash(ANY, Moment.BEFORE, How.RESET, 1, Since.CRASH))
    process.server.slow = asyncio.Event()
    struck = asyncio.create_task(process.call("GET", LEASE))
    await asyncio.sleep(0)
    assert await process.call("GET", JOB)
    assert process.notes.fired() == []
    process.server.slow.set()
    assert not await struck
    assert not await process.call("GET", JOB)
    assert len(process.notes.fired()) == 2


async def test_a_rival_writes_on_the_same_object_just_before_the_first_such_call(tmp_path: Path) -> None:
    process = Process(tmp_path, rival="PUT durablejobs/status [Submitting]")
    for _ in range(2):
        assert await process.call("PUT", f"{JOB}/status", status={"state": "Submitting"})
    rival, *own = process.server.arrived
    assert (rival.method, str(rival.url), rival.headers["authorization"]) == ("PATCH", JOB, "Bearer t")
    assert [request.method for request in own] == ["PUT", "PUT"]
