"""The shared watch, against an API server that breaks on demand."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from durablejob_airflow import observer, watch
from durablejob_airflow.resource import Backoff, Expired, Refused, Unavailable
from tests.operators.test_observer import a_job

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="empty")


class Server:
    """Jobs in memory; a break ends all watches with that error."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.watchers: list[asyncio.Queue[Any]] = []
        self.lists = self.reads = self.connections = self.watches = 0
        self.ends_at_once: Exception | bool = False
        """What each watch ends with as soon as it is asked for; True: in an orderly way."""
        self.away: Exception | None = None
        self.marks: set[str] = set()
        self.deployment = "tests"
        self.states: object = None
        self.asked: list[observer.Question] = []
        self.cancelled: list[tuple[str, str, str]] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Server]:
        self.connections += 1
        self.marks.add(MARK.get())
        yield self

    def put(self, name: str, state: str = "Running", told: bool = True, **more: Any) -> None:
        """Change a job; not told: the event is lost."""
        self.version += 1
        meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        self.jobs[name] = {"metadata": meta, "spec": {"attempt": 1}, "status": {"state": state}}
        self.jobs[name]["metadata"] |= more.get("metadata", {})
        self.jobs[name]["spec"] |= more.get("spec", {})
        if told:
            self.tell("MODIFIED", self.jobs[name])

    async def ask(self, question: observer.Question) -> object:
        self.asked.append(question)
        return self.states

    async def cancel(self, name: str, holder_id: str, cause: str, seconds: float) -> bool:
        if self.away:
            raise self.away
        self.cancelled.append((name, holder_id, cause))
        return True

    def remove(self, name: str, told: bool = True) -> None:
        job = self.jobs.pop(name)
        if told:
            self.tell("DELETED", job)

    def tell(self, kind: str, job: dict[str, Any]) -> None:
        for queue in self.watchers:
            queue.put_nowait((kind, job))

    def break_with(self, error: Exception) -> None:
        for queue in self.watchers:
            queue.put_nowait(error)

    async def get(self, name: str) -> dict[str, Any] | None:
        self.reads += 1
        if self.away:
            raise self.away
        return self.jobs.get(name)

    async def pages(self) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
        if self.away:
            raise self.away
        self.lists += 1
        yield str(self.version), list(self.jobs.values())

    async def watch(self, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self.watches += 1
        queue: asyncio.Queue[Any] = asyncio.Queue()
        if self.ends_at_once:
            queue.put_nowait(None if self.ends_at_once is True else self.ends_at_once)
        self.watchers.append(queue)
        await asyncio.sleep(0)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    return
                yield item
        finally:
            self.watchers.remove(queue)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(watch, "Backoff", lambda: Backoff(first=0.01, most=0.05))
    return Server()


def watching(server: Server, name: str, namespace: str = "ns", holder_id: str | None = None) -> Any:
    return watch.watching("conn", namespace, name, server.connect, server.ask, holder_id)


async def soon(mailbox: watch.Mailbox) -> Any:
    return await asyncio.wait_for(mailbox.get(), 2)


async def until(holds: Any) -> None:
    async with asyncio.timeout(2):
        while not holds():  # noqa: ASYNC110 -- it is somebody else's state
            await asyncio.sleep(0.005)


async def test_a_subscriber_gets_the_job_as_it_is_and_each_change(server):
    server.put("a")
    async with watching(server, "a") as mailbox:
        assert (await soon(mailbox)).state == "Running"
        await until(lambda: server.watchers)
        server.put("a", "Succeeded")
        assert (await soon(mailbox)).state == "Succeeded"
        server.put("b")
        server.remove("a")
        assert await soon(mailbox) is None


async def test_one_watch_serves_all_subscribers_of_a_namespace_and_ends_with_the_last(server):
    for number in range(50):
        server.put(str(number))
    async with AsyncExitStack() as stack:
        boxes = [await stack.enter_async_context(watching(server, str(number))) for number in range(50)]
        boxes.append(await stack.enter_async_context(watching(server, "0")))
        for box in boxes:
            await soon(box)
        assert server.connections == 1
        assert len(watch._watches) == 1
        async with watching(server, "x", "other") as other:
            assert await soon(other) is None
            assert server.connections == 2
    assert watch._watches == {}
    await until(lambda: not server.watchers)


@pytest.mark.parametrize(
    "error", [Unavailable("reset"), Expired("too old"), Refused(403, "no watch"), RuntimeError("bug")]
)
async def test_every_gap_is_closed_by_a_list(server, error):
    server.put("a")
    server.put("gone")
    async with watching(server, "a") as mailbox, watching(server, "gone") as second:
        await soon(mailbox)
        await soon(second)
        await until(lambda: server.watchers)
        server.put("a", "Succeeded", told=False)
        server.remove("gone", told=False)
        server.break_with(error)
        assert (await soon(mailbox)).state == "Succeeded"
        assert await soon(second) is None


async def test_a_watch_that_ends_in_an_orderly_way_goes_on_without_a_list(server):
    server.put("a")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
        server.watchers[0].put_nowait(None)
        await asyncio.sleep(0.02)
        await until(lambda: server.watchers)
        server.put("a", "Failed")
        assert (await soon(mailbox)).state == "Failed"
        assert server.lists == 1


@pytest.mark.parametrize("end", [True, Refused(403, "no watch"), Unavailable("reset")], ids=["orderly", "403", "reset"])
async def test_a_watch_that_ends_at_once_is_asked_for_less_and_less_often(server, monkeypatch, end):
    monkeypatch.setattr(watch, "Backoff", lambda: Backoff(first=0.01, most=10))
    server.ends_at_once = end
    async with watching(server, "a"):
        await asyncio.sleep(0.5)
    assert 3 < server.watches < 9
    assert server.lists < 10


async def test_pauses_begin_anew_when_a_watch_has_gone_on_for_a_while(server, monkeypatch):
    backoff = Backoff(first=0.01, most=0.05)
    monkeypatch.setattr(watch, "Backoff", lambda: backoff)
    monkeypatch.setattr(watch, "STEADY_SECONDS", 0.1)
    server.ends_at_once = Unavailable("reset")
    async with watching(server, "a"):
        await until(lambda: backoff.count > 4)
        server.ends_at_once = False
        await until(lambda: backoff.count == 0)
        assert len(server.watchers) == 1


async def test_an_outage_is_waited_for(server):
    server.put("a")
    server.away = Unavailable("refused")
    async with watching(server, "a") as mailbox:
        await asyncio.sleep(0.05)
        assert mailbox.empty()
        server.away = None
        assert (await soon(mailbox)).state == "Running"


async def test_an_older_version_does_not_overtake_a_newer_one(server):
    server.put("a")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
        old = server.jobs["a"]
        server.put("a", "Succeeded")
        server.tell("MODIFIED", old)
        server.put("b")
        assert (await soon(mailbox)).state == "Succeeded"
        await asyncio.sleep(0.02)
        assert mailbox.empty()


async def test_the_watch_does_not_run_in_the_context_of_a_trigger(server):
    MARK.set("a trigger's")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
    assert server.marks == {"empty"}


async def test_a_later_subscriber_of_the_same_job_gets_it_too(server):
    server.put("a")
    async with watching(server, "a") as first:
        await soon(first)
        async with watching(server, "a") as second:
            assert (await soon(second)).state == "Running"


NO_CONNECTION = RuntimeError("no such connection")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            Refused(403, "list ns: forbidden"),
            "Kubernetes refuses (HTTP 403) to list ns: forbidden. Airflow's account needs",
        ),
        (NO_CONNECTION, "RuntimeError: no such connection"),
    ],
)
async def test_a_watch_that_cannot_be_had_is_told_and_given_up(server, monkeypatch, error, says):
    monkeypatch.setattr(watch, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(watch, "GIVE_UP_SECONDS", 0.3)
    server.away = error
    async with watching(server, "a") as mailbox:
        first = await soon(mailbox)
        assert (first.given_up, says in first.text) == (False, True)
        async with watching(server, "a") as later:
            assert await soon(later) == first
        last = await soon(mailbox)
        assert (last.given_up, says in last.text) == (True, True)


def drained(mailbox: Any) -> list[Any]:
    """All that has come."""
    found = []
    while not mailbox.empty():
        found.append(mailbox.get_nowait())
    return found


async def test_a_refusal_is_forgotten_when_the_server_has_answered_a_watch(server, monkeypatch):
    monkeypatch.setattr(watch, "GIVE_UP_SECONDS", 0.2)
    server.put("a")
    server.ends_at_once = Refused(403, "forbidden")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watches > 1)
        server.ends_at_once = True  # a proxy that does not stream
        await asyncio.sleep(0.3)
        server.ends_at_once = Refused(403, "forbidden")
        await asyncio.sleep(0.1)
        server.ends_at_once = False
        assert not [note for note in drained(mailbox) if isinstance(note, watch.Notice) and note.given_up]


async def test_an_outage_that_lasts_is_told_once_and_never_given_up(server, monkeypatch):
    monkeypatch.setattr(watch, "STEADY_SECONDS", 0.1)
    monkeypatch.setattr(watch, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(watch, "GIVE_UP_SECONDS", 0.2)
    server.put("a")
    server.away = Unavailable("refused")
    async with watching(server, "a") as mailbox:
        assert "Kubernetes does not answer: refused" in (await soon(mailbox)).text
        await asyncio.sleep(0.5)
        server.away = Refused(403, "it starts up")  # counts from now, not from the outage's begin
        await asyncio.sleep(0.1)
        server.away = None
        assert (await soon(mailbox)).state == "Running"
        assert await soon(mailbox) == watch.Notice("The job can be seen again")
        assert mailbox.empty()


async def test_an_interruption_that_is_soon_over_is_not_told(server, monkeypatch):
    monkeypatch.setattr(watch, "STEADY_SECONDS", 0.05)
    server.put("a")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
        server.break_with(Unavailable("reset"))
        await until(lambda: server.lists > 1 and server.watchers)
        await asyncio.sleep(0.1)
        assert mailbox.empty()


def put(server: Server, job: dict[str, Any], **spec: Any) -> str:
    """A job of an Airflow, as the observer knows it."""
    name: str = job["metadata"]["name"]
    server.put(name, metadata=job["metadata"], spec=job["spec"] | spec)
    return name


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "EVERY_SECONDS", 0.02)


@pytest.mark.usefixtures("_often")
async def test_a_job_without_a_trigger_whose_task_has_failed_is_cancelled(server):
    marked = put(server, a_job())
    server.states = {"run": {"task": "failed"}}
    async with watching(server, "another") as mailbox:
        await soon(mailbox)
        await until(lambda: server.cancelled)
    assert server.cancelled[0] == (marked, "ti-1", "MarkedFailed")
    assert len(server.asked) >= 2
    put(server, a_job(), cancel={"attempt": 1})  # else the watch goes on
    await until(lambda: not watch._watches)


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("waiter", [None, "ti-0"], ids=["a sensor's", "an earlier try's"])
async def test_no_state_is_no_clear_where_only_another_trigger_waits(server, waiter):
    """As after an orphan reset of a task that polls: its job goes on, and the retry re-attaches."""
    job = put(server, a_job())
    server.states = {"run": {"task": None}}
    async with watching(server, job, holder_id=waiter) as mailbox:
        await soon(mailbox)
        await until(lambda: len(server.asked) > 4)
        assert server.cancelled == []
        async with watching(server, job, holder_id="ti-1"):
            await until(lambda: server.cancelled)
    assert server.cancelled[0] == (job, "ti-1", "Cleared")
    server.remove(job)
    await until(lambda: not watch._watches)


@pytest.mark.usefixtures("_often")
async def test_the_watch_goes_on_while_there_are_jobs_to_look_after(server):
    marked = put(server, a_job())
    server.states = {"run": {"task": "up_for_retry"}}
    async with watching(server, marked) as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
    asked = len(server.asked)
    await until(lambda: len(server.asked) > asked + 2)
    assert server.cancelled == []
    server.states = {"run": {"task": "failed"}}
    await until(lambda: server.cancelled)
    server.remove(marked)
    await until(lambda: not watch._watches)
    await until(lambda: not server.watchers)


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("error", [Refused(403, "no watch"), RuntimeError("no such connection")])
async def test_a_watch_that_is_refused_and_that_nobody_waits_for_ends_when_that_lasts(
    server, error, monkeypatch, caplog
):
    monkeypatch.setattr(watch, "GIVE_UP_SECONDS", 0.2)
    marked = put(server, a_job())
    async with watching(server, marked) as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
    server.away = error
    server.break_with(error)
    await until(lambda: not watch._watches)
    assert "1 active jobs are looked after no more" in caplog.text


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("error", [Refused(401, "it starts up"), RuntimeError("a bug")])
async def test_a_failure_that_passes_does_not_end_the_watch_that_only_the_observer_has(server, error):
    marked = put(server, a_job())
    server.states = {"run": {"task": "up_for_retry"}}
    async with watching(server, marked) as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
    server.away = error
    server.break_with(error)
    await asyncio.sleep(0.2)
    server.away = None
    server.states = {"run": {"task": "failed"}}
    await until(lambda: server.cancelled)
    server.remove(marked)
    await until(lambda: not watch._watches)


@pytest.mark.usefixtures("_often")
async def test_a_cancel_that_cannot_be_written_is_tried_at_the_next_look(server):
    put(server, a_job())
    server.states = {"run": {"task": "success"}}
    async with watching(server, "another") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
        server.away = Unavailable("away")
        await until(lambda: len(server.asked) > 3)
        assert server.cancelled == []
        server.away = None
        await until(lambda: server.cancelled)
        server.remove(next(iter(server.jobs)))


async def test_looks_are_not_put_off_by_a_connection_that_breaks_often(server, monkeypatch):
    monkeypatch.setattr(observer, "EVERY_SECONDS", 0.3)
    put(server, a_job())
    server.states = {"run": {"task": "running"}}
    async with watching(server, "another") as mailbox:
        await soon(mailbox)
        for _ in range(8):
            await asyncio.sleep(0.1)
            server.break_with(Unavailable("reset"))
        await until(lambda: len(server.asked) >= 2)
        server.remove(next(iter(server.jobs)))


def test_a_watch_whose_event_loop_has_ended_is_not_met_by_another_loop(server):
    """Its task has gone with the loop, and a later loop may have the same id."""

    async def leave() -> None:
        marked = put(server, a_job())
        async with watching(server, marked) as mailbox:
            await soon(mailbox)
        assert watch._watches

    asyncio.run(leave())
    assert watch._watches == {}


async def test_what_a_list_tells_is_not_read_again(server):
    """A triggerer that starts has thousands of subscribers at once."""
    for number in range(50):
        server.put(str(number))
    async with AsyncExitStack() as stack:
        boxes = [await stack.enter_async_context(watching(server, str(number))) for number in range(50)]
        for box in boxes:
            await soon(box)
        await until(lambda: server.watchers)
        assert (server.lists, server.reads) == (1, 0)
        await soon(await stack.enter_async_context(watching(server, "later")))
        assert server.reads == 1


async def test_a_reading_that_fails_is_made_up_for(server):
    server.put("a")
    async with watching(server, "a") as mailbox:
        await soon(mailbox)
        await until(lambda: server.watchers)
        server.put("b")
        server.away = Unavailable("refused")
        async with watching(server, "b") as second:
            await until(lambda: server.reads)
            server.away = None
            assert (await soon(second)).state == "Running"
