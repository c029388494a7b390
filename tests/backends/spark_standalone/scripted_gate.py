"""A stand-in for the controller's gate: the same wire protocol, a scripted beginning, and a ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from durablejob_api.names import attempt_key
from durablejob_controller.backends.spark_standalone.stub import jar

VERDICT = "Durablejob-Verdict"


class Paths:
    """Tokens without an HMAC: ``<key>/<claim number>``."""

    def path(self, namespace: str, name: str, uid: str, attempt: int, claim: int) -> str:
        return f"{attempt_key(uid, attempt)}/{claim}"


@dataclass(frozen=True)
class Entry:
    """One call of a driver, and what it was told."""

    verb: str
    key: str
    claim: int
    body: dict[str, Any]
    verdict: str | None

    @property
    def nonce(self) -> str:
        return str(self.body["nonce"])

    @property
    def driver(self) -> str:
        return str(self.body["driver"])


@dataclass(frozen=True)
class Scripted:
    """An answer given before the gate decides anything itself."""

    status: int
    verdict: str | None = None
    text: str = ""


class ScriptedGate:
    """Grants each claim to the first nonce that asks."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.winners: dict[tuple[str, int], str] = {}
        self.script: list[Scripted] = []
        self.watch: Callable[[], None] = lambda: None
        """Called as each call arrives."""
        self.url = ""
        self._lock = threading.Lock()

    def calls(self, verb: str, key: str, verdict: str | None = None) -> list[Entry]:
        """What the ledger holds of one attempt."""
        found = [entry for entry in self.entries if entry.verb == verb and entry.key == key]
        return [entry for entry in found if verdict is None or entry.verdict == verdict]

    def answer(self, verb: str, key: str, claim: int, body: dict[str, Any]) -> Scripted:
        with self._lock:
            self.watch()
            if self.script:
                answer = self.script.pop(0)
            elif verb == "ended":
                answer = Scripted(200, "noted")
            elif self.winners.setdefault((key, claim), body["nonce"]) == body["nonce"]:
                answer = Scripted(200, "granted")
            else:
                answer = Scripted(409, "denied", "another driver has won this claim")
            self.entries.append(Entry(verb, key, claim, body, answer.verdict))
            return answer


class _Handler(BaseHTTPRequestHandler):
    gate: ScriptedGate

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        _, key, claim, _file = self.path.split("/")
        self._send(Scripted(200), jar(key, int(claim)))

    def do_POST(self) -> None:
        _, key, claim, verb = self.path.split("/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.gate.answer(verb, key, int(claim), body)
        self._send(answer, answer.text.encode())

    def _send(self, answer: Scripted, body: bytes) -> None:
        self.send_response(answer.status)
        if answer.verdict:
            self.send_header(VERDICT, answer.verdict)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(script: Sequence[Scripted] = ()) -> Iterator[ScriptedGate]:
    """A gate on a free port of 127.0.0.1."""
    gate = ScriptedGate()
    gate.script = list(script)
    handler = type("Handler", (_Handler,), {"gate": gate})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    gate.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
