"""One backend resource, and everything in this process that follows from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from durablejob_api.backend import JobBackend
from durablejob_controller.backends.contract import Backend, Probe
from durablejob_controller.jobs import Address
from durablejob_controller.kube import Object, is_newer
from durablejob_controller.poller import Poller
from durablejob_controller.reasons import Why


@dataclass
class Entry:
    """What ``Sites`` knows of one backend."""

    address: Address
    raw: Object
    resource: JobBackend | None = None
    backend: Backend | None = None
    poller: Poller | None = None
    probe: Probe | None = None
    token: str | None = field(default=None, repr=False)
    problem: Why | None = None
    """Why there is no client for it."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """A probe is wanted now."""

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    def take(self, raw: Object) -> None:
        """Another version of the same resource; an older one is ignored."""
        if is_newer(raw, self.raw):
            self.raw = raw

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.backend is not None:
            await self.backend.aclose()
