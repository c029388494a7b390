"""What to do next about one job: a pure function of what is recorded, what was seen, and the time.

The explorer in ``tests/model`` drives this very function through every order of crashes, delays,
repetitions and wishes. It does no I/O and reads no clock. ``gated`` and ``ungated`` hold the rules of the
two ways to keep a program from starting twice; ``steps`` what they share.

::

      Pending --> Submitting --> Submitted --> Running --> Succeeded | Failed
         |            |              |            |
         |            |              |            +------> Lost        accepted once, now unknown
         +------------+--------------+----> Cancelling --> Cancelled

Order, for every backend: reserve -> compare-and-swap -> submit -> (start) -> observe the winner ->
close -> terminal compare-and-swap. A run found before anything was reserved, by a fresh look (by an exact one where
ids are reserved), is Lost: the status was rolled back.

The verdict table of a reserved attempt that has not ended (rows are tried from the top; "absent" and
"unknown" count only when freshly confirmed by the attempt's own ids; "wish" is a cancel, or a deletion
with policy Cancel):

=============  ===========================  ==========================================================
claim          the external system says     verdict
=============  ===========================  ==========================================================
Open           (wish, deadline, refusal)    revoke and end in one write: Cancelled, Failed
Open           a run of it is active        wait: it will ask the gate
Open           its run has ended well       the status was rolled back: Lost
Open           its run has ended            the system names a cause: Failed. Else a new claim; after 5, Failed
Open           nothing                      submit again: under a new claim, or under the reserved id; Failed if it
                                            may have been forgotten, or its files are closed; Lost if a run took them
Started/Ended  (deletion, policy Orphan)    let the resource go
Started        winner active                wait; with a wish: kill the winner
Started/Ended  winner succeeded or failed   that outcome
Ended          winner killed, deleted       it had returned or thrown before: that; else as the next row
Started        winner killed, deleted       wish: Cancelled; deadline: Failed, DeadlineExceeded; else Failed
Ended          winner unknown, absent       returned: Succeeded; threw: Failed; exit: as the next row
Started        winner unknown, absent       after the grace: Lost
object         another one under the name   kill it
object         inert                        activate it; wish, deadline, refusal, other body: note it, remove it
object         absent                       our doing: Cancelled, Failed; else Lost
object         active                       wait; with a wish: kill it; deletion with Orphan: release it, let go
object         active, ended by others      note why, and kill it: Failed, for that reason
object         active since another time    it was stopped, and began again: Preempted, as above
object         ended                        as for the winner
Open           another's has the id         Failed
reserved id    another's has the id         close, Lost
reserved id    another run under the id     kill it; close, Lost
reserved id    active, seen first           record its start, by an exact look
reserved id    active or killed, and first  a copy, for the fence went with a clean end of another: kill it; close,
               seen when the fence is gone  Lost
reserved id    absent, or refused copy      it was accepted, or the answer is of a life that cannot know: close,
                                            Lost. Else it never began: wish, deadline, refusal (noted first), other
                                            body: close, then Cancelled, Failed; nothing of these: submit again
reserved id    active, ended                as for the winner; close comes before the end, and tells of the run if its
                                            start is not recorded: that is as good as a record
any            none of many submissions     after 10 s what they are answered is told; after 15 min (a claim: 50 of
                                            them) it is given up, as if refused
any            no usable answer             wait
any            (restored from a backup)     what would begin something waits until a person agrees
=============  ===========================  ==========================================================
"""

from __future__ import annotations

from datetime import datetime

from durablejob_api.job import DurableJob
from durablejob_api.marks import RELEASE
from durablejob_api.status import ClaimState, Current, Outcome, Reservation, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Identity, Phase
from durablejob_controller.claims import wishes_end
from durablejob_controller.gated import (
    LOST_GRACE,
    MAX_UNSTARTED_CLAIMS,
    open_claim,
    stop_unstarted,
    winner,
)
from durablejob_controller.reasons import Why
from durablejob_controller.record import advanced, attempt_of, fresh_attempt, next_claim
from durablejob_controller.restored import restored
from durablejob_controller.steps import QUEUED_GRACE, end, inform, state_of, unanswered, winner_id
from durablejob_controller.ungated import inert_object, reserved_id
from durablejob_controller.views import (
    Decision,
    Delete,
    Guard,
    Kill,
    LookUp,
    NoSite,
    Record,
    Release,
    Reserve,
    Seen,
    Site,
    Submit,
    Unguard,
    Wait,
)

__all__ = ["LOST_GRACE", "MAX_UNSTARTED_CLAIMS", "MISSING_BACKEND_GRACE", "QUEUED_GRACE", "decide"]

MISSING_BACKEND_GRACE = 60.0
"""Seconds for which a missing backend is waited for: one ``kubectl apply`` of both, or a replacement."""
UNACKNOWLEDGED_TTL_FACTOR = 4
UNACKNOWLEDGED_TTL = 3600.0
"""Seconds for which at least a result is kept that its holder has not taken yet."""


def decide(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    """The next step for this job; what would begin something waits where only a person can know that it may."""
    decision = _next(job, site, seen, now)
    why = restored(job) or (site.held if isinstance(site, Site) else None)
    if why is not None and _begins(decision):
        return inform(job, attempt_of(job), state_of(job), why, now, closely=True)
    return decision


def _begins(decision: Decision) -> bool:
    """Whether something is reserved or submitted by it."""
    step = decision.then if isinstance(decision, Record) else decision
    return isinstance(step, Reserve | Submit)


def _next(job: DurableJob, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    current = job.current
    if current is not None and current.outcome is not None:
        return _after_end(job, current, site, seen, now)
    if not job.guarded:
        return Wait() if job.deleting else Guard()
    current = attempt_of(job)
    reservation = current.reservation
    if reservation is None:
        return _before_start(job, current, site, seen, now)
    if isinstance(site, NoSite) or not _is_same(site, reservation):
        return _without_backend(job, current, site, now)
    claim = current.claim
    if claim is not None and claim.state is ClaimState.OPEN:
        return open_claim(job, current, claim, reservation, site, seen, now)
    if claim is not None:
        return winner(job, current, claim, seen, now)
    if site.traits.identity is Identity.OBJECT:
        return inert_object(job, current, reservation, site, seen, now)
    return reserved_id(job, current, reservation, site, seen, now)


def _without_backend(job: DurableJob, current: Current, site: Site | NoSite, now: datetime) -> Decision:
    """Its backend is gone, or is another one: nothing is asked there, and nothing submitted."""
    claim = current.claim
    if claim is not None and claim.state is ClaimState.OPEN:
        stopped = stop_unstarted(job, current, now)
        if stopped is not None:
            return stopped
    if job.deleting and (job.metadata.annotations.get(RELEASE) == "true" or not wishes_end(job, current.number)):
        return Unguard()  # an administrator says so, or the job is to be left as it is (Orphan)
    if isinstance(site, NoSite):
        why = site.why
    else:
        cluster = current.reservation.cluster_id if current.reservation else ""
        why = reasons.backend_replaced(job.spec.backend_ref.name, cluster)
    return inform(job, current, state_of(job), why, now, reachable=False)


# --- before anything exists outside ----------------------------------------------------------------


def _before_start(job: DurableJob, current: Current, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    if any(run.phase is not Phase.INERT for run in seen.runs):
        if isinstance(site, Site) and not _looked_for(site, seen):
            return _look_for(site)  # a list may be old, or show what only pretends to be of this attempt
        return end(job, current, Outcome.LOST, reasons.FOUND_WITHOUT_RESERVATION, now)
    if wishes_end(job, current.number) or job.deleting:
        if isinstance(site, Site) and site.blocked is None and not _looked_for(site, seen) and seen.trouble is None:
            return _look_for(site)  # rule 4 once more: a rolled-back status must not call a running program Cancelled
        inert = next((run for run in seen.runs if run.phase is Phase.INERT), None)
        if inert is not None and not job.deleting and isinstance(site, Site) and _looked_for(site, seen):
            # Set aside before a crash, or by another controller, for whom the wish stands, too. With a job that is
            # being deleted it is garbage-collected; here it would take its share of a quota until then.
            return Kill(inert.id)
        return end(job, current, Outcome.CANCELLED, reasons.CANCELLED_BEFORE_START, now)
    if isinstance(site, NoSite) and site.final:
        return end(job, current, Outcome.FAILED, site.why, now)
    if job.spec.suspend:
        return inform(job, current, State.PENDING, reasons.SUSPENDED, now)
    if isinstance(site, NoSite):
        patience = None if site.missing is None else MISSING_BACKEND_GRACE - site.missing
        if patience is not None and patience <= 0:
            return end(job, current, Outcome.FAILED, site.why, now)
        return inform(job, current, State.PENDING, site.why, now, again=patience)
    if site.blocked is not None:
        return inform(job, current, State.PENDING, site.blocked, now, reachable=False, closely=True)
    if not site.probed:
        return Wait()
    if seen.sighting is None and seen.trouble is not None:
        return unanswered(job, current, seen, now)
    if not _looked_for(site, seen):
        return _look_for(site)  # rule 4: also before the first submission
    return _reserve(job, current, site, seen, now)


def _looked_for(site: Site, seen: Seen) -> bool:
    """Where ids are reserved a batch need not show what has ended."""
    return seen.confirmed if site.traits.identity is Identity.RESERVED_ID else seen.fresh


def _look_for(site: Site) -> LookUp:
    return LookUp(exactly=site.traits.identity is Identity.RESERVED_ID)


def _reserve(job: DurableJob, current: Current, site: Site, seen: Seen, now: datetime) -> Decision:
    offer = seen.offer
    if offer is not None and offer.body_hash not in ("", site.body_hash):
        offer = None  # of the backend as it was: another body, perhaps without the gate
    if site.traits.identity is not Identity.CLAIM and offer is None:
        if seen.rejected is not None:  # what the system will not even hold has no effect, now or later
            return end(job, current, Outcome.FAILED, Why(seen.rejected.reason, seen.rejected.message), now)
        if seen.hold <= 0:
            return Reserve()
        if seen.deferred is not None:
            why = Why(seen.deferred.reason, seen.deferred.message)
            return inform(job, current, State.PENDING, why, now, reachable=True, again=seen.hold, closely=True)
        if seen.doubt is None:
            return Wait(seen.hold)
        why = reasons.backend_unreachable(seen.doubt)
        return inform(job, current, State.PENDING, why, now, reachable=False, again=seen.hold, closely=True)
    reservation = Reservation(
        backend_uid=site.uid,
        backend_type=site.type,
        cluster_id=site.cluster_id,
        incarnation=(offer.incarnation if offer else "") or (seen.sighting.incarnation if seen.sighting else ""),
        application_id=offer.application_id if offer else None,
        object_uid=offer.object_uid if offer else None,
        staging=offer.staging if offer else None,
        body_hash=site.body_hash,
        at=now,
    )
    changes = {"reservation": reservation, "claim": next_claim(current, False) if site.traits.gated else None}
    reserved = current.model_copy(update=changes)
    return Record(advanced(job, reserved, State.SUBMITTING, reasons.SUBMITTING, now, reachable=True), then=Submit())


# --- after the end -----------------------------------------------------------------------------------


def _after_end(job: DurableJob, current: Current, site: Site | NoSite, seen: Seen, now: datetime) -> Decision:
    """Leave nothing behind, then let the resource go, or the next attempt begin."""
    lost = current.outcome is Outcome.LOST
    goes_on = job.spec.attempt > current.number and not job.deleting
    if lost and goes_on and job.spec.accept_lost < current.number:
        goes_on = False
    own = winner_id(current)
    reservation = current.reservation
    ours = isinstance(site, Site) and (reservation is None or _is_same(site, reservation))
    unsettled = lost and (goes_on or wishes_end(job, current.number))
    revoked = current.claim is not None and current.claim.state is ClaimState.REVOKED
    held = reservation is not None and reservation.object_uid is not None
    # What was lost may have been found again; what can no longer start may wait in the system's queue for ever; an
    # object may still have our finalizer, if the process that wrote the end died.
    unseen = (unsettled or revoked or held) and ours and not seen.fresh
    if unseen and seen.trouble is None:
        return LookUp()  # a system that does not answer is not waited for: nothing can begin, or the risk was taken
    for run in seen.runs if ours else ():  # with another backend, or none, there is nobody to tell
        believed = run.id == own or current.reservation is None
        # Who is not believed cannot start the program, yet it waits in the system's queue; who was lost and is found
        # again ends before anything else begins.
        if run.active and (unsettled or not believed) and not run.foreign:
            return Kill(run.id) if seen.fresh else LookUp()  # nobody polls for a job that has ended
        if run.held and run.id == own:
            return Release()
    if held and (goes_on or job.deleting) and not (ours and seen.fresh):
        if ours:
            return LookUp()  # an old list may not show yet that our finalizer is on the object
        if job.metadata.annotations.get(RELEASE) != "true":
            return Wait()  # until its backend is back: who else would take our finalizer off?
    staged = reservation is not None and reservation.staging is not None
    if staged and ours and (goes_on or job.deleting) and seen.trouble is None:
        # Only files, which can start nothing any more: a system that does not answer is not waited for.
        if not seen.confirmed:
            return LookUp(exactly=True)
        if seen.sighting is not None and seen.sighting.held:
            return Release()
    if job.deleting:
        return Unguard() if job.guarded else Wait()
    if goes_on:
        # A write of its own: from here on, what is observed is the new attempt's key.
        return Record(advanced(job, fresh_attempt(job), State.PENDING, reasons.NEXT_ATTEMPT, now))
    due = _time_to_live(job, current, now)
    # Nobody waits for it any more: until its time is over the system is asked, now and then, whether it answers again.
    return LookUp() if unseen and isinstance(due, Wait) else due


def _time_to_live(job: DurableJob, current: Current, now: datetime) -> Delete | Wait:
    seconds: float = job.spec.ttl_seconds_after_finished
    holder = job.spec.holder
    if holder is not None and holder.acknowledged < current.number:
        seconds = max(UNACKNOWLEDGED_TTL_FACTOR * seconds, UNACKNOWLEDGED_TTL)
    left = seconds - (now - (current.finished_at or now)).total_seconds()
    return Delete() if left <= 0 else Wait(left)


def _is_same(site: Site, reservation: Reservation) -> bool:
    """Rule 11: the reservation pins the backend."""
    pinned = (reservation.backend_uid, reservation.backend_type, reservation.cluster_id)
    return pinned == (site.uid, site.type, site.cluster_id)
