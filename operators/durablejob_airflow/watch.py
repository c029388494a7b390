"""One watch per connection and namespace in a process, shared by all its triggers.

However many tasks wait, the API server sees one watch from this triggerer. No event is lost: a
subscriber is registered first and its job is read after that; a watch goes on from the version where
the last one ended; and after every gap (a broken connection, 410) everything is listed again.

The same watch feeds an observer, which looks after all active jobs of this Airflow, also those for which no trigger
waits; so the watch goes on until the last of them has ended.

The watch's task gets an empty Context: with a trigger's it would log into that trigger's task. It is
never a child of a trigger, and it makes no synchronous call of the SDK.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablejob_airflow import observer
from durablejob_airflow.resource import Backoff, Expired, Refused, ResourceError, Unavailable
from durablejob_airflow.view import JobView, view_of

if TYPE_CHECKING:
    from durablejob_airflow.client_async import AsyncJobsClient

log = logging.getLogger(__name__)

Connect = Callable[[], "AbstractAsyncContextManager[AsyncJobsClient]"]
"""Opens a client; called anew after each failure, so that a changed connection or token is noticed."""
Ask = Callable[[observer.Question], Awaitable[object]]
"""Asks Airflow for the states of tasks; anything else than states is no answer."""
STEADY_SECONDS = 5.0
"""A watch that has gone on for so long works; one that ends earlier is followed by a pause."""
TELL_SECONDS = 10.0
"""Failures that go on for longer than this are told in the tasks' logs."""
GIVE_UP_SECONDS = 600.0
"""For how long a watch is tried that is refused, or cannot even be asked for. An API server that starts up answers so,
and rights or a connection may be on their way; after that a worker is to say what is wrong, and nobody looks after jobs
for which no task waits."""
_READERS = 8
"""Jobs of new subscribers that are read at the same time."""
_CANCEL_SECONDS = 10.0
"""For how long one cancel of the observer is tried; the next look tries again."""


class GivenUp(Exception):
    """The jobs cannot be watched from this process, and waiting would not help."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a waiter is told of the watch itself."""

    text: str
    given_up: bool = False
    """Nothing more comes."""


class Mailbox(asyncio.Queue[JobView | Notice | None]):
    """What a trigger reads: the job at each change, None when there is none; and how the watch itself fares.

    :param holder_id: the try on whose behalf the trigger waits for its own job; None: it is somebody else's
    """

    def __init__(self, holder_id: str | None = None) -> None:
        super().__init__()
        self.holder_id = holder_id


class NamespaceWatch:
    """The shared watch of one namespace."""

    def __init__(self, connect: Connect, ask: Ask, label: str, on_end: Callable[[NamespaceWatch], None]) -> None:
        self.connect = connect
        self.ask = ask
        self.label = label
        self.on_end = on_end
        self.observer: observer.Observer | None = None
        self._next_look = 0.0
        self.mailboxes: dict[str, list[Mailbox]] = defaultdict(list)
        self.connections = 0
        self._seen: dict[str, tuple[str, str]] = {}
        self._fresh: asyncio.Queue[str] = asyncio.Queue()
        self._backoff = Backoff()
        self._failing_since: float | None = None
        self._refused_since: float | None = None
        """The same, of failures that are no outage of Kubernetes."""
        self._trouble: Notice | None = None
        """What the waiters were told, as long as it is so."""
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, name: str, holder_id: str | None = None) -> Mailbox:
        """Register for a job; its state arrives soon, and then each change."""
        mailbox = Mailbox(holder_id)
        self.mailboxes[name].append(mailbox)
        self._seen.pop(name, None)  # so that the read for this subscriber is delivered in any case
        self._fresh.put_nowait(name)
        if self._trouble is not None:
            mailbox.put_nowait(self._trouble)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"durablejob-watch {self.label}", context=contextvars.Context()
            )
            self._task.add_done_callback(lambda _: self.on_end(self))  # also where its loop ends first
        return mailbox

    def unsubscribe(self, name: str, mailbox: Mailbox) -> None:
        """Leave; with the last one, and the last job to look after, the watch ends."""
        boxes = self.mailboxes[name]
        boxes.remove(mailbox)
        if not boxes:
            del self.mailboxes[name]
            self._seen.pop(name, None)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self.mailboxes or (self.observer is not None and self.observer.jobs):
            return
        self.on_end(self)
        if self._task is not None:
            _ending.add(self._task)
            self._task.add_done_callback(_ending.discard)
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        """For ever: connect, list, watch; after a failure wait a little and start over."""
        while True:
            try:
                async with self.connect() as jobs:
                    version = await self._list(jobs)
                    self.connections += 1
                    await self._follow(jobs, version)
            except Expired:
                log.info("Watch of %s: too far behind, listing again", self.label)
            except Unavailable as error:
                log.warning("Watch of %s interrupted: %s", self.label, error)
                self._failed(error)
            except Refused as error:
                log.warning("Watch of %s refused: %s", self.label, error)
                self._failed(error)
            except Exception as error:  # a broken connection setting, or a bug
                log.exception("Watch of %s failed", self.label)
                self._failed(error)
            await asyncio.sleep(self._backoff.next())

    def _failed(self, error: Exception) -> None:
        """The triggers must not hang on silence: a failure that lasts is told, and one that no waiting mends ends them.

        An outage of Kubernetes is waited for, however long it is.
        """
        now = asyncio.get_running_loop().time()
        self._failing_since = self._failing_since or now
        self._refused_since = None if isinstance(error, Unavailable) else self._refused_since or now
        if self._refused_since is not None and now - self._refused_since >= GIVE_UP_SECONDS:
            self._give_up(error)
        elif self._trouble is None and now - self._failing_since >= TELL_SECONDS:
            self._trouble = Notice(f"The job is waited for, but cannot be seen now: {_reason(error)}")
            self._tell(self._trouble)

    def _give_up(self, error: Exception) -> None:
        """The waiters leave, and with them the watch ends: its connection may have been deleted."""
        self._tell(Notice(f"{self.label}: the jobs cannot be watched: {_reason(error)}", given_up=True))
        if self.observer is not None and self.observer.jobs:
            log.warning(
                "Watch of %s given up: %d active jobs are looked after no more, until a task waits there again",
                self.label,
                len(self.observer.jobs),
            )
        self.observer = None
        self._end_if_idle()

    def _works(self) -> None:
        """A watch has held for a while."""
        self._backoff.reset()
        self._failing_since = self._refused_since = None
        if self._trouble is not None:
            self._trouble = None
            self._tell(Notice("The job can be seen again"))

    def _tell(self, notice: Notice) -> None:
        for boxes in self.mailboxes.values():
            for box in boxes:
                box.put_nowait(notice)

    async def _list(self, jobs: AsyncJobsClient) -> str:
        """Deliver every subscriber's job; returns the version to watch from."""
        missing = set(self.mailboxes)  # only these can be said to be gone: later ones are read by themselves
        while not self._fresh.empty():  # and these need no reading of their own
            self._fresh.get_nowait()
        version, found = "", set()
        if self.observer is None or self.observer.deployment != jobs.deployment:
            self.observer = observer.Observer(jobs.deployment)
        async for version, items in jobs.pages():  # noqa: B007 -- the last page's version is the list's
            for raw in items:
                found.add(raw["metadata"]["name"])
                self._changed(raw)
        for name in missing - found:
            self._gone(name)
        self.observer.keep_only(found)
        return version

    async def _follow(self, jobs: AsyncJobsClient, version: str) -> None:
        """Watch, and read the jobs of new subscribers beside it, until something breaks."""
        tasks = [asyncio.ensure_future(self._stream(jobs, version)), asyncio.ensure_future(self._observe(jobs))]
        tasks += [asyncio.ensure_future(self._read_fresh(jobs)) for _ in range(_READERS)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stream(self, jobs: AsyncJobsClient, version: str) -> None:
        """Watch, and watch on from where the server ended it; with a pause, if that was at once."""
        loop = asyncio.get_running_loop()
        while True:
            steady = loop.call_later(STEADY_SECONDS, self._works)
            try:
                async for kind, raw in jobs.watch(version):
                    version = (raw.get("metadata") or {}).get("resourceVersion") or version
                    self._event(kind, raw)
            finally:
                steady.cancel()
            self._failing_since = self._refused_since = None  # it was answered
            if loop.time() < steady.when():  # a proxy that does not stream answers with what there is, and ends
                await asyncio.sleep(self._backoff.next())

    def _event(self, kind: str, raw: dict[str, Any]) -> None:
        if kind == "DELETED":
            self._gone(raw["metadata"]["name"])
        elif kind != "BOOKMARK":
            self._changed(raw)

    async def _observe(self, jobs: AsyncJobsClient) -> None:
        """Look after all active jobs now and then; where the connection broke meanwhile, go on where it was."""
        loop = asyncio.get_running_loop()
        self._next_look = self._next_look or loop.time() + observer.EVERY_SECONDS
        while True:
            await asyncio.sleep(self._next_look - loop.time())
            self._next_look = loop.time() + observer.EVERY_SECONDS
            if self.observer is not None:
                for question in list(self.observer.questions()):
                    for finding in self.observer.judge(question, await self.ask(question), self._waited_for):
                        await self._end_job(jobs, finding)
            self._end_if_idle()

    def _waited_for(self, job: observer.Observed) -> bool:
        """Whether a trigger waits on behalf of the job's holder; a sensor says nothing about that task."""
        return any(box.holder_id == job.holder_id for box in self.mailboxes.get(job.name, ()))

    async def _end_job(self, jobs: AsyncJobsClient, finding: observer.Finding) -> None:
        """Cancel a job for a task that has ended; what fails now is tried at the next look."""
        try:
            done = await jobs.cancel(finding.name, finding.holder_id, finding.cause, _CANCEL_SECONDS)
        except ResourceError as error:
            log.warning("DurableJob %s could not be asked to end (%s): %s", finding.name, finding.cause, error)
            return
        if done:
            log.info("DurableJob %s: its task has ended; asked to end, cause %s", finding.name, finding.cause)

    async def _read_fresh(self, jobs: AsyncJobsClient) -> None:
        while True:
            name = await self._fresh.get()
            if name not in self.mailboxes:
                continue
            raw = await jobs.get(name)  # what fails ends the connection, and the next one begins with a list
            if raw is None:
                self._gone(name)
            else:
                self._deliver(raw)

    def _changed(self, raw: dict[str, Any]) -> None:
        if self.observer is not None:
            self.observer.note(raw)
        self._deliver(raw)

    def _deliver(self, raw: dict[str, Any]) -> None:
        meta = raw["metadata"]
        boxes = self.mailboxes.get(meta["name"])
        if not boxes or self._is_old(meta["name"], meta.get("uid", ""), meta.get("resourceVersion", "")):
            return
        self._seen[meta["name"]] = (meta.get("uid", ""), meta.get("resourceVersion", ""))
        job = view_of(raw)
        for box in boxes:
            box.put_nowait(job)

    def _is_old(self, name: str, uid: str, version: str) -> bool:
        """A read may be overtaken by the watch's event: versions of one object only grow."""
        seen = self._seen.get(name)
        if seen is None or seen[0] != uid:
            return False
        if version.isdigit() and seen[1].isdigit():
            return int(version) <= int(seen[1])
        return version == seen[1]

    def _gone(self, name: str) -> None:
        self._seen.pop(name, None)
        if self.observer is not None:
            self.observer.forget(name)
        for box in self.mailboxes.get(name, ()):
            box.put_nowait(None)


def _reason(error: Exception) -> str:
    """What went wrong, and what can be done about it."""
    if isinstance(error, Refused):
        return f"Kubernetes refuses (HTTP {error.status}) to {error}{error.hint}"
    return (
        f"Kubernetes does not answer: {error}" if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
    )


_watches: dict[tuple[int, str, str], NamespaceWatch] = {}
"""By event loop, connection and namespace."""
_ending: set[asyncio.Task[None]] = set()
"""Cancelled tasks until they are done: the loop itself holds them weakly."""


@asynccontextmanager
async def watching(
    conn_id: str, namespace: str, name: str, connect: Connect, ask: Ask, holder_id: str | None = None
) -> AsyncIterator[Mailbox]:
    """A mailbox with a job's changes, from the process's one watch of its namespace."""
    key = (id(asyncio.get_running_loop()), conn_id, namespace)

    def ended(watch: NamespaceWatch) -> None:
        if _watches.get(key) is watch:
            del _watches[key]

    watch = _watches.get(key)
    if watch is None:
        watch = _watches[key] = NamespaceWatch(connect, ask, f"{conn_id}/{namespace}", ended)
    mailbox = watch.subscribe(name, holder_id)
    try:
        yield mailbox
    finally:
        watch.unsubscribe(name, mailbox)
