"""In the controller's process: tells each outbound call, and crashes (or stops) at those that were chosen.

All calls of the controller (to the API server, and to external systems) are made with httpx and pass
``AsyncHTTPTransport.handle_async_request``: that is the one place. (kopf's watch only reads.)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

ANSWERED_FOR = 0.05
"""Seconds that a process lives on after the answer, at most: it dies before its next call leaves."""
RESOURCES = re.compile(
    r"^/apis?/(?:[\w.]+/)?v\w+/(?:namespaces/[^/]+/)?(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?$"
)
ANY = "any"
_GENERATED = re.compile(r"(?:^|(?<=/))(?:driver-[\w-]+|application_[\d_]+|durablejob-probe)(?=/|$)")
_FILES = re.compile(r"^/(?P<what>webhdfs/v1|data)/")


class Moment(StrEnum):
    """When, seen from the call."""

    BEFORE = "before it is sent"
    ACCEPTED = "accepted, the answer lost"
    ANSWERED = "answered, not acted on"


class How(StrEnum):
    """What happens."""

    KILL = "SIGKILL"
    RESET = "reset"
    STOP = "SIGSTOP"
    """The process stops there, until somebody continues it; then it goes on as if nothing had been."""


class Since(StrEnum):
    """From when on calls are counted."""

    START = "of a new process"
    JOB = "after the job came"
    CRASH = "after the crash before"


@dataclass(frozen=True)
class Crash:
    """One crash: at the ``nth`` call of this name (``ANY``: of any)."""

    call: str
    moment: Moment
    how: How
    nth: int = 1
    since: Since = Since.JOB

    def __str__(self) -> str:
        if self.since is Since.CRASH:
            where = f"then call {self.nth}"
        else:
            where = self.call + (" at the beginning" if self.since is Since.START else "")
        return f"{where}, {self.moment}, {self.how}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Crash:
        return cls(raw["call"], Moment(raw["moment"]), How(raw["how"]), raw["nth"], Since(raw["since"]))


Send = Callable[[httpx.AsyncHTTPTransport, httpx.Request], Awaitable[httpx.Response]]


class Notes:
    """The folder through which the suite and the hook know of each other, whatever dies."""

    def __init__(self, folder: Path) -> None:
        self._trace = folder / "trace"
        self._fired = folder / "fired"
        self._job = folder / "job"

    def job_comes(self) -> None:
        """What follows is no longer the beginning."""
        self._job.touch()

    @property
    def has_job(self) -> bool:
        return self._job.exists()

    def note(self, call: str) -> None:
        """A call is made."""
        with self._trace.open("a") as trace:
            trace.write(f"{'late' if self.has_job else 'early'} {call}\n")

    def calls(self) -> tuple[list[str], list[str]]:
        """The calls that were made: before the job came, and after."""
        lines = self._trace.read_text().splitlines() if self._trace.exists() else []
        split = [line.partition(" ") for line in lines]
        return [c for when, _, c in split if when == "early"], [c for when, _, c in split if when == "late"]

    def fire(self, call: str) -> None:
        """A crash happens now, at this call."""
        with self._fired.open("a") as fired:
            fired.write(json.dumps({"at": time.time(), "call": call}) + "\n")

    def fired(self) -> list[float]:
        """When (seconds of the epoch) crashes have happened."""
        lines = self._fired.read_text().splitlines() if self._fired.exists() else []
        return [json.loads(line)["at"] for line in lines]


class Hook:
    """Counts calls, and strikes where it is told."""

    def __init__(self, crashes: Sequence[Crash], notes: Notes, rival: str | None = None) -> None:
        self._crashes = list(crashes)
        self._notes = notes
        self._rival = rival
        self._count = 0
        self._striking = False
        self._dying = False

    def install(self) -> None:
        """From now on every call passes here."""
        send = httpx.AsyncHTTPTransport.handle_async_request
        hook = self

        async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            return await hook.pass_on(send, transport, request)

        setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)  # noqa: B010 -- mypy forbids assigning it

    async def pass_on(self, send: Send, transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if self._dying:
            _die()
        name = name_of(request)
        self._notes.note(name)
        if self._rival == name:
            self._rival = None
            await send(transport, touching(request))
        crash = self._due(name)
        if crash is None:
            return await send(transport, request)
        if crash.moment is Moment.BEFORE:
            self._strike(crash, name, httpx.ConnectError("the crash suite refuses the connection"))
        response = await send(transport, request)
        await response.aread()
        if crash.moment is Moment.ACCEPTED:
            self._strike(crash, name, httpx.ReadError("the crash suite resets the connection"))
        self._striking = False
        if crash.how is How.STOP:
            return response
        self._notes.fire(name)
        self._dying = True
        asyncio.get_running_loop().call_later(ANSWERED_FOR, _die)
        return response

    def _due(self, name: str) -> Crash | None:
        """The crash whose turn has come with this call; the next one is counted for from when it has struck."""
        crash = self._crashes[0] if self._crashes and not self._striking else None
        if crash is None or crash.call not in (ANY, name) or (crash.since is Since.JOB and not self._notes.has_job):
            return None
        self._count += 1
        if self._count != crash.nth:
            return None
        self._count = 0
        self._striking = True
        return self._crashes.pop(0)

    def _strike(self, crash: Crash, name: str, error: httpx.TransportError) -> None:
        self._striking = False
        self._notes.fire(name)
        match crash.how:
            case How.KILL:
                _die()
            case How.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case How.RESET:
                raise error


def touching(request: httpx.Request) -> httpx.Request:
    """Somebody else's write on the object of this one, just before it: who holds a version loses it."""
    headers = {key: request.headers[key] for key in ("host", "authorization") if key in request.headers}
    url = request.url.copy_with(path=request.url.path.removesuffix("/status"))
    body = {"metadata": {"annotations": {"example.com/touched": "yes"}}}
    content_type = {"content-type": "application/merge-patch+json"}
    return httpx.Request("PATCH", url, headers={**headers, **content_type}, content=json.dumps(body))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def name_of(request: httpx.Request) -> str:
    """What the call is, without the names of this run: the same in every run of the same story."""
    path = request.url.path
    if files := _FILES.match(path):
        operation = request.url.params.get("op", "")
        return f"{request.method} {files['what'].partition('/')[0]} {operation}".rstrip()
    found = RESOURCES.match(path)
    if found is None:
        return f"{request.method} {_GENERATED.sub('ID', path)}"
    plural, name, sub = found.group("plural", "name", "sub")
    method = "LIST" if request.method == "GET" and name is None else request.method
    what = f"{method} {plural}" + (f"/{sub}" if sub else "")
    body = _body(request)
    if what == "PUT durablejobs/status":
        return f"{what} [{_status(body.get('status') or {})}]"
    if what == "PATCH durablejobs":
        return f"{what} [finalizer {'on' if body['metadata'].get('finalizers') else 'off'}]"
    return what


def _body(request: httpx.Request) -> dict[str, Any]:
    try:
        body = json.loads(request.content)
    except (httpx.RequestNotRead, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _status(status: dict[str, Any]) -> str:
    current = status.get("current") or {}
    claim = (current.get("claim") or {}).get("state")
    return f"{status.get('state')}" + (f", claim {claim}" if claim else "")
