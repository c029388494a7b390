"""A server that answers every request in one wrong way, for the law: none of them may be taken for an answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


def _http(status: str, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


ANSWERS = {
    "a 500": _http("500 Oops", b'{"message": "secret words"}'),
    "a 429": _http("429 Slow Down", b"secret words", "text/plain", "Retry-After: 1"),
    "HTML with 200": _http("200 OK", b"<html>secret words</html>", "text/html"),
    "HTML said to be JSON": _http("200 OK", b"<html>secret words</html>"),
    "an empty 200": _http("200 OK", b""),
    "an empty object": _http("200 OK", b"{}"),
    "a list": _http("200 OK", b'["secret words"]'),
    "half a JSON": _http("200 OK", b'{"url": "secret words", "action": "Create'),
    "half a body": _http("200 OK", b'{"status": "ALIVE"}').replace(b"Length: 19", b"Length: 900"),
    "no HTTP": b"SSH-2.0-secret words\r\n",
}
"""Complete answers, whose words must not be passed on."""

KINDS = (
    *ANSWERS, "a refused connection", "silence", "a reset", "a closed connection", "a redirect", "an endless body",
    "a byte a second",
)  # fmt: skip


@dataclass
class Faulty:
    """Where it is, and what was asked at the place that a redirect leads to."""

    url: str = ""
    lured: list[str] = field(default_factory=list)


async def misbehave(kind: str, writer: asyncio.StreamWriter, elsewhere: str) -> None:
    """Answer in this way; a redirect leads to ``elsewhere``."""
    if kind in ANSWERS:
        writer.write(ANSWERS[kind])
    elif kind == "silence":
        await asyncio.sleep(3600)
    elif kind == "a reset":
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif kind == "a redirect":
        writer.write(_http("307 Elsewhere", b"", "text/plain", f"Location: {elsewhere}/stolen"))
    elif kind in ("an endless body", "a byte a second"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        slow = kind == "a byte a second"
        chunk = b"1\r\n \r\n" if slow else b"10000\r\n" + b" " * 65536 + b"\r\n"
        while not writer.is_closing():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.1 if slow else 0)


@asynccontextmanager
async def faulty(kind: str) -> AsyncIterator[Faulty]:
    """A server of this kind on a free port of 127.0.0.1."""
    its = Faulty()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await misbehave(kind, writer, elsewhere)
            await writer.drain()
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
        finally:
            writer.close()
            tasks.discard(task)

    async def lure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its.lured.append((await reader.readline()).decode())
        writer.close()

    trap = await asyncio.start_server(lure, "127.0.0.1", 0)
    elsewhere = f"http://127.0.0.1:{trap.sockets[0].getsockname()[1]}"
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    its.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if kind == "a refused connection":
        server.close()
    try:
        yield its
    finally:
        server.close()
        trap.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
