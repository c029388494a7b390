"""One backend resource, and everything in this process that follows from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from durablejob_api.backend import JobBackend
from durablejob_controller import reasons
from durablejob_controller.backend_report import is_confirmed, rolled_back_from
from durablejob_controller.backends.contract import Backend, Probe
from durablejob_controller.jobs import Address
from durablejob_controller.kube import Object, is_newer
from durablejob_controller.poller import Poller
from durablejob_controller.reasons import Why


@dataclass
class BackendEntry:
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
    mark: str | None = None
    """The storage has gone back from this resourceVersion, and its status does not say so yet."""
    told_held: bool = False
    """Its jobs know that it is held."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """A probe is wanted now."""

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])

    @property
    def held(self) -> Why | None:
        """Why nothing may begin there until an administrator agrees; None: nothing is in the way."""
        mark = self.mark or rolled_back_from(self.raw)
        if mark is None or is_confirmed(self.raw, mark):
            return None
        return reasons.storage_rolled_back(self.address[2], mark)

    @property
    def recorded(self) -> bool:
        """A restore that was noticed stands in its status."""
        return self.mark in (None, rolled_back_from(self.raw))

    def take(self, raw: Object) -> None:
        """Another version of the same resource; an older one is ignored."""
        if is_newer(raw, self.raw):
            if rolled_back_from(raw) != rolled_back_from(self.raw):
                self.mark = None  # it is recorded, by this replica or by another
            self.raw = raw

    def go_back(self, mark: str) -> None:
        """The storage has gone back: every version is newer than the one that was read before."""
        self.mark = mark
        self.raw = {**self.raw, "metadata": {**self.raw["metadata"], "resourceVersion": "1"}}

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.backend is not None:
            await self.backend.aclose()
