"""Servers before a Master or a ResourceManager: one repeats or announces submissions, one refuses credentials."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, NamedTuple

import httpx


class Sent(NamedTuple):
    """A submission that passed."""

    path: str
    body: bytes


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on; every POST of a submission arrives ``copies`` times, the last answer is passed back."""

    upstream: ClassVar[str]
    copies: ClassVar[int]
    on_create: ClassVar[Callable[[], None]]
    seen: ClassVar[list[Sent]]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: the Master keeps the ledger."""

    def _pass(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        creates = self.command == "POST" and self.path.partition("?")[0].endswith(("/create", "/apps"))
        times = self.copies if creates else 1
        if creates:
            self.seen.append(Sent(self.path, body or b""))
            type(self).on_create()
        answer = None
        for _ in range(times):
            answer = httpx.request(
                self.command, self.upstream + self.path, content=body, timeout=30,
                headers={"Content-Type": self.headers.get("Content-Type", "application/json")},
            )  # fmt: skip
        assert answer is not None
        with contextlib.suppress(OSError):  # who asked may be dead by now
            self._answer(answer)

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _pass  # noqa: N815 - the names that http.server calls


class _Refuser(BaseHTTPRequestHandler):
    """Answers 401 to everything, as a Master behind an authenticating proxy does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _refuse  # noqa: N815 - the names that http.server calls


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def between(
    upstream: str, copies: int = 1, on_create: Callable[[], None] = lambda: None, seen: list[Sent] | None = None
) -> Iterator[str]:
    """A proxy that sends every submission on ``copies`` times, and notes it and calls ``on_create`` just before."""
    settings = {
        "upstream": upstream, "copies": copies, "on_create": staticmethod(on_create),
        "seen": seen if seen is not None else [],
    }  # fmt: skip
    with _serving(type("Between", (_Proxy,), settings)) as url:
        yield url


@contextmanager
def refusing() -> Iterator[str]:
    """A server that refuses every credential."""
    with _serving(_Refuser) as url:
        yield url
