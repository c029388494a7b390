"""One watch per connection and namespace in a process, shared by all its triggers.

However many tasks wait, the API server sees one watch from this triggerer. No event is lost: a
subscriber is registered first and its job is read after that; a watch goes on from the version where
the last one ended; and after every gap (a broken connection, 410) everything is listed again.

The watch's task gets an empty Context: with a trigger's it would log into that trigger's task. It is
never a child of a trigger, and it makes no synchronous call of the SDK.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from durablejob_airflow.resource import Backoff, Expired, Refused, ResourceError, Unavailable
from durablejob_airflow.view import JobView, view_of

if TYPE_CHECKING:
    from durablejob_airflow.client_async import AsyncJobsClient

log = logging.getLogger(__name__)

Connect = Callable[[], "AbstractAsyncContextManager[AsyncJobsClient]"]
"""Opens a client; called anew after each failure, so that a changed connection or token is noticed."""
Mailbox = asyncio.Queue[JobView | None]
"""What a trigger reads: the job at each change, None when there is none."""

_READERS = 8
"""Jobs of new subscribers that are read at the same time."""


class NamespaceWatch:
    """The shared watch of one namespace."""

    def __init__(self, connect: Connect, label: str) -> None:
        self.connect = connect
        self.label = label
        self.mailboxes: dict[str, list[Mailbox]] = defaultdict(list)
        self.connections = 0
        self._seen: dict[str, tuple[str, str]] = {}
        self._fresh: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    @property
    def subscribers(self) -> int:
        return sum(len(boxes) for boxes in self.mailboxes.values())

    def subscribe(self, name: str) -> Mailbox:
        """Register for a job; its state arrives soon, and then each change."""
        mailbox: Mailbox = asyncio.Queue()
        self.mailboxes[name].append(mailbox)
        self._seen.pop(name, None)  # so that the read for this subscriber is delivered in any case
        self._fresh.put_nowait(name)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"durablejob-watch {self.label}", context=contextvars.Context()
            )
        return mailbox

    def unsubscribe(self, name: str, mailbox: Mailbox) -> None:
        """Leave; with the last one the watch ends."""
        boxes = self.mailboxes[name]
        boxes.remove(mailbox)
        if not boxes:
            del self.mailboxes[name]
            self._seen.pop(name, None)
        if not self.mailboxes and self._task is not None:
            _ending.add(self._task)
            self._task.add_done_callback(_ending.discard)
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        """For ever: connect, list, watch; after a failure wait a little and start over."""
        backoff = Backoff()
        while True:
            try:
                async with self.connect() as jobs:
                    version = await self._list(jobs)
                    self.connections += 1
                    backoff.reset()
                    await self._follow(jobs, version)
            except Expired:
                log.info("Watch of %s: too far behind, listing again", self.label)
            except (Unavailable, Refused) as error:
                log.warning("Watch of %s interrupted: %s", self.label, error)
            except Exception:  # a broken connection setting, or a bug: the triggers must not hang on silence
                log.exception("Watch of %s failed", self.label)
            await asyncio.sleep(backoff.next())

    async def _list(self, jobs: AsyncJobsClient) -> str:
        """Deliver every subscriber's job; returns the version to watch from."""
        missing = set(self.mailboxes)  # only these can be said to be gone: later ones are read by themselves
        version = ""
        async for version, items in jobs.pages():  # noqa: B007 -- the last page's version is the list's
            for raw in items:
                missing.discard(raw["metadata"]["name"])
                self._deliver(raw)
        for name in missing:
            self._gone(name)
        return version

    async def _follow(self, jobs: AsyncJobsClient, version: str) -> None:
        """Watch, and read the jobs of new subscribers beside it, until something breaks."""
        tasks = [asyncio.ensure_future(self._stream(jobs, version))]
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
        while True:
            async for kind, raw in jobs.watch(version):
                version = (raw.get("metadata") or {}).get("resourceVersion") or version
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self._gone(raw["metadata"]["name"])
                else:
                    self._deliver(raw)

    async def _read_fresh(self, jobs: AsyncJobsClient) -> None:
        while True:
            name = await self._fresh.get()
            if name not in self.mailboxes:
                continue
            try:
                raw = await jobs.get(name)
            except ResourceError:
                self._fresh.put_nowait(name)  # after the pause that the failure brings
                raise
            if raw is None:
                self._gone(name)
            else:
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
        for box in self.mailboxes.get(name, ()):
            box.put_nowait(None)


_watches: dict[tuple[int, str, str], NamespaceWatch] = {}
"""By event loop, connection and namespace."""
_ending: set[asyncio.Task[None]] = set()
"""Cancelled tasks until they are done: the loop itself holds them weakly."""


@asynccontextmanager
async def watching(conn_id: str, namespace: str, name: str, connect: Connect) -> AsyncIterator[Mailbox]:
    """A mailbox with a job's changes, from the process's one watch of its namespace."""
    key = (id(asyncio.get_running_loop()), conn_id, namespace)
    watch = _watches.get(key)
    if watch is None:
        watch = _watches[key] = NamespaceWatch(connect, f"{conn_id}/{namespace}")
    mailbox = watch.subscribe(name)
    try:
        yield mailbox
    finally:
        watch.unsubscribe(name, mailbox)
        if not watch.subscribers and _watches.get(key) is watch:
            del _watches[key]
