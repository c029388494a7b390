"""What ``decide`` sees, and what it may answer: frozen values, nothing else crosses the border.

``Site`` is the backend as one job sees it, ``Seen`` what was last observed of this job's attempt, and a
``Decision`` is exactly one step: one external action, or one status write and the action that may
follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

from durablejob_api.status import DurableJobStatus
from durablejob_controller.backends.contract import Deferred, Offer, Rejected, Run, Sighting, Traits
from durablejob_controller.reasons import Why


@dataclass(frozen=True, slots=True)
class NoSite:
    """There is no backend for this job: missing, not allowed, of another type, or the work is invalid."""

    why: Why
    final: bool
    """Waiting would not help: an attempt that was never started fails with this reason."""
    missing: float | None = None
    """Seconds for which no such backend has been seen; None: there is one, and it cannot be used for now."""


@dataclass(frozen=True, slots=True)
class Site:
    """The backend that a job names, as far as it concerns this job."""

    uid: str
    type: str
    cluster_id: str
    traits: Traits
    body_hash: str
    """Hash of what would be submitted today; compared with the reservation's. Empty where there is none: ``unfit``."""
    unfit: NoSite | None = None
    """Why what has begun would not be taken today, or could not be judged: it is looked after all the same."""
    probed: bool = True
    """It was looked at; until then nothing can be said of it, and whoever looks wakes its jobs."""
    blocked: Why | None = None
    """Why nothing can be submitted for now (backend not ready); the job waits."""
    held: Why | None = None
    """Why nothing may begin there until a person agrees: the API server's storage has gone back (rule 4)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of this attempt in the external system."""

    sighting: Sighting | None = None
    """The last complete answer; None: there is none."""
    fresh: bool = False
    """It was asked for after this process had read the job's present version."""
    confirmed: bool = False
    """It was asked for by the attempt's exact ids (not only a batch), and freshly."""
    lasting: float = 0.0
    """Seconds for which this sighting has been the same."""
    offer: Offer | None = None
    """What ``reserve`` has just set aside."""
    rejected: Rejected | None = None
    """The definite refusal that ``submit`` has just received."""
    deferred: Deferred | None = None
    """Why ``reserve`` was turned away for the time being."""
    hold: float = 0.0
    """Seconds to wait before reserving or submitting again (the engine's backoff)."""
    doubt: str | None = None
    """What the last submission was answered, if that left it open whether it was accepted; or why the last attempt to
    reserve something has failed."""
    tries: int = 0
    """Submissions that this process has sent for this attempt."""
    trying: float = 0.0
    """Seconds since the first of them of which no run was seen."""
    progress_due: bool = False
    """The progress of its runs is worth a write: it is another than the status says, and that has said so for long."""
    trouble: str | None = None
    """Why the external system has given no usable answer for a while; None: it answers."""

    @property
    def runs(self) -> tuple[Run, ...]:
        return self.sighting.runs if self.sighting else ()


# --- decisions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes, or ``seconds`` have passed."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """Add our finalizer, in the very version that was read."""


@dataclass(frozen=True, slots=True)
class Unguard:
    """Remove our finalizer: nothing is left outside."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the resource: its time to live is over."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the external system now; ``exactly``: by the attempt's ids, so that absence counts."""

    exactly: bool = False


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set something aside, without effect."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Activate what is recorded."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Ask for the end of this run."""

    run: str


@dataclass(frozen=True, slots=True)
class Close:
    """See to it that no run can begin."""

    seen: str | None = None
    """Start of a run that has ended, which is to be known from then on, and which is recorded nowhere."""


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of the ended thing that is held outside."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write this status by compare-and-swap; if that succeeds, do ``then``."""

    status: DurableJobStatus
    then: Submit | Kill | None = None


Decision = Wait | Guard | Unguard | Delete | LookUp | Reserve | Submit | Kill | Close | Release | Record
