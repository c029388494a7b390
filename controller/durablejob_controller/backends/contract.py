"""The contract between the engine and an external system, and its law.

A backend is a few verbs (``Backend``). The engine calls them; none of them decides anything, and none of them sees a
DurableJob's status but as its arguments: that is the engine's to read and to write. What keeps a program from starting
twice is split as follows:

* the backend promises the **law** below about each verb;
* the engine promises the **order**: reserve -> compare-and-swap -> submit -> observe the winner ->
  close -> terminal compare-and-swap (``decide.py``).

The law (``tests/backends/test_law.py`` runs it against every registered backend)
---------------------------------------------------------------------------------
reserve
    Sets something aside that has **no effect**. May be repeated, and forgotten, any number of times. Answers
    ``Rejected`` only when the system refused for certain to hold it, ``Deferred`` when it will not hold it at present:
    then nothing of it is held. What it holds already is offered again, whether it would hold more or not.
submit
    Activates **exactly** what was reserved. May be repeated, delayed, or arrive twice, also after the
    attempt has ended, without starting the user's program a second time. Answers ``Rejected`` only
    when the external system refused for certain; every doubt (timeout, reset, 5xx, an answer that is
    not what it should be) is ``Unclear``.
observe
    One batch for all jobs of the cluster: what the system knows, and in which incarnation. A complete
    answer or ``BackendUnavailable``; never half of one. Where ids are reserved it may leave out what had ended
    before this process saw it: an absence from a batch proves nothing.
look_up
    The same for one attempt, asked by its exact ids. Only this makes an absence count, and where ids are reserved only
    if ``Sighting.remembers`` says so. What lies under the reserved id counts as ours only if it carries our marks;
    without a reservation nothing else is shown.
kill
    Asks for the end of one run, named by its id. Idempotent; ending is seen by observing.
close
    After it has returned, no run of this reservation can begin any more. Idempotent. With ``seen``, ``look_up``
    tells from the same moment on which run that was (``Sighting.seen``), whoever asks, and whatever the system forgets.
leftovers, discard
    What lies in the system under our names, whoever's it is; and letting go of one thing that has ended and whose
    DurableJob is no more.
probe
    What the system is, and which guarantee its configuration allows, before the first job.

All verbs are coroutines and raise nothing but the errors of ``durablejob_controller.errors``; one that takes many
times the request timeout is cancelled (``bounded.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Protocol

from durablejob_api.backend import Guarantee, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendType
from durablejob_api.status import Current, Progress, Reservation
from durablejob_controller.backends.surroundings import Surroundings


class Identity(Enum):
    """What is reserved, and hence what identifies the one run that counts."""

    OBJECT = "an inert object, activated by its uid"
    RESERVED_ID = "an id, submitted under it"
    CLAIM = "nothing: the system mints the id; the start gate's claim names the winner"


@dataclass(frozen=True, slots=True)
class Traits:
    """What the engine must know about a kind of system; nothing else in the engine differs by backend."""

    identity: Identity
    gated: bool
    """The program asks the start gate for leave before it runs."""
    takes_secrets: bool = True
    """A submission holds the values of the job's Secrets; else the system looks them up by their names."""


class Phase(StrEnum):
    """Where a run stands, as the external system says."""

    INERT = "inert"
    """Reserved, visible, not activated."""
    QUEUED = "queued"
    """Accepted; its program has not begun."""
    RUNNING = "running"
    """Its driver is up (behind a gate: perhaps waiting for leave)."""
    ENDED = "ended"
    """Over; ``verdict`` says how."""


class Verdict(StrEnum):
    """How the external system says that a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    DELETED = "deleted"
    """Removed from outside before it had ended."""
    REFUSED = "refused"
    """A copy that the fence turned away; says nothing of the run that counts."""
    UNKNOWN = "unknown"
    """The system lost sight of it (a dead worker): it may live on."""


@dataclass(frozen=True, slots=True)
class Run:
    """One thing that the external system knows under an attempt's key."""

    id: str
    """The external id: driver id, application id, object uid."""
    phase: Phase
    claim: int | None = None
    """Number of the claim that it was submitted under, where claims are used."""
    started_time: str | None = None
    """Distinguishes runs under one id, where ids can be used again. None also while the system may still lose what it
    has accepted: what is gone then has never begun."""
    verdict: Verdict | None = None
    reason: str | None = None
    """One CamelCase word, where the system gives more than the verdict: OOMKilled, NoSuchQueue."""
    message: str | None = None
    exit_code: int | None = None
    tracking_url: str | None = None
    progress: Progress | None = None
    expires: datetime | None = None
    """When it is given up, if its program has not begun by then; only while it is queued."""
    held: bool = False
    """Something of ours (a finalizer) keeps the ended thing; ``release`` lets it go."""
    external_id: str | None = None
    """What people call it, where that is not ``id`` (an object's kind and name)."""
    namespace: str | None = None
    """Where it lies, if the system has namespaces: what lies in another one than the job is not the job's."""
    foreign: bool = False
    """It has the reserved id, and is not ours (another's, another attempt's): it is neither believed nor killed, and
    who asks by exact ids is told of it, as the id is then of no use."""
    condemned: str | None = None
    """Somebody else has ended it, and yet it may run on or begin again: the reason (Preempted: suspended after it had
    begun; DeletedExternally: deleted, but not what runs in it). The engine notes the reason, and kills it."""

    @property
    def active(self) -> bool:
        return self.phase is not Phase.ENDED


INCARNATION_LENGTH = 128
"""What a reservation keeps of an incarnation."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The answer of one look at one attempt."""

    runs: tuple[Run, ...]
    incarnation: str
    """Which life of the external system answered (Master's start, ResourceManager's startedOn), in at most
    ``INCARNATION_LENGTH`` characters."""
    closed: bool = False
    """The attempt's fence is seen closed: no run can begin. It is read *before* the runs: then a run that began
    just before the fence was closed is among them."""
    remembers: bool = False
    """Who answered would know whatever was accepted under this reservation: it is the same life, or a later one of a
    system that keeps what it has accepted, and kept it then. Only then is what is absent known never to have been
    accepted. It is told by the very answer, where ids are reserved; what a probe found may be older."""
    ended_cleanly: bool = False
    """The fence went with a run that ended cleanly (gone, and not by ``close``): whatever the system still
    knows, the program has run."""
    seen: str | None = None
    """Start of the run that who closed the fence had seen: as good as recorded, whatever the system knows of it now."""
    held: bool = False
    """Beside the runs something of the attempt is kept outside (files); ``release`` removes it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answer of one batch: every attempt that the system knows, by key."""

    incarnation: str
    runs: Mapping[str, tuple[Run, ...]]
    """Attempt key -> its runs."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in the external system that says to be of a DurableJob, which may be no more."""

    id: str
    external_id: str
    """What people call it: kind and name."""
    namespace: str
    """Where it lies, and its DurableJob lay."""
    job: str
    """Name of the DurableJob."""
    job_uid: str
    runs: bool
    """A program may run in it: it is not to be discarded."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What ``reserve`` set aside; becomes part of the recorded reservation."""

    application_id: str | None = None
    object_uid: str | None = None
    incarnation: str = ""
    """The life that has set it aside; says also whether that life keeps what it accepts, where others do not."""
    body_hash: str = ""
    """Hash of what was already put together for it; empty: nothing was. One of a backend that has been edited since is
    not recorded, but made again."""
    staging: str | None = None
    """What was put into a staging area for it, and where: it is found also after the backend's settings were edited."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything needed to submit one attempt; built from the object that the compare-and-swap returned."""

    job: DurableJob
    current: Current
    secrets: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """Values of the job's secretKeyRefs, by (name, key)."""

    @property
    def reservation(self) -> Reservation:
        reservation = self.current.reservation
        if reservation is None:
            raise ValueError("a submission needs a recorded reservation")
        return reservation


@dataclass(frozen=True, slots=True)
class Accepted:
    """The system took it. ``run`` is a hint: behind a repeating proxy the answer may name a loser."""

    run: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The system refused for certain: nothing was started, nothing will be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The system will not hold it now, and may later (a quota is used up): it is tried again."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody knows whether it arrived; look it up."""

    message: str


Answer = Accepted | Rejected | Unclear


@dataclass(frozen=True, slots=True)
class Probe:
    """What probing found."""

    ready: bool
    reason: str
    """Reason of the Ready condition."""
    message: str
    guarantee: Guarantee
    version: str = ""
    incarnation: str = ""


class Backend(Protocol):
    """One external system, as configured by one backend resource."""

    @property
    def traits(self) -> Traits: ...

    @property
    def cluster_id(self) -> str:
        """What stays the same over restarts of the cluster (protocol rule 11)."""
        ...

    def validate(self, job: DurableJob) -> None:
        """Raise ``InvalidWork`` when this work can never run here: wrong kind, forbidden setting, scheme."""
        ...

    def body_hash(self, job: DurableJob, key: str) -> str:
        """Hash of what would be submitted; a body with another hash is never sent under a reservation."""
        ...

    async def probe(self) -> Probe: ...

    async def reserve(self, job: DurableJob, key: str) -> Offer | Deferred | Rejected: ...

    async def submit(self, submission: Submission) -> Answer: ...

    async def observe(self) -> Snapshot: ...

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        """All runs under ``key``, and the recorded one by its id; raises ``BackendUnavailable``."""
        ...

    async def kill(self, run: str) -> None: ...

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        """See the law; ``seen``: start of a run that was seen to have ended, and which the resource does not record."""
        ...

    async def release(self, job: DurableJob, current: Current) -> None:
        """Let go of what ``held`` says is kept (of the run, or of the sighting), after the outcome is recorded."""
        ...

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Everything that stays until somebody of ours lets it go; raises ``BackendUnavailable``."""
        ...

    async def discard(self, leftover: Leftover) -> None:
        """Let go of it. Idempotent; what runs by now is left alone."""
        ...

    async def aclose(self) -> None:
        """Give back connections; the external jobs go on."""
        ...


class Plugin(Protocol):
    """What an entry point of the group ``durablejob.backends`` names."""

    type: BackendType

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        """A backend for ``spec``; raises ``InvalidBackend`` naming the field when it cannot be."""
        ...

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """A file that drivers fetch from the gate for this claim (a JAR with the claim's class); None: no such file."""
        ...
