"""How the drivers of the stand-ins ask the gate: as ``Gate.java`` does."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass, field

import httpx

from durablejob_controller.gate import VERDICT

ASKS_EVERY = 0.1
REPORTS_FOR = 3.0
"""Seconds in which a driver tries to report its end (the real one: 10)."""


@dataclass
class Claim:
    """One JVM's: it asks for leave with a nonce of its own, and reports its end last."""

    http: httpx.AsyncClient
    url: str
    driver: str
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def may_start(self) -> bool:
        """Ask again and again until there is a verdict."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                body = {"nonce": self.nonce, "driver": self.driver}
                answer = await self.http.post(f"{self.url}/start", json=body)
                verdict = answer.headers.get(VERDICT)
                if verdict in ("granted", "denied"):
                    return bool(verdict == "granted")
            await asyncio.sleep(ASKS_EVERY)

    async def report(self, how: str) -> None:
        """Tell how the program ended, if anybody listens."""
        deadline = asyncio.get_running_loop().time() + REPORTS_FOR
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                body = {"nonce": self.nonce, "driver": self.driver, "how": how}
                answer = await self.http.post(f"{self.url}/ended", json=body)
                if answer.headers.get(VERDICT):
                    return
            await asyncio.sleep(ASKS_EVERY)


def client() -> httpx.AsyncClient:
    """The driver's own."""
    return httpx.AsyncClient(timeout=20, trust_env=False, verify=False)
