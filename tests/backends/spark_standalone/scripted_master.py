"""A server on a socket that says exactly what a test wants, byte by byte, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

RESET = b"reset"
"""Read the request, then close without an answer."""
SILENCE = b"silence"
"""Read the request, and say nothing for long."""
TRICKLE = b"trickle"
"""Answer one byte at a time, for ever."""


def http(status: int, body: object, content_type: str = "application/json", *headers: str) -> bytes:
    """A complete answer; a ``body`` that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@dataclass
class ScriptedMaster:
    """Answers by the beginning of the request line; keeps request lines, headers and bodies."""

    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def count(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                line = head.partition("\r\n")[0]
                self.asked.append(line)
                self.heads.append(head)
                length = next((int(h.split(":")[1]) for h in head.lower().split("\r\n") if "content-length" in h), 0)
                if length:
                    self.bodies.append(json.loads(await reader.readexactly(length)))
                # The longest beginning wins.
                match = max((b for b in self.answers if line.startswith(b)), key=len)
                if not await self._answer(self.answers[match], writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, answer: bytes, writer: asyncio.StreamWriter) -> bool:
        if answer == RESET:
            return False
        if answer == SILENCE:
            await asyncio.sleep(60)
        if answer == TRICKLE:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.write(answer)
        await writer.drain()
        return True


@asynccontextmanager
async def scripted(answers: dict[str, bytes]) -> AsyncIterator[ScriptedMaster]:
    """A server on a free port of 127.0.0.1; its connections end with it."""
    master = ScriptedMaster(dict(answers))
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await master.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    master.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield master
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
