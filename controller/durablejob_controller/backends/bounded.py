"""Keeps a backend's faults to itself: whatever its verbs do, the engine sees an answer or ``BackendUnavailable``.

The engine wraps every backend in this. A verb that hangs would hold up every job of every backend, as there
are only so many workers; one that raises what it should not would end a poller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from durablejob_api.job import DurableJob
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Answer,
    Backend,
    Deferred,
    Leftover,
    Offer,
    Probe,
    Rejected,
    Sighting,
    Snapshot,
    Submission,
    Traits,
    Unclear,
)
from durablejob_controller.errors import BackendError, BackendUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Bounded:
    """``inner``, each of whose verbs ends within ``patience`` seconds, and raises errors of ours only."""

    def __init__(self, inner: Backend, patience: float) -> None:
        self._inner = inner
        self._patience = patience

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    @property
    def cluster_id(self) -> str:
        return self._inner.cluster_id

    def validate(self, job: DurableJob) -> None:
        self._inner.validate(job)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return self._inner.body_hash(job, key)

    async def probe(self) -> Probe:
        return await self._bound(self._inner.probe())

    async def reserve(self, job: DurableJob, key: str) -> Offer | Deferred | Rejected:
        return await self._bound(self._inner.reserve(job, key))

    async def submit(self, submission: Submission) -> Answer:
        try:
            return await self._bound(self._inner.submit(submission))
        except BackendFault as error:
            return Unclear(str(error))  # it may have been sent

    async def observe(self) -> Snapshot:
        return await self._bound(self._inner.observe())

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        return await self._bound(self._inner.look_up(key, current))

    async def kill(self, run: str) -> None:
        await self._bound(self._inner.kill(run))

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        await self._bound(self._inner.close(job, current, seen=seen))

    async def release(self, job: DurableJob, current: Current) -> None:
        await self._bound(self._inner.release(job, current))

    async def leftovers(self) -> tuple[Leftover, ...]:
        return await self._bound(self._inner.leftovers())

    async def discard(self, leftover: Leftover) -> None:
        await self._bound(self._inner.discard(leftover))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _bound(self, verb: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                return await verb
        except BackendError:
            raise
        except TimeoutError:
            raise BackendFault(f"no answer within {self._patience:g} s") from None
        except Exception as error:  # a fault of the backend's code must not end who has asked
            log.exception("a backend raised what it should not")
            raise BackendFault(f"unexpected {type(error).__name__}, see the controller's log") from error


class BackendFault(BackendUnavailable):
    """The backend's own code failed, or did not come back."""
