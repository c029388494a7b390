"""Rules taken away, one at a time: each must be noticed, or the exploration proves less than it seems to.

A rule is taken away either by replacing the real function that keeps it, or (what is the API server's or the
external system's part: compare-and-swap, uid preconditions) by a world that does without.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from durablejob_api.job import DurableJob
from durablejob_api.status import Claim, ClaimState, Current, Outcome, State
from durablejob_controller import claims, decide, gated, reasons, steps, ungated
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.yarn.managers import Info
from durablejob_controller.claims import ClaimId, Denied, Granted
from durablejob_controller.record import advanced, attempt_of, next_claim
from durablejob_controller.views import Close, Decision, Kill, NoSite, Record, Seen, Site, Submit, Unguard
from tests.model import minds
from tests.model.checker import Result, explore
from tests.model.claims import ClaimWorld
from tests.model.objects import ObjectWorld
from tests.model.reserved import FakeWorld, GateWorld, GenericWorld, StagingWorld, SwitchedWorld
from tests.model.universe import Options
from tests.model.world import World

Replacement = tuple[object, str, Any]


@dataclass(frozen=True)
class Ablation:
    """One rule, the small world in which its absence shows, and what replaces it."""

    rule: str
    make: Callable[[], World]
    faults: int
    replaced: tuple[Replacement, ...] = ()

    def run(self, limit: int = 300_000) -> Result:
        """Explore without the rule, up to the first violation."""
        with ExitStack() as stack:
            for owner, name, value in self.replaced:
                stack.enter_context(patch.object(owner, name, value))
            return explore(self.make(), self.faults, limit=limit, stop_at_violation=True)


def noticed(result: Result) -> bool:
    return bool(result.violations) or bool(result.stuck)


# --- what replaces the rules -----------------------------------------------------------------------

_decide, _grant, _winner = decide.decide, claims.grant_start, gated.winner
_end, _first_seen = steps.end, ungated._first_seen


def _with_current(job: DurableJob | None, **changes: Any) -> DurableJob | None:
    if job is None or job.status is None or job.current is None:
        return job
    current = job.current.model_copy(update=changes)
    return job.model_copy(update={"status": job.status.model_copy(update={"current": current})})


def _grant_after_the_end(job: DurableJob | None, claim: ClaimId, *rest: Any) -> Granted | Denied:
    """As though the end had closed nothing."""
    record = job.current.claim if job is not None and job.current is not None else None
    if record is None or record.state is not ClaimState.REVOKED:
        return _grant(job, claim, *rest)
    reopened = record.model_copy(update={"state": ClaimState.OPEN})
    return _grant(_with_current(job, outcome=None, claim=reopened), claim, *rest)


def _grant_any_number(job: DurableJob | None, claim: ClaimId, *rest: Any) -> Granted | Denied:
    record = job.current.claim if job is not None and job.current is not None else None
    return _grant(job, claim if record is None else replace(claim, number=record.number), *rest)


def _end_at_once(job: DurableJob, current: Current, run: Run, why: Any, now: datetime) -> Decision:
    """Cancelled is written before the kill is confirmed."""
    return _end(job, current, Outcome.CANCELLED, reasons.CANCELLED, now)


def _end_unclosed(
    job: DurableJob, current: Current, seen: Seen, outcome: Outcome, why: Any, now: datetime, run: Run | None = None
) -> Decision:
    return _end(job, current, outcome, why, now, run=run)


def _submit_again(job: DurableJob, current: Current, claim: Claim, seen: Seen, now: datetime) -> Decision:
    """A winner that the system no longer knows is taken for one that never was."""
    if seen.confirmed and not seen.runs and claim.how is None:
        renewed = current.model_copy(update={"claim": next_claim(current, False)})
        return Record(advanced(job, renewed, State.SUBMITTING, reasons.SUBMITTING, now), then=Submit())
    return _winner(job, current, claim, seen, now)


def _let_go(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    return Unguard() if job.deleting else _decide(job, site, seen, now)


def _no_look_before(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    bare = job.current is None or job.current.reservation is None
    blind = replace(seen, sighting=replace(seen.sighting, runs=())) if bare and seen.sighting else seen
    return _decide(job, site, blind, now)


def _no_look_after(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    over = job.current is not None and job.current.outcome is not None
    return _decide(job, site, replace(seen, fresh=True) if over else seen, now)


def _no_look_at_the_start(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    started = job.current is not None and job.current.run_started_time is not None
    return _decide(job, site, replace(seen, fresh=True) if started else seen, now)


def _cancel_at_once(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    """Before the reservation nothing is looked for but what runs."""
    decision = _decide(job, site, seen, now)
    current = job.current
    if isinstance(decision, Kill) and (current is None or current.reservation is None):
        return _end(job, attempt_of(job), Outcome.CANCELLED, reasons.CANCELLED_BEFORE_START, now)
    return decision


def _close_once(
    job: DurableJob, current: Current, seen: Seen, outcome: Outcome, why: Any, now: datetime, run: Run | None = None
) -> Decision:
    """That it is closed is enough for the end."""
    if seen.sighting is None or not seen.sighting.closed:
        return Close(seen=run.started_time if run is not None else None)
    return _end(job, current, outcome, why, now, run=run)


def _believe_a_copy(job: DurableJob, current: Current, run: Run, seen: Seen, now: datetime) -> Decision:
    """Whoever is seen first is the run that counts, also when a clean end has taken the fence."""
    there = replace(seen.sighting, ended_cleanly=False) if seen.sighting else None
    return _first_seen(job, current, run, replace(seen, sighting=there), now)


def _knows_by_now(self: Info, life: str) -> bool:
    """As though a life that remembers knew what was accepted before recovery was switched on."""
    return self.remembers or life == self.life


class ForgetfulFake(FakeWorld):
    """One that says it remembers."""

    recovery = True


class UnrecoveredStaging(StagingWorld):
    """Recovery is off, and it says so: this is why such a backend guarantees nothing."""

    def __init__(self, options: Options) -> None:
        super().__init__(options, recovery=False)


# --- the list -----------------------------------------------------------------------------------------

_WISHES = Options(cancel=True, delete=True)
_TWO = _WISHES.but(controllers=2)


ABLATIONS = (
    Ablation(
        "compare-and-swap (and the CRD's rules, which stop the same writes)",
        lambda: ClaimWorld(Options(controllers=2, cancel=True, rules=False, ablate="compare-and-swap")),
        1,
    ),
    Ablation(
        "recorded before it is submitted",
        lambda: StagingWorld(_WISHES.but(ablate="recorded before it is submitted")),
        1,
    ),
    Ablation("winner: only the claim's winner is believed", lambda: ClaimWorld(_WISHES), 1, (
        (gated, "is_recorded", lambda run, run_id, current: True),
    )),
    Ablation("nonce: the claim is the JVM's, not the driver id's", lambda: ClaimWorld(
        Options(relaunch=True, ablate="nonce")), 1),
    Ablation("close before terminal: the end revokes the claim", lambda: ClaimWorld(Options(deadline=True)), 0, (
        (claims, "grant_start", _grant_after_the_end),
    )),
    Ablation("close before terminal: the staging fence", lambda: StagingWorld(_WISHES), 2, (
        (ungated, "_close_then_end", _end_unclosed),
    )),
    Ablation("fresh observation: absence in an old list counts", lambda: ClaimWorld(
        Options(stale_list=True, ablate="fresh observation")), 0),
    Ablation("uid precondition of the activation", lambda: ObjectWorld(
        _WISHES.but(persistent=True, ablate="uid precondition")), 2),
    Ablation("what others have ended is killed", lambda: ObjectWorld(
        Options(preempt=True, ablate="condemned is told")), 1),
    Ablation("inert first", lambda: ObjectWorld(_WISHES.but(persistent=True, ablate="inert first")), 1),
    Ablation("a new claim number revokes the old", lambda: ClaimWorld(
        _WISHES.but(ablate="claim number revokes")), 1, ((claims, "grant_start", _grant_any_number),)),
    Ablation("no leave to start once the end is wished", lambda: ClaimWorld(_WISHES), 1, (
        (claims, "wishes_end", lambda job, attempt: False),
    )),
    Ablation("the kill is confirmed before Cancelled is written", lambda: ClaimWorld(_WISHES), 0, (
        (steps, "put_down", _end_at_once),
    )),
    Ablation("once accepted, then absent: never submitted again (nor do the CRD's rules let it)", lambda: ClaimWorld(
        Options()), 1, (
        (gated, "winner", _submit_again), (decide, "winner", _submit_again), (minds, "legal", lambda old, new: None),
    )),
    Ablation("another incarnation that remembers nothing is not submitted to", lambda: ForgetfulFake(_WISHES), 1),
    Ablation("whether it remembers is told by the very answer, by no older probe", lambda: StagingWorld(
        Options(ablate="the answer tells whether it remembers")), 1),
    Ablation("a life with recovery does not know what one without had accepted", lambda: SwitchedWorld(
        Options(), recovery=False), 1, ((Info, "knows", _knows_by_now),)),
    Ablation("who closes the fence of a run that is recorded nowhere tells which one he has seen", lambda: GenericWorld(
        Options(ablate="a fence tells which run was seen")), 1, ((ungated, "_close_then_end", _close_once),)),
    Ablation("seen first, active, when a clean end has taken the fence, it is a copy", lambda: StagingWorld(
        Options(cancel=True, persistent=True)), 1, ((ungated, "_first_seen", _believe_a_copy),)),
    Ablation("seen first, killed, when a clean end has taken the fence, it is a copy", lambda: StagingWorld(
        Options(cancel=True, persistent=True)), 1, ((ungated, "_is_copy", lambda run, sighting: False),)),
    Ablation("what is not saved yet has no start to record", lambda: StagingWorld(
        Options(ablate="what is not saved yet has no start")), 1),
    Ablation("startedTime tells runs of one id apart", lambda: GateWorld(_WISHES), 2, (
        (gated, "is_recorded", lambda run, run_id, current: run.id == run_id),
    )),
    Ablation("our finalizer stays until the external end", lambda: ClaimWorld(_WISHES), 0, (
        (decide, "decide", _let_go),
    )),
    Ablation("the key is looked up before the first submission too", lambda: ClaimWorld(Options(restore=True)), 1, (
        (decide, "decide", _no_look_before),
    )),
    Ablation("staging fence, assumption: nothing is evicted before it was seen, and closed or ended cleanly", lambda:
        StagingWorld(_WISHES, assume=False), 2),
    Ablation("staging fence, condition: the ResourceManager recovers", lambda: UnrecoveredStaging(_WISHES), 2),
    Ablation("an exact look before an id is reserved: a batch leaves out what has ended", lambda: GateWorld(
        Options(restore=True)), 1, ((decide, "_looked_for", lambda site, seen: seen.fresh),)),
    Ablation("after a restore that was noticed nothing begins until a person agrees", lambda: FakeWorld(
        Options(restore=True, noticed=True)), 1, ((decide, "_begins", lambda decision: False),)),
    Ablation("a fresh look before an object's job is let go", lambda: ObjectWorld(
        _WISHES.but(persistent=True, stale_list=True)), 0, ((decide, "decide", _no_look_after),)),
    Ablation("a fresh look before another start time is believed", lambda: ObjectWorld(
        Options(persistent=True, stale_list=True)), 0, ((decide, "decide", _no_look_at_the_start),)),
    Ablation("what was set aside is removed before Cancelled is written", lambda: ObjectWorld(
        Options(cancel=True)), 0, ((decide, "decide", _cancel_at_once),)),
    Ablation("what takes the last room itself is adopted", lambda: ObjectWorld(
        Options(quota=True, persistent=True, ablate="what takes the room is adopted")), 1),
    Ablation("what never begins is given up some day", lambda: ObjectWorld(
        Options(slow=True, persistent=True, ablate="patience ends")), 1),
)  # fmt: skip
