"""A backend that says what a test wants it to say, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from durablejob_api.backend import Guarantee, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendType
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Backend,
    Deferred,
    Identity,
    Leftover,
    Offer,
    Probe,
    Rejected,
    Run,
    Sighting,
    Snapshot,
    Submission,
    Traits,
)
from durablejob_controller.backends.surroundings import Surroundings

READY = Probe(True, "Ready", "all is well", Guarantee.EXACT, version="1", incarnation="life-1")


class ScriptedBackend:
    """Its attributes are its answers; an exception among them is raised."""

    def __init__(self) -> None:
        self.traits = Traits(Identity.RESERVED_ID, gated=False)
        self.cluster_id = "scripted"
        self.runs: dict[str, tuple[Run, ...]] = {}
        self.incarnation = "life-1"
        self.closed = False
        self.seen: str | None = None
        self.held = False
        self.staging: str | None = None
        """Part of what reserve offers."""
        self.put_fault: Exception | None = None
        """Raised by kill, close and release."""
        self.fault: Exception | None = None
        """Raised by observe and look_up."""
        self.exact_fault: Exception | None = None
        """Raised by look_up only."""
        self.takes = 0.0
        """Seconds until look_up answers."""
        self.ended_unlisted = False
        """observe leaves out what has ended."""
        self.found: Probe | Exception = READY
        self.probing: asyncio.Event | None = None
        """probe waits for it, then answers."""
        self.refusal: Deferred | Rejected | Exception | None = None
        """What reserve answers, or raises, if it makes no offer."""
        self.answer: Answer | Exception = Accepted()
        self.invalid: Exception | None = None
        """Raised by validate."""
        self.hash = "hash"
        self.left: tuple[Leftover, ...] = ()
        self.stuck: dict[str, Exception] = {}
        """By id of a leftover: what discard raises."""
        self.gate: asyncio.Event | None = None
        """observe waits for it, then answers."""
        self.observed = 0
        self.submitted: list[Submission] = []
        self.done: list[str] = []
        self.ended = False
        self.surroundings: Surroundings | None = None
        self.on_submit: Callable[[Submission], None] = lambda _: None
        self.on_kill: Callable[[str], None] = lambda _: None
        self._serial = itertools.count(1)

    def validate(self, job: DurableJob) -> None:
        if self.invalid is not None:
            raise self.invalid

    def body_hash(self, job: DurableJob, key: str) -> str:
        return self.hash

    async def probe(self) -> Probe:
        self.done.append("probe")
        if self.probing is not None:
            await self.probing.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def reserve(self, job: DurableJob, key: str) -> Offer | Deferred | Rejected:
        self.done.append("reserve")
        if isinstance(self.refusal, Exception):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        return Offer(application_id=f"app-{next(self._serial)}", incarnation=self.incarnation, staging=self.staging)

    async def submit(self, submission: Submission) -> Answer:
        self.submitted.append(submission)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.on_submit(submission)
        return self.answer

    async def observe(self) -> Snapshot:
        self.observed += 1
        said = Snapshot(self.incarnation, dict(self.runs))
        if self.ended_unlisted:
            listed = {key: tuple(run for run in runs if run.active) for key, runs in self.runs.items()}
            said = Snapshot(self.incarnation, listed)
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return said

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        self.done.append("look_up")
        await asyncio.sleep(self.takes)
        fault = self.fault or self.exact_fault
        if fault is not None:
            raise fault
        runs = self.runs.get(key, ())
        return Sighting(runs, self.incarnation, closed=self.closed, seen=self.seen, held=self.held, remembers=True)

    async def kill(self, run: str) -> None:
        self.done.append(f"kill {run}")
        if self.put_fault is not None:
            raise self.put_fault
        self.on_kill(run)

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        self.done.append("close")
        if self.put_fault is not None:
            raise self.put_fault
        self.closed, self.seen = True, self.seen or seen

    async def release(self, job: DurableJob, current: Current) -> None:
        self.done.append("release")
        if self.put_fault is not None:
            raise self.put_fault
        self.held = False

    async def leftovers(self) -> tuple[Leftover, ...]:
        if self.fault is not None:
            raise self.fault
        return self.left

    async def discard(self, leftover: Leftover) -> None:
        if leftover.id in self.stuck:
            raise self.stuck[leftover.id]
        self.done.append(f"discard {leftover.id}")

    async def aclose(self) -> None:
        self.ended = True


class ScriptedPlugin:
    """Hands out one backend per ``spec.plugin.parameters.name``; those that are not prepared are made."""

    type = BackendType.PLUGIN

    def __init__(self, prepared: Mapping[str, ScriptedBackend] | None = None) -> None:
        self.backends = dict(prepared or {})
        self.made = 0
        self.error: Exception | None = None

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        if self.error is not None:
            raise self.error
        self.made += 1
        name = spec.plugin.parameters.get("name", "") if spec.plugin else ""
        backend = self.backends.setdefault(name, ScriptedBackend())
        backend.surroundings = surroundings
        return backend

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        return f"{key} {claim}".encode() if name == "claim.jar" else None
