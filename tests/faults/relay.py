"""A server between the controller and one that it asks: it passes HTTP on, and does to it what a fault says.

Every answer ends its connection, so that each request is met anew. Bodies are passed as they are, never compressed:
a fault may look into them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
from kubernetes import client as kubernetes_client
from kubernetes import config

from tests.crash.hook import RESOURCES
from tests.testbed.kube.cluster import Cluster

T = TypeVar("T")
_NOT_PASSED = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")
_NOT_RETURNED = ("connection", "content-length", "transfer-encoding", "content-encoding", "keep-alive")
ANSWER_TIMEOUT = 30.0
"""Seconds that the server behind may take for an ordinary answer."""
AWAY = 10.0
"""Seconds for which a member of a service that gave no answer counts as not ready (a readiness probe's period)."""
SERVICE_PATIENCE = 5.0
"""Seconds that one member of a service may take: a gate asks others before it answers, and a stopped one never does."""


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def watches(self) -> bool:
        return parse_qs(urlsplit(self.target).query).get("watch") == ["true"]

    @property
    def lists(self) -> bool:
        """The first page of a list of Kubernetes objects."""
        found = RESOURCES.match(self.path)
        whole = found is not None and found.group("name") is None and self.method == "GET"
        return whole and not self.watches and "continue=" not in self.target


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> Reply:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, {"Content-Type": content_type, **names}, body)

    def raw(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in self.headers.items())]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass
class Exchange:
    """One request, and the means to answer it."""

    request: Request
    writer: asyncio.StreamWriter
    upstream: str
    """The server behind."""
    _session: aiohttp.ClientSession = field(repr=False)

    async def ask(self, patience: float = ANSWER_TIMEOUT) -> Reply:
        """The true answer, whole, if it comes within so many seconds."""
        async with self._sent(aiohttp.ClientTimeout(total=patience)) as answer:
            return Reply(answer.status, _kept(answer.headers), await answer.read())

    async def answer(self, reply: Reply) -> None:
        self.writer.write(reply.raw())
        await self.writer.drain()

    async def pass_on(self) -> None:
        """As if nothing stood between."""
        if self.request.watches:
            async for line in self.lines():
                await self.tell(line)
        else:
            await self.answer(await self.ask())

    async def lines(self) -> AsyncIterator[bytes]:
        """The true answer, line by line, as it comes; `tell` passes one on."""
        async with self._sent(aiohttp.ClientTimeout(total=None, sock_read=None)) as answer:
            if answer.status != 200:
                await self.answer(Reply(answer.status, _kept(answer.headers), await answer.read()))
                return
            await self.begin(_kept(answer.headers))
            rest = b""
            async for chunk in answer.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line
        await self.finish()

    async def begin(self, headers: Mapping[str, str]) -> None:
        """The head of an answer in pieces."""
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items())]
        lines += ["Transfer-Encoding: chunked", "Connection: close"]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        await self.writer.drain()

    async def tell(self, line: bytes) -> None:
        data = line + b"\n"
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def finish(self) -> None:
        """The proper end of an answer in pieces."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def _sent(self, timeout: aiohttp.ClientTimeout) -> Any:
        request = self.request
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED}
        return self._session.request(
            request.method, self.upstream + request.target, data=request.body or None, headers=headers,
            timeout=timeout, allow_redirects=False,
        )  # fmt: skip


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_RETURNED}


Fault = Callable[[Exchange], Awaitable[None]]
"""Answers one request, in whatever way."""


class Relay:
    """One such server; ``with`` it running. ``fault`` may be set at any time, and is met by what is asked from then."""

    def __init__(self, upstream: str, trust: ssl.SSLContext | None = None, token: str = "") -> None:
        self.fault: Fault = Exchange.pass_on
        self.url = ""
        self._upstream = upstream.rstrip("/")
        self._trust = trust
        self._headers = {"Authorization": token} if token else {}
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"relay to {upstream}", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """No fault any more; what is being answered is cut off."""
        self.fault = Exchange.pass_on
        self._do(self._cut())

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(30)

    async def _begin(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trust or True)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, auto_decompress=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        await self._session.close()
        await asyncio.sleep(0.25)  # TLS connections say goodbye, for which the loop must run on

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            request = await _read(reader)
            await self._until_hung_up(reader, self.fault(Exchange(request, writer, self._upstream, self._session)))
        except (asyncio.CancelledError, asyncio.IncompleteReadError, aiohttp.ClientError, OSError, TimeoutError):
            writer.transport.abort()  # the server behind is away, or who asked is
        finally:
            writer.close()
            self._open.discard(task)

    @staticmethod
    async def _until_hung_up(reader: asyncio.StreamReader, answering: Awaitable[None]) -> None:
        """Who asks may go, and then nobody is to be told any more (a watch would be followed for ever)."""
        told = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait([told, gone], return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                await told
        finally:
            for task in (told, gone):
                task.cancel()
            await asyncio.gather(told, gone, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = next((int(value) for name, value in headers.items() if name.lower() == "content-length"), 0)
    return Request(method, target, headers, await reader.readexactly(length))


class Service:
    """Several servers behind one address, as a Kubernetes Service: each request goes to the next that answers."""

    def __init__(self) -> None:
        self.members: list[str] = []
        """Their URLs."""
        self._turn = 0
        self._failed: dict[str, float] = {}
        """Monotonic seconds at which each last gave no answer."""

    async def __call__(self, exchange: Exchange) -> None:
        self._turn += 1
        turn = self._turn % max(1, len(self.members))
        members = [*self.members[turn:], *self.members[:turn]]
        for member in sorted(members, key=lambda m: time.monotonic() - self._failed.get(m, -AWAY) < AWAY):
            exchange.upstream = member
            try:
                await exchange.answer(await exchange.ask(patience=SERVICE_PATIENCE))
            except (aiohttp.ClientError, TimeoutError):
                self._failed[member] = time.monotonic()
                continue
            return
        raise ConnectionResetError


def to_kube(cluster: Cluster) -> Relay:
    """A relay to this cluster's kube-apiserver, as its administrator."""
    configuration = kubernetes_client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)
    trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        trust.load_cert_chain(configuration.cert_file, configuration.key_file)
    token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Relay(configuration.host, trust, token or "")


def kubeconfig(relay: Relay, path: Path) -> Path:
    """A kubeconfig that leads to the relay, which is who it likes to the server behind."""
    parts = {
        "clusters": [{"name": "relay", "cluster": {"server": relay.url}}],
        "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "relay"}}],
        "users": [{"name": "relay", "user": {}}],
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "relay", **parts}))
    return path
