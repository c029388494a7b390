"""Jobs, backends and sightings for the tests of ``decide`` and ``claims``, and a decision in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durablejob_api import FINALIZER
from durablejob_api.base import ObjectMeta
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.spec import BackendRef, BackendType, Cancel, DurableJobSpec, PluginWork
from durablejob_api.status import Claim, ClaimState, Current, DurableJobStatus, Outcome, Reservation, State
from durablejob_controller.backends.contract import Identity, Phase, Run, Sighting, Traits, Verdict
from durablejob_controller.views import Close, Decision, Kill, LookUp, Record, Seen, Site, Wait

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UID = "uid-1"

CLAIM = Traits(Identity.CLAIM, gated=True)
OBJECT = Traits(Identity.OBJECT, gated=False)
GATED_ID = Traits(Identity.RESERVED_ID, gated=True)
FENCED_ID = Traits(Identity.RESERVED_ID, gated=False)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def reservation(**changes: Any) -> Reservation:
    """What was recorded an hour ago, on the backend of ``site``."""
    given = {"backend_uid": "b-1", "backend_type": "Plugin", "cluster_id": "c-1", "incarnation": "life-1"}
    return Reservation(**{**given, "body_hash": "hash-1", "at": ago(3600), **changes})


OPEN = Claim(number=1, state=ClaimState.OPEN)
STARTED = Claim(number=1, state=ClaimState.STARTED, nonce="nonce-1", driver="d1")


def ended(how: str) -> Claim:
    return STARTED.model_copy(update={"state": ClaimState.ENDED, "how": how})


def current(number: int = 1, **fields: Any) -> Current:
    """An attempt; with a reservation unless it is given as None."""
    return Current(number=number, key=attempt_key(UID, number), **{"reservation": reservation(), **fields})


def by_object(**fields: Any) -> Current:
    return current(reservation=reservation(object_uid="o1"), **fields)


def by_id(**fields: Any) -> Current:
    return current(reservation=reservation(application_id="a1"), **fields)


def job(
    recorded: Current | None = None,
    *,
    cancelled: bool = False,
    deleting: bool = False,
    guarded: bool = True,
    annotations: dict[str, str] | None = None,
    state: State = State.SUBMITTING,
    **spec: Any,
) -> DurableJob:
    """A job with this attempt in its status; what else is given is its spec's."""
    if cancelled:
        spec["cancel"] = Cancel(attempt=spec.get("attempt", 1))
    meta = ObjectMeta(
        name="j",
        namespace="n",
        uid=UID,
        creation_timestamp=ago(3600),
        deletion_timestamp=NOW if deleting else None,
        finalizers=(FINALIZER,) if guarded else (),
        annotations=annotations or {},
    )
    status = None
    if recorded is not None:
        if recorded.outcome is not None:
            state = State(recorded.outcome.value)
        status = DurableJobStatus(state=state, current=recorded)
    backend = BackendRef(name="b", type=BackendType.PLUGIN)
    return DurableJob(
        metadata=meta, spec=DurableJobSpec(backend_ref=backend, plugin=PluginWork(), **spec), status=status
    )


def site(traits: Traits = CLAIM, **changes: Any) -> Site:
    given = {"uid": "b-1", "type": "Plugin", "cluster_id": "c-1", "body_hash": "hash-1"}
    return Site(traits=traits, **{**given, **changes})


def run(name: str, state: Phase | Verdict, **fields: Any) -> Run:
    """A run in this phase, or that ended with this verdict."""
    if isinstance(state, Verdict):
        return Run(name, Phase.ENDED, verdict=state, **fields)
    return Run(name, state, **fields)


def seen(
    *runs: Run,
    closed: bool = False,
    cleanly: bool = False,
    known: str | None = None,
    held: bool = False,
    life: str = "life-1",
    remembers: bool = True,
    **fields: Any,
) -> Seen:
    """A fresh look by exact ids that found these runs."""
    sighting = Sighting(runs, life, closed=closed, ended_cleanly=cleanly, seen=known, held=held, remembers=remembers)
    return Seen(**{"sighting": sighting, "fresh": True, "confirmed": True, **fields})


def old(*runs: Run) -> Seen:
    """An answer from before the job's present version was read."""
    return seen(*runs, fresh=False, confirmed=False)


def listed(*runs: Run) -> Seen:
    """A fresh list, not asked by the attempt's ids."""
    return seen(*runs, confirmed=False)


NOTHING_YET = Seen()


def told(decision: Decision) -> str:
    """The decision in one line."""
    match decision:
        case Wait(seconds=seconds):
            return "wait" if seconds is None else f"wait {seconds:g}"
        case LookUp(exactly=exactly):
            return "look up exactly" if exactly else "look up"
        case Close(seen=noted):
            return f"close, {noted} was seen" if noted else "close"
        case Kill(run=name):
            return f"kill {name}"
        case Record(status=status, then=then):
            return _status(status) + (f", {told(then)}" if then is not None else "")
    return type(decision).__name__.lower()


def _status(status: DurableJobStatus) -> str:
    attempt = status.current
    assert attempt is not None
    words = [status.state.value]
    if attempt.reason not in (status.state.value, None):
        words.append(str(attempt.reason))
    if attempt.claim is not None and (attempt.claim.state is ClaimState.REVOKED or attempt.claim.number > 1):
        words.append(f"claim {attempt.claim.number} {attempt.claim.state.value}")
    if attempt.number > 1:
        words.append(f"attempt {attempt.number}")
    assert attempt.outcome is None or attempt.outcome is Outcome(status.state.value)
    return " ".join(words)
