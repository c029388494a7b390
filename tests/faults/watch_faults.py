"""What can be wrong with watches and lists of DurableJobs and their backends; each counts what it did.

Only our own kinds are met: a list of Jobs or pods is a quorum read, from which absence is concluded, and no API server
answers one from its past.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict

from durablejob_api import GROUP
from tests.faults.relay import Exchange, Reply


class WatchFault:
    """Passes everything on; the kinds of fault differ from it."""

    def __init__(self) -> None:
        self.times = 0
        """How often it has struck."""

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        ours = request.path.startswith(f"/apis/{GROUP}/")
        if ours and request.watches:
            await self.watch(exchange)
        elif ours and request.lists:
            await self.list(exchange)
        else:
            await exchange.pass_on()

    async def watch(self, exchange: Exchange) -> None:
        await exchange.pass_on()

    async def list(self, exchange: Exchange) -> None:
        await exchange.pass_on()


class Delayed(WatchFault):
    """Every event comes so many seconds late."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def watch(self, exchange: Exchange) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        teller = asyncio.ensure_future(self._tell(exchange, waiting))
        try:
            async for line in exchange.lines():
                waiting.put_nowait((time.monotonic() + self._seconds, line))
        finally:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)

    async def _tell(self, exchange: Exchange, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            due, line = await waiting.get()
            await asyncio.sleep(due - time.monotonic())
            self.times += 1
            await exchange.tell(line)


class Dropped(WatchFault):
    """Two of three events never come."""

    async def watch(self, exchange: Exchange) -> None:
        number = 0
        async for line in exchange.lines():
            number += 1
            if number % 3:
                self.times += 1
            else:
                await exchange.tell(line)


class Repeated(WatchFault):
    """Every event comes three times."""

    async def watch(self, exchange: Exchange) -> None:
        async for line in exchange.lines():
            self.times += 1
            for _ in range(3):
                await exchange.tell(line)


class Backwards(WatchFault):
    """After every event all earlier ones of the same object come again, the newest first; also after its deletion."""

    def __init__(self) -> None:
        super().__init__()
        self._past: defaultdict[str, list[bytes]] = defaultdict(list)

    async def watch(self, exchange: Exchange) -> None:
        async for line in exchange.lines():
            await exchange.tell(line)
            uid = json.loads(line)["object"].get("metadata", {}).get("uid")
            if uid is None:  # a bookmark
                continue
            for old in reversed(self._past[uid]):
                self.times += 1
                await exchange.tell(old)
            if json.loads(line)["type"] != "DELETED":  # an API server tells that once: the uid is gone for ever
                self._past[uid].append(line)


class Broken(WatchFault):
    """Every watch breaks off in the middle of its third event."""

    async def watch(self, exchange: Exchange) -> None:
        number = 0
        async for line in exchange.lines():
            number += 1
            if number == 3:
                self.times += 1
                exchange.writer.write(f"{len(line):x}\r\n".encode() + line[: len(line) // 2])
                await exchange.writer.drain()
                raise ConnectionResetError
            await exchange.tell(line)


class Gone(WatchFault):
    """Every watch is told after half a second that its version is too old; every other one at once, by the status."""

    async def watch(self, exchange: Exchange) -> None:
        self.times += 1
        words = "too old resource version"
        status = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": words}
        if self.times % 2:
            await asyncio.sleep(0.5)
            await exchange.begin({"Content-Type": "application/json"})
            await exchange.tell(json.dumps({"type": "ERROR", "object": status}).encode())
            await exchange.finish()
        else:
            await exchange.answer(Reply.of(410, json.dumps(status).encode()))


class OldLists(WatchFault):
    """Lists are some seconds old, and watches tell nothing.

    The controller asks for what a quorum knows, and no API server answers that from a cache that is behind: whoever
    gets such a list must take it for one after a restore of etcd (protocol rule 4).
    """

    def __init__(self, age: float) -> None:
        super().__init__()
        self._age = age
        self._past: defaultdict[str, list[tuple[float, Reply]]] = defaultdict(list)

    async def watch(self, exchange: Exchange) -> None:
        async for _ in exchange.lines():
            pass

    async def list(self, exchange: Exchange) -> None:
        reply = await exchange.ask()
        # The controller's list and that of its watch are the same list, whatever the page's size.
        past = self._past[exchange.request.path]
        if reply.status == 200:
            past.append((time.monotonic(), reply))
        old = [known for at, known in past if time.monotonic() - at >= self._age] or [past[0][1]] if past else [reply]
        self.times += old[-1] is not reply
        await exchange.answer(old[-1])
