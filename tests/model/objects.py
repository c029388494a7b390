"""The world of Kubernetes objects: POSTed inert, activated by a patch that names their uid.

Objects may be POSTed late or twice, deleted from outside, collected with their owner, removed after their
time to live. Our finalizer, added by the activation, keeps them until their outcome is recorded. Where there may be no
room: a quota is asked before it is seen whether the name is taken, and an object itself may take the last room.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Current, Outcome
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Deferred, Identity, Offer, Phase, Run, Sighting, Traits, Verdict
from tests.model.checker import Step
from tests.model.drivers import at
from tests.model.invariants import outcome_violation, overlaps
from tests.model.resource import NOW, Resource
from tests.model.universe import Universe
from tests.model.world import World


class Thing(NamedTuple):
    """The object under an attempt's name."""

    uid: str
    phase: str = "inert"
    """inert, queued (activated), hopeless (it will never begin), program (runs), suspended (after it ran), finished,
    failed, killed."""
    held: bool = False
    """Our finalizer is on it."""
    deleting: bool = False
    start: str | None = None
    """Its start time, which is noted some time after it begins, and taken away when it is suspended."""
    late: bool = False
    """It arrived when its end was wished already."""


class Outside(NamedTuple):
    """The API server's objects, and what is on its way to them."""

    net: tuple[Any, ...] = ()
    things: tuple[Thing | None, Thing | None] = (None, None)
    starts: tuple[int, int] = (0, 0)
    succeeded: tuple[bool, bool] = (False, False)
    body: int = 0
    full: str = ""
    """What there is no room for: ``_OBJECTS``, or what goes ``_BESIDE`` them."""


_NEW = "o-new"
_WAITS = ("queued", "hopeless")
_BEGUN = (*_WAITS, "program", "suspended")
_OBJECTS, _BESIDE = "objects", "beside"
NO_ROOM = Deferred("QuotaExceeded", "few, used: 1, limited: 1")
SOON = NOW + timedelta(days=1)
"""Until then what was activated may begin; the later of the two times at which is decided is after it."""
VERDICTS = {"finished": Verdict.SUCCEEDED, "failed": Verdict.FAILED, "killed": Verdict.DELETED}


class ObjectWorld(World):
    """Identity.OBJECT."""

    traits = Traits(identity=Identity.OBJECT, gated=False)

    def outside(self) -> Outside:
        return Outside()

    def site_of(self, outside: Outside) -> Hashable:
        return outside.body

    def shows(self, outside: Outside, attempt: int) -> Hashable:
        return outside.things[attempt - 1]

    def sighting(self, shown: Any, resource: Resource) -> Sighting:
        thing: Thing | None = shown
        if thing is None:
            return Sighting((), "")
        phases = {"inert": Phase.INERT, "program": Phase.RUNNING}
        phases |= dict.fromkeys((*_WAITS, "suspended"), Phase.QUEUED)
        told = self.options.ablate != "condemned is told"
        run = Run(
            thing.uid,
            phases.get(thing.phase, Phase.ENDED),
            verdict=VERDICTS.get(thing.phase),
            held=thing.held,
            started_time=thing.start,
            condemned="Preempted" if thing.phase == "suspended" and told else None,
            expires=SOON if thing.phase in _WAITS and self.options.ablate != "patience ends" else None,
        )
        return Sighting((run,), "")

    def message(self, resource: Resource) -> tuple[str, int, str]:
        current = resource.current
        assert current is not None
        assert current.reservation is not None
        return "activate", current.number, current.reservation.object_uid or ""

    def patient(self, u: Universe, current: Current | None) -> bool:
        """No third copy while two are on their way."""
        if current is None or current.reservation is None:
            return False
        out: Outside = u.outside
        return [m[:2] for m in out.net].count(("activate", current.number)) >= 2

    def offer(self, outside: Outside, resource: Resource) -> Offer | None:
        """An object of ours that is inert is as good as a new one, whether 409 is said, or that there is no room."""
        thing = outside.things[resource.attempt - 1]
        if thing is None or thing.phase != "inert" or outside.full == _BESIDE:
            return None
        if outside.full and self.options.ablate == "what takes the room is adopted":
            return None
        return Offer(object_uid=thing.uid)

    def deferred(self, outside: Outside) -> Deferred | None:
        return NO_ROOM if outside.full else None

    # --- what controllers do --------------------------------------------------------------------------

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Outside, int]]:
        out: Outside = u.outside
        if kind == "Reserve" and out.full == _BESIDE and self._is_inert(out, arg):
            yield f"Reserve {arg}: no room beside it, it is removed", out._replace(things=at(out.things, arg, None)), 0
            return
        if kind in ("Reserve", "Submit"):
            message = ("post", arg, "") if kind == "Reserve" else arg
            if out.net.count(message) < (1 if self.options.persistent else 2):
                yield f"sends {message}", out._replace(net=tuple(sorted((*out.net, message)))), 0
            else:
                yield f"waits: {message} is on its way twice", out, 0
            return
        found = [(n, t) for n, t in enumerate(out.things, 1) if t is not None and t.uid == arg]
        if not found:
            yield f"{kind} {arg}: not found", out, 0
            return
        attempt, thing = found[0]
        changed = _deleted(thing) if kind == "Kill" else _released(thing)
        yield f"{kind} {arg}", out._replace(things=at(out.things, attempt, changed)), 0

    @staticmethod
    def _is_inert(out: Outside, attempt: int) -> bool:
        thing = out.things[attempt - 1]
        return thing is not None and thing.phase == "inert"

    def tidied(self, u: Universe) -> Universe:
        """With the smallest uid that nothing refers to for what is new: which number it is means nothing."""
        out: Outside = self.tidy(u.resource, u.outside)
        if any(thing is not None and thing.uid == _NEW for thing in out.things):
            used = set(_referred(u))
            name = next(name for name in (f"o{n}" for n in range(100)) if name not in used)
            first, second = (t._replace(uid=name) if t is not None and t.uid == _NEW else t for t in out.things)
            out = out._replace(things=(first, second))
        return u if out is u.outside else u._replace(outside=out)

    def tidy(self, resource: Resource, out: Outside) -> Outside:
        """Without what can have no effect: activations of a uid that is no more (none comes back), and inert
        copies of an attempt that is over, with the POSTs that would make more of them.
        """
        if self.options.ablate:
            return out
        uids = {thing.uid for thing in out.things if thing is not None}
        over = resource.attempt - 1
        net = tuple(m for m in out.net if (m[2] in uids if m[0] == "activate" else m[1] > over))
        things = out.things
        if over and things[0] is not None and things[0].phase == "inert":
            things = (None, things[1])
        return out if net == out.net and things is out.things else out._replace(net=net, things=things)

    # --- what the cluster does ------------------------------------------------------------------------

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        out: Outside = u.outside
        for message in dict.fromkeys(out.net):
            rest = list(out.net)
            rest.remove(message)
            without = u._replace(outside=out._replace(net=tuple(rest)))
            label, twice = self._arrives(u, message)
            if self.options.persistent:
                if twice is not u:
                    yield Step(label, twice)
                continue
            label, after = self._arrives(without, message)
            yield Step(label, after)
            yield Step(f"{label}, a proxy will repeat it", twice, healthy=False, cost=1)
            yield Step(f"{message} is lost", without, healthy=False, cost=1)
        for attempt, thing in enumerate(out.things, 1):
            if thing is not None:
                yield from self._thing_steps(u, attempt, thing)
        if self.options.quota:
            yield from self._room_steps(u)
        if self.options.upgrade and not out.body:
            yield Step("the controller is upgraded", u._replace(outside=out._replace(body=1)), healthy=False, cost=1)

    def _room_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        """There is no room, and again there is: but not as long as it is what was set aside that takes it.

        That is no fault, and makes nothing Lost; but of two controllers one may remove what the other has just
        recorded.
        """
        out: Outside = u.outside
        cost = int(self.options.controllers > 1)
        if not out.full:
            for full in (_OBJECTS, _BESIDE):
                after = u._replace(outside=out._replace(full=full))
                yield Step(f"no room for {full}", after, healthy=False, cost=cost)
        elif out.full == _BESIDE or not self._is_inert(out, u.resource.attempt):
            yield Step("there is room", u._replace(outside=out._replace(full="")))

    def _arrives(self, u: Universe, message: Any) -> tuple[str, Universe]:
        kind, attempt, uid = message
        out: Outside = u.outside
        thing = out.things[attempt - 1]
        if kind == "post":
            if thing is not None:
                return f"POST {attempt}: 409", u
            if out.full == _OBJECTS:
                return f"POST {attempt}: no room", u
            new = Thing(_NEW, late=self._is_late(u.resource, attempt))
            posted = u._replace(outside=out._replace(things=at(out.things, attempt, new)))
            if self.options.ablate == "inert first":
                return f"POST {attempt}: it runs", self._starts(posted, attempt, new._replace(held=True))
            return f"POST {attempt}: inert", posted
        checked = self.options.ablate != "uid precondition"
        if thing is None or thing.phase != "inert" or thing.deleting or (checked and thing.uid != uid):
            return f"activation of {uid}: nothing of that uid", u
        active = thing._replace(phase="queued", held=True)
        if self.options.slow:
            after = u._replace(outside=out._replace(things=at(out.things, attempt, active)))
        else:
            after = self._starts(u, attempt, active)
        return f"activation of {thing.uid}", after

    @staticmethod
    def _is_late(resource: Resource, attempt: int) -> bool:
        wishes = resource.wishes
        over = resource.outcome is not None or resource.attempt != attempt
        return over or wishes.cancel == attempt or wishes.deleting

    def _starts(self, u: Universe, attempt: int, thing: Thing) -> Universe:
        out: Outside = u.outside
        runs = thing._replace(phase="program")
        starts = at(out.starts, attempt, out.starts[attempt - 1] + 1)
        after = u._replace(outside=out._replace(things=at(out.things, attempt, runs), starts=starts))
        if out.starts[attempt - 1]:
            return after._replace(wrong="the program of one attempt was started twice")
        if u.resource.wishes.gone or u.resource.attempt != attempt or u.resource.outcome is not None:
            return after._replace(wrong="a program was started after the end of its attempt")
        return after

    def _thing_steps(self, u: Universe, attempt: int, thing: Thing) -> Iterator[Step[Universe]]:
        out: Outside = u.outside

        def to(new: Thing | None, **changes: Any) -> Universe:
            return u._replace(outside=out._replace(things=at(out.things, attempt, new), **changes))

        uid = thing.uid
        if thing.phase in _WAITS:
            if thing.phase == "queued":
                yield Step(f"{uid} begins", self._starts(u, attempt, thing))
                yield Step(f"{uid} can never begin", to(thing._replace(phase="hopeless")), healthy=False, cost=1)
            if thing.deleting:
                yield Step(f"{uid} ends unbegun", to(thing._replace(phase="killed") if thing.held else None))
        elif thing.phase == "program":
            if thing.start is None:
                yield Step(f"the start of {uid} is noted", to(thing._replace(start="t")))
            ended = None if thing.deleting and not thing.held else thing
            well = ended and ended._replace(phase="finished")
            yield Step(f"{uid} ends well", to(well, succeeded=at(out.succeeded, attempt, True)))
            yield Step(f"{uid} ends badly", to(ended and ended._replace(phase="failed")))
            if thing.deleting:
                yield Step(f"the kubelet kills {uid}", to(ended and ended._replace(phase="killed")))
            if self.options.preempt and not thing.deleting:
                suspended = to(thing._replace(phase="suspended", start=None))
                yield Step(f"{uid} is preempted", suspended, healthy=False, cost=1)
        elif thing.phase == "suspended":
            if thing.deleting:
                yield Step(f"no pod of {uid} is left", to(thing._replace(phase="killed") if thing.held else None))
        elif thing.phase == "inert":
            if u.resource.wishes.gone:
                yield Step(f"{uid} is collected with its owner", to(None))
        elif not thing.held:
            yield Step(f"{uid}'s time to live is over", to(None))
        if not thing.deleting:
            yield Step(f"somebody deletes {uid}", to(_deleted(thing)), healthy=False, cost=1)

    # --- what must never be ---------------------------------------------------------------------------

    def external_violation(self, u: Universe) -> str | None:
        out: Outside = u.outside
        resource = u.resource
        running = [n for n, thing in enumerate(out.things, 1) if thing is not None and thing.phase == "program"]
        if overlaps(resource, running):
            return "attempt 2 was begun while attempt 1 runs"
        for attempt, thing in enumerate(out.things, 1):
            if thing is not None and thing.held and (resource.wishes.gone or resource.attempt > attempt):
                return "our finalizer is on an object that nobody will release"
        if resource.current is None:
            return None
        preempted = resource.current.reason == reasons.PREEMPTED.reason
        if preempted and resource.current.cancel_requested_at is not None and not self.options.preempt:
            return "to be killed as preempted, and nothing was ever suspended"
        number = resource.current.number
        if self._is_left(u, number):
            return "Cancelled, and what was set aside for it is left"
        orphan = self.options.policy is DeletionPolicy.ORPHAN
        return outcome_violation(resource, number in running, out.succeeded[number - 1], orphan)

    def _is_left(self, u: Universe, attempt: int) -> bool:
        """It takes its share of a quota until its time is over; where there is no backend, nobody can be asked."""
        wishes, thing = u.resource.wishes, u.outside.things[attempt - 1]
        if u.resource.outcome is not Outcome.CANCELLED or wishes.deleting or self.options.backend_goes:
            return False
        return thing is not None and thing.phase == "inert" and not thing.late


def _deleted(thing: Thing) -> Thing | None:
    """After a DELETE: what runs or is held goes later."""
    return thing._replace(deleting=True) if thing.held or thing.phase in _BEGUN else None


def _released(thing: Thing) -> Thing | None:
    if thing.deleting and thing.phase not in _BEGUN:
        return None
    return thing._replace(held=False)


def _referred(u: Universe) -> Iterator[str]:
    """uids that something refers to."""
    out: Outside = u.outside
    yield from (thing.uid for thing in out.things if thing is not None)
    yield from (m[2] for m in out.net)
    for resource in (u.resource, u.cached):
        current = resource.current if resource is not None else None
        if current is not None and current.reservation is not None:
            yield current.reservation.object_uid or ""
    for plan in u.controllers:
        for part in (plan, plan.then if plan is not None else None):
            if part is None:
                continue
            if part.kind in ("Kill", "Release"):
                yield part.arg
            elif part.kind == "Submit":
                yield part.arg[2]
            elif part.target is not None and part.target.current is not None:
                reservation = part.target.current.reservation
                yield (reservation.object_uid or "") if reservation is not None else ""
    if u.listed is not None:
        yield from (thing.uid for thing in u.listed if thing is not None)
