"""An in-memory backend, for trying out DAGs without a cluster, for benchmarks, and for tests.

Jobs ask for ``spec.plugin.parameters``: ``seconds`` (how long the program runs, default 1), ``outcome``
(``succeed``, ``fail``; default succeed), ``exitCode`` and ``message``. The backend's own
``spec.plugin.parameters``: ``queueSeconds`` (how long a run waits before its program starts, default 0)
and ``fault``, one of

* ``none``
* ``unclear``: every submission arrives, and every answer to it is lost;
* ``dropped``: every other submission is lost before it arrives, and so is its answer;
* ``reject``: every submission is refused;
* ``unavailable``: nothing answers.

It remembers everything as long as its process lives, and nothing longer: jobs that were under way when
the controller ended are ``Lost``, which is the truth, as the runs lived in the controller.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from durablejob_api.backend import Guarantee, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendType
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Backend,
    Identity,
    Leftover,
    Offer,
    Phase,
    Probe,
    Rejected,
    Run,
    Sighting,
    Snapshot,
    Submission,
    Traits,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import BackendUnavailable, InvalidBackend, InvalidWork

FAULTS = ("none", "unclear", "dropped", "reject", "unavailable")
_JOB_PARAMETERS = frozenset({"seconds", "outcome", "exitCode", "message"})


@dataclass
class _Application:
    id: str
    key: str
    due: float
    starts: float
    run_ends: Run
    killed: bool = False


@dataclass
class World:
    """What a fake cluster remembers, with a ledger of every program it started: (key, application id)."""

    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    applications: dict[str, _Application] = field(default_factory=dict)
    by_key: dict[str, list[str]] = field(default_factory=dict)
    closed: dict[str, str | None] = field(default_factory=dict)
    """Attempts that can no longer begin: key -> start of the run that was seen by then."""
    ledger: list[tuple[str, str]] = field(default_factory=list)
    serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


_WORLDS: dict[str, World] = {}
"""Clusters by id: two backends with one clusterID are the same cluster, as with a real one."""


def world(cluster_id: str) -> World:
    """The cluster of this name; made when it is first asked for."""
    return _WORLDS.setdefault(cluster_id, World())


class FakeBackend:
    """Identity.RESERVED_ID without a gate: ``close`` is its fence."""

    traits = Traits(identity=Identity.RESERVED_ID, gated=False)

    def __init__(self, cluster_id: str, fault: str, queue_seconds: float) -> None:
        self.cluster_id = cluster_id
        self._world = world(cluster_id)
        self._fault = fault
        self._queue_seconds = queue_seconds
        self._submissions = 0

    def validate(self, job: DurableJob) -> None:
        if job.spec.plugin is None:
            raise InvalidWork("WrongWork", "plugin", "backend fake runs spec.plugin only")
        given = job.spec.plugin.parameters
        unknown = sorted(set(given) - _JOB_PARAMETERS)
        if unknown:
            known = ", ".join(sorted(_JOB_PARAMETERS))
            raise InvalidWork("InvalidSpec", f"plugin.parameters.{unknown[0]}", f"unknown; there is {known}")
        if given.get("outcome", "succeed") not in ("succeed", "fail"):
            raise InvalidWork("InvalidSpec", "plugin.parameters.outcome", "must be succeed or fail")
        _number(given, "seconds", 1.0)
        _number(given, "exitCode", 0)

    def body_hash(self, job: DurableJob, key: str) -> str:
        parameters = job.spec.plugin.parameters if job.spec.plugin else {}
        return hashlib.sha256(json.dumps([key, dict(parameters)], sort_keys=True).encode()).hexdigest()[:32]

    async def probe(self) -> Probe:
        self._answer()
        return Probe(
            ready=True,
            reason="Ready",
            message="An in-memory cluster for trials: its jobs end with the controller.",
            guarantee=Guarantee.EXACT,
            version="fake",
            incarnation=self._world.incarnation,
        )

    async def reserve(self, job: DurableJob, key: str) -> Offer:
        self._answer()
        return Offer(application_id=f"fake-{next(self._world.serial):06d}", incarnation=self._world.incarnation)

    async def submit(self, submission: Submission) -> Answer:
        self._answer()
        self._submissions += 1
        if self._fault == "reject":
            return Rejected("Rejected", "this fake backend refuses every submission (spec.plugin.parameters.fault)")
        if self._fault == "dropped" and self._submissions % 2:
            return Unclear("this fake backend has lost the submission")
        reservation = submission.reservation
        application = reservation.application_id or ""
        key = submission.current.key
        if application not in self._world.applications and key not in self._world.closed:
            self._start(application, key, submission.job)
        return Unclear("this fake backend has lost its answer") if self._fault == "unclear" else Accepted(application)

    def _start(self, application: str, key: str, job: DurableJob) -> None:
        given = job.spec.plugin.parameters if job.spec.plugin else {}
        failed = given.get("outcome") == "fail"
        now = time.monotonic()
        starts = now + self._queue_seconds
        code = int(_number(given, "exitCode", 1 if failed else 0))
        ending = Run(
            id=application,
            phase=Phase.ENDED,
            started_time=self._world.incarnation,
            verdict=Verdict.FAILED if failed else Verdict.SUCCEEDED,
            exit_code=code,
            message=given.get("message") or (f"exit code {code}" if failed else None),
        )
        record = _Application(application, key, starts + _number(given, "seconds", 1.0), starts, ending)
        self._world.applications[application] = record
        self._world.by_key.setdefault(key, []).append(application)
        self._world.ledger.append((key, application))

    async def observe(self) -> Snapshot:
        self._answer()
        now = time.monotonic()
        runs = {key: self._runs(ids, now) for key, ids in self._world.by_key.items()}
        return Snapshot(incarnation=self._world.incarnation, runs=runs)

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        self._answer()
        runs = self._runs(self._world.by_key.get(key, []), time.monotonic())
        life = self._world.incarnation
        reserved = current.reservation if current else None
        same = reserved is not None and reserved.incarnation == life
        closed = self._world.closed
        return Sighting(runs, life, closed=key in closed, seen=closed.get(key), remembers=same)

    def _runs(self, ids: list[str], now: float) -> tuple[Run, ...]:
        return tuple(self._run(self._world.applications[name], now) for name in ids)

    def _run(self, application: _Application, now: float) -> Run:
        life = self._world.incarnation
        if application.killed:
            return Run(application.id, Phase.ENDED, started_time=life, verdict=Verdict.KILLED, exit_code=137)
        if now >= application.due:
            return application.run_ends
        phase = Phase.RUNNING if now >= application.starts else Phase.QUEUED
        return Run(application.id, phase, started_time=life)

    async def kill(self, run: str) -> None:
        self._answer()
        application = self._world.applications.get(run)
        if application is not None and time.monotonic() < application.due:
            application.killed = True

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        self._answer()
        self._world.closed[current.key] = self._world.closed.get(current.key) or seen

    async def release(self, job: DurableJob, current: Current) -> None:
        """Nothing is held."""

    async def leftovers(self) -> tuple[Leftover, ...]:
        """None: its memory ends with it."""
        return ()

    async def discard(self, leftover: Leftover) -> None:
        """There is none."""

    async def aclose(self) -> None:
        """The cluster outlives its client, as a real one would."""

    def _answer(self) -> None:
        if self._fault == "unavailable":
            raise BackendUnavailable("this fake backend does not answer (spec.plugin.parameters.fault)")


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise InvalidWork("InvalidSpec", f"plugin.parameters.{name}", f"must be a number from 0, not {text!r}")
    return value


class FakePlugin:
    """The entry point ``fake``."""

    type = BackendType.PLUGIN

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        if spec.fence is not None:
            raise InvalidBackend("spec.fence: this backend has no fence to choose; leave it out")
        given = dict(spec.plugin.parameters) if spec.plugin else {}
        unknown = sorted(set(given) - {"fault", "queueSeconds"})
        if unknown:
            raise InvalidBackend(f"spec.plugin.parameters.{unknown[0]}: unknown; there is fault, queueSeconds")
        fault = given.get("fault", "none")
        if fault not in FAULTS:
            raise InvalidBackend(f"spec.plugin.parameters.fault: must be one of {', '.join(FAULTS)}, not {fault!r}")
        try:
            queue_seconds = _number(given, "queueSeconds", 0.0)
        except InvalidWork as error:
            raise InvalidBackend(f"spec.{error}") from error
        return FakeBackend(spec.cluster_id or "fake", fault, queue_seconds)

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        return None


plugin = FakePlugin()
