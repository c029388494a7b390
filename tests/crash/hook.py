"""In the controller's process: tells each outbound call, and crashes (or stops) at the one that was chosen.

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
from collections.abc import Awaitable, Callable
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
_GENERATED = re.compile(r"(?:^|(?<=/))(?:driver-[\w-]+|durablejob-probe)$")


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


@dataclass(frozen=True)
class Plan:
    """Where to crash: at the ``nth`` call of this name."""

    call: str
    moment: Moment
    how: How
    nth: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Send = Callable[[httpx.AsyncHTTPTransport, httpx.Request], Awaitable[httpx.Response]]


class Hook:
    """Counts calls by name, and strikes once."""

    def __init__(self, plan: Plan | None, trace: Path, fired: Path) -> None:
        self._plan = plan
        self._trace = trace.open("a", buffering=1)
        self._fired = fired
        self._count = 0
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
        self._trace.write(name + "\n")
        plan = self._plan
        if plan is None or name != plan.call:
            return await send(transport, request)
        self._count += 1
        if self._count != plan.nth:
            return await send(transport, request)
        if plan.moment is Moment.BEFORE:
            self._strike(httpx.ConnectError("the crash suite refuses the connection"))
        response = await send(transport, request)
        await response.aread()
        if plan.moment is Moment.ACCEPTED:
            self._strike(httpx.ReadError("the crash suite resets the connection"))
        if plan.how is How.STOP:
            return response
        self._tell()
        self._dying = True
        asyncio.get_running_loop().call_later(ANSWERED_FOR, _die)
        return response

    def _strike(self, error: httpx.TransportError) -> None:
        self._tell()
        match self._plan:
            case Plan(how=How.KILL):
                _die()
            case Plan(how=How.STOP):
                os.kill(os.getpid(), signal.SIGSTOP)
            case _:
                raise error

    def _tell(self) -> None:
        draft = self._fired.with_suffix(".draft")
        draft.write_text(json.dumps({"at": time.time()}))
        draft.replace(self._fired)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def name_of(request: httpx.Request) -> str:
    """What the call is, without the names of this run: the same in every run of the same story."""
    path = request.url.path
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
