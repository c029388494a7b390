"""What all worlds share: one DurableJob, its compare-and-swap, and controllers that run the real code.

A controller is a process that may stop for any time between any two of its steps, crash, or be one of two
that both believe to lead. The external system is a subclass: it says what can be seen, and what a message
that arrives does. Messages may be late (for ever), repeated by a proxy, or lost.

Time is not modelled: whatever needs patience may happen now or never.

What keeps the number of states small, and why nothing is lost by it:

* A controller that has not decided may do so at any time, so one that crashes after deciding, or gives up
  waiting for an answer, is as one that has not decided yet. It therefore never waits, and timeouts cost no
  fault: that allows more than a real one does.
* A write decided upon a version that is no longer the present one can only fail, so it is dropped at once.
* What a controller is about to do is kept without what led to it: only its effect counts.
* Two controllers are the same program: their order means nothing, and is sorted away.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Current, Outcome
from durablejob_controller import decide as deciding
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Offer, Rejected, Sighting, Traits
from durablejob_controller.views import (
    Close,
    Decision,
    Delete,
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
from tests.model.checker import Step
from tests.model.legal import legal
from tests.model.resource import LATER, NOW, Resource, Versions

LONG = 1e9
REFUSAL = Rejected("NoSuchQueue", "there is no such queue")


class Plan:
    """What a controller is about to do. Equal plans are identical."""

    __slots__ = ("arg", "kind", "number", "seen", "target", "then")

    def __init__(self, number: int, kind: str, arg: Any, seen: Resource | None, target: Resource | None, then: Any):
        self.number = number
        self.kind = kind
        self.arg = arg
        self.seen = seen
        self.target = target
        self.then = then

    def __str__(self) -> str:
        if self.target is None:
            return f"{self.kind} {self.arg}" if self.arg is not None else self.kind
        current = self.target.current
        said = "to let the resource go" if self.target.wishes.gone else "nothing yet"
        if current is not None and not self.target.wishes.gone:
            claim = f", claim {current.claim.number} {current.claim.state.value}" if current.claim else ""
            said = f"attempt {current.number} {current.outcome.value if current.outcome else 'goes on'}{claim}"
            said += ", cancel noted" if current.cancel_requested_at and not current.outcome else ""
        return f"a write: {said}" + (f", then {self.then}" if self.then else "")


class Universe(NamedTuple):
    """One state of the whole."""

    resource: Resource
    controllers: tuple[Plan | None, ...]
    outside: Any
    listed: Any = None
    """An older answer of the external system, that a poller may still hold."""
    cached: Resource | None = None
    """An older version of the resource, that a watch cache may still hold."""
    wrong: str | None = None
    """A violation that lies in a step, not in a state."""


@dataclass(frozen=True)
class Options:
    """What may happen in a world, and which precondition is taken away."""

    controllers: int = 1
    cancel: bool = False
    delete: bool = False
    raise_attempt: bool = False
    stale_list: bool = False
    """A poller's old answer may be used as well."""
    old_cache: bool = False
    """A controller may decide on an old version of the resource, with a fresh look at the external system."""
    restore: bool = False
    """The status is rolled back once."""
    reject: bool = False
    """The external system may refuse a submission for certain."""
    upgrade: bool = False
    """What would be submitted may change."""
    deadline: bool = False
    backend_goes: bool = False
    """The backend resource may be missing for a while."""
    policy: DeletionPolicy = DeletionPolicy.CANCEL
    relaunch: bool = False
    """A worker may launch a driver's JVM again."""
    persistent: bool = False
    """What is once sent may arrive at any time and any number of times; otherwise each message is lost, or
    repeated, at the cost of a fault."""
    whole_status: bool = False
    """Versions that differ only in what informs are kept apart."""
    rules: bool = True
    """The CRD's own rules are in force."""
    ablate: str = ""

    def but(self, **changes: Any) -> Options:
        return replace(self, **changes)


class World:
    """The part of the model that does not depend on the external system."""

    traits: Traits

    def __init__(self, options: Options) -> None:
        self.options = options
        self.versions = Versions(policy=options.policy, deadline=options.deadline, whole=options.whole_status)
        self._plans: dict[Hashable, Plan] = {}
        self._choices: dict[Hashable, tuple[Plan, ...]] = {}
        self._wishes: dict[Resource, list[tuple[str, Resource]]] = {}

    # --- what a subclass says ---------------------------------------------------------------------

    def outside(self) -> Any:
        """The external system before anything happened."""
        raise NotImplementedError

    def shows(self, outside: Any, attempt: int) -> Hashable:
        """All that can be seen of an attempt, as a small value."""
        raise NotImplementedError

    def sighting(self, shown: Any, attempt: int) -> Sighting:
        """The same as an answer."""
        raise NotImplementedError

    def message(self, resource: Resource) -> Any:
        """What ``Submit`` sends for this version."""
        raise NotImplementedError

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Any, int]]:
        """What Reserve, Submit, Kill, Close, Release do: (label, outside, faults it takes)."""
        raise NotImplementedError

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        raise NotImplementedError

    def external_violation(self, u: Universe) -> str | None:
        raise NotImplementedError

    def patient(self, u: Universe, current: Current | None) -> bool:
        """The engine's backoff: nothing more is sent for now. Bounds the number of messages on their way."""
        raise NotImplementedError

    def offer(self, outside: Any, resource: Resource) -> Offer | None:
        """What ``reserve`` answers at once; None: it takes a message, or is not possible now."""
        return None

    def site_of(self, outside: Any) -> Hashable:
        """What of ``outside`` the backend's description depends on."""
        return "h"

    # --- the model ----------------------------------------------------------------------------------

    def initial(self) -> Universe:
        first, outside = self.versions.first, self.outside()
        listed = self._lists(outside) if self.options.stale_list else None
        cached = first if self.options.old_cache else None
        return Universe(first, (None,) * self.options.controllers, outside, listed, cached)

    def done(self, u: Universe) -> bool:
        wishes = u.resource.wishes
        if wishes.gone:
            return True
        return u.resource.outcome is not None and u.resource.attempt == wishes.attempt and not wishes.deleting

    def end(self, u: Universe) -> str:
        outcome = u.resource.outcome
        return ("gone after " if u.resource.wishes.gone else "") + (outcome.value if outcome else "orphaning")

    def steps(self, u: Universe) -> Iterator[Step[Universe]]:
        for number, plan in enumerate(u.controllers):
            if plan is None and number and u.controllers[number - 1] is None:
                continue  # as the one before
            yield from self._controller_steps(u, number, plan)
        yield from self.external_steps(u)
        if not u.resource.wishes.gone:
            for label, resource in self._people(u.resource):
                yield Step(label, self.moved(u, resource), healthy=False)
            if self.options.restore and not u.resource.wishes.restored and self.quiet(u):
                resource = self.versions.rolled_back(u.resource)
                yield Step("etcd is restored", self.moved(u, resource), healthy=False, cost=1)
        if self.options.stale_list and (listed := self._lists(u.outside)) != u.listed:
            yield Step("the poller's list arrives", u._replace(listed=listed))
        if self.options.old_cache and u.cached is not u.resource:
            yield Step("the watch event arrives", u._replace(cached=u.resource))

    def quiet(self, u: Universe) -> bool:
        """Whether a restore may happen now: it takes minutes, and nothing is submitted before a person agrees."""
        return True

    def violation(self, u: Universe, faults: int) -> str | None:
        if u.wrong is not None:
            return u.wrong
        if faults == 0 and u.resource.outcome is Outcome.LOST:
            return "Lost recorded although nothing was ever lost"
        return self.external_violation(u)

    def moved(self, u: Universe, resource: Resource) -> Universe:
        """The resource has changed: writes that were decided before can no longer succeed."""
        if resource is u.resource:
            return u
        controllers = u.controllers
        if self.options.ablate != "compare-and-swap":
            controllers = self.in_order(None if p is not None and p.target is not None else p for p in controllers)
        return u._replace(resource=resource, controllers=controllers)

    # --- controllers --------------------------------------------------------------------------------

    @staticmethod
    def in_order(plans: Any) -> tuple[Plan | None, ...]:
        return tuple(sorted(plans, key=lambda p: -1 if p is None else p.number))

    def put(self, u: Universe, number: int, plan: Plan | None) -> Universe:
        controllers = (*u.controllers[:number], plan, *u.controllers[number + 1 :])
        return u._replace(controllers=self.in_order(controllers) if len(controllers) > 1 else controllers)

    def _controller_steps(self, u: Universe, number: int, plan: Plan | None) -> Iterator[Step[Universe]]:
        if plan is None:
            for choice in self._may_decide(u):
                yield Step(f"c{number} decides: {choice}", self.put(u, number, choice))
        elif plan.target is not None and self._submits_first(plan):
            for label, outside, cost in self.act(u, plan.then.kind, plan.then.arg):
                only = self.plan("write", plan.arg, plan.seen, plan.target)
                after = self.put(u, number, only)._replace(outside=outside)
                yield Step(f"c{number}: {label}", after, healthy=not cost, cost=cost)
        elif plan.target is not None:
            yield self._swap(u, number, plan)
        elif plan.kind == "refused":
            yield from self._refused(u, number, plan)
        else:
            yield Step(f"c{number} crashes", self.put(u, number, None), healthy=False, cost=1)
            free = self.put(u, number, None)
            for label, outside, cost in self.act(u, plan.kind, plan.arg):
                yield Step(f"c{number}: {label}", free._replace(outside=outside), healthy=not cost, cost=cost)
            if plan.kind == "Submit" and self.options.reject:
                knows = self.plan("refused", plan.arg)
                yield Step(f"c{number}: {plan} is refused", self.put(u, number, knows), healthy=False, cost=1)

    def _swap(self, u: Universe, number: int, plan: Plan) -> Step[Universe]:
        target, then = plan.target, plan.then
        if u.resource is not plan.seen:  # only without compare-and-swap
            target = self._overwritten(u.resource, plan)
        if target is None:
            return Step(f"c{number}: the API server refuses {plan}", self.put(u, number, None))
        after = self.put(self.moved(u, target), number, then)
        if plan.arg is not None:
            after = after._replace(wrong=f"a status write is not legal: {plan.arg}")
        return Step(f"c{number}: {plan}", after)

    def _submits_first(self, plan: Plan) -> bool:
        """Without the rule that what is submitted was recorded before."""
        if self.options.ablate != "recorded before it is submitted" or plan.then is None or plan.seen is None:
            return False
        return plan.then.kind == "Submit" and (plan.seen.current is None or plan.seen.current.reservation is None)

    def _overwritten(self, resource: Resource, plan: Plan) -> Resource | None:
        """Without compare-and-swap: the write goes through, unless the CRD's own rules stop it."""
        target = plan.target
        if resource.wishes.gone or target is None:
            return None
        if target.wishes.gone or target.job.status is None:
            return target
        if self.options.rules and legal(resource.job, target.job.status) is not None:
            return None
        return self.versions.written(resource, target.job.status)

    def _refused(self, u: Universe, number: int, plan: Plan) -> Iterator[Step[Universe]]:
        """A controller that remembers a definite refusal; it does at once what it then decides."""
        yield Step(f"c{number} forgets the refusal", self.put(u, number, None))
        if u.resource.wishes.gone or u.resource.current is None or u.resource.current.reservation is None:
            return
        if self.message(u.resource) != plan.arg:
            return
        for choice in self._decided(u, u.resource, self.shows(u.outside, u.resource.attempt), True, REFUSAL):
            if choice.target is not None:
                yield Step(f"c{number} decides: {choice}", self.put(u, number, choice))
                continue
            for label, outside, cost in self.act(u, choice.kind, choice.arg):
                if not cost:
                    yield Step(f"c{number}: {label}", u._replace(outside=outside))

    # --- deciding -----------------------------------------------------------------------------------

    def _lists(self, outside: Any) -> Any:
        return self.shows(outside, 1), self.shows(outside, 2)

    def _may_decide(self, u: Universe) -> tuple[Plan, ...]:
        resource = u.resource
        found: tuple[Plan, ...] = ()
        if not resource.wishes.gone:
            found = self._decided(u, resource, self.shows(u.outside, resource.attempt), True)
            if u.listed is not None:
                found += self._decided(u, resource, u.listed[resource.attempt - 1], False)
        old = u.cached
        if old is not None and old is not resource:
            # Of what is decided on an old version, no write can succeed: only actions count.
            plans = self._decided(u, old, self.shows(u.outside, old.attempt), True)
            found += tuple(plan for plan in plans if plan.target is None)
        return tuple(dict.fromkeys(found))

    def _decided(
        self, u: Universe, resource: Resource, shown: Any, fresh: bool, rejected: Rejected | None = None
    ) -> tuple[Plan, ...]:
        outside = u.outside
        offer = self.offer(outside, resource)
        patient = self.patient(u, resource.current)
        key = (resource, shown, fresh, rejected is None, offer, patient, self.site_of(outside))
        if key not in self._choices:
            plans: dict[Plan, None] = {}
            for site, seen, now in self._views(resource, outside, shown, fresh, patient):
                decision = self._decide(resource, site, replace(seen, rejected=rejected), now, offer)
                plan = self._plan_of(resource, decision)
                if plan is not None:
                    plans[plan] = None
            self._choices[key] = tuple(plans)
        return self._choices[key]

    def _views(self, resource: Resource, outside: Any, shown: Any, fresh: bool, patient: bool) -> Iterator[Any]:
        """Whatever a controller may believe to see now, and the times at which it may do so."""
        sighting = self.sighting(shown, resource.attempt)
        believed = fresh or self.options.ablate == "fresh observation"
        hold = LONG if patient else 0.0
        sites: list[Site | NoSite] = [
            Site(uid="b", type="Plugin", cluster_id="c", traits=self.traits, body_hash=str(self.site_of(outside)))
        ]
        if self.options.backend_goes:
            sites.append(NoSite(reasons.backend_not_found("JobBackend", "b", "n"), final=True))
        reserved = resource.current is not None and resource.current.reservation is not None
        times = (NOW, LATER) if self.options.deadline and reserved and resource.outcome is None else (NOW,)
        # A system lists its runs in whatever order.
        for runs in dict.fromkeys((sighting.runs, sighting.runs[::-1])):
            answer = replace(sighting, runs=runs)
            for lasting in (0.0, LONG):
                seen = Seen(sighting=answer, fresh=believed, confirmed=believed, lasting=lasting, hold=hold)
                yield from ((site, seen, now) for site in sites for now in times)

    def _decide(
        self, resource: Resource, site: Site | NoSite, seen: Seen, now: Any, offer: Offer | None
    ) -> Decision:
        decision = deciding.decide(resource.job, site, seen, now)
        if isinstance(decision, Reserve) and offer is not None:
            decision = deciding.decide(resource.job, site, replace(seen, offer=offer), now)
        return decision

    def _plan_of(self, resource: Resource, decision: Decision) -> Plan | None:
        """What the decision comes down to; None: nothing happens."""
        match decision:
            case Wait() | LookUp():
                return None
            case Record(status=status, then=then):
                target = self.versions.written(resource, status)
                if target is resource:
                    return None
                follow = self._plan_of(target, then) if then is not None else None
                return self.plan("write", legal(resource.job, status), resource, target, follow)
            case Unguard():
                return self.plan("write", None, resource, self.versions.changed(resource, gone=True))
            case Delete():
                return self.plan("write", None, resource, self.versions.changed(resource, deleting=True))
            case Submit():
                return self.plan("Submit", self.message(resource))
            case Kill(run=run):
                return self.plan("Kill", run)
            case Close() | Reserve():
                return self.plan(type(decision).__name__, resource.attempt)
            case Release():
                current = resource.current
                assert current is not None
                assert current.reservation is not None
                return self.plan("Release", current.reservation.object_uid)
        raise AssertionError(f"not modelled: {decision}")

    def plan(
        self, kind: str, arg: Any, seen: Resource | None = None, target: Resource | None = None, then: Any = None
    ) -> Plan:
        key = (kind, arg, seen, target, then)
        if key not in self._plans:
            self._plans[key] = Plan(len(self._plans), kind, arg, seen, target, then)
        return self._plans[key]

    # --- people -------------------------------------------------------------------------------------

    def _people(self, resource: Resource) -> list[tuple[str, Resource]]:
        if resource not in self._wishes:
            self._wishes[resource] = list(self._may_wish(resource))
        return self._wishes[resource]

    def _may_wish(self, resource: Resource) -> Iterator[tuple[str, Resource]]:
        wishes, options, changed = resource.wishes, self.options, self.versions.changed
        outcome = resource.outcome if resource.attempt == wishes.attempt else None
        if options.cancel and wishes.cancel != wishes.attempt and outcome is None:
            yield "the user cancels", changed(resource, cancel=wishes.attempt)
        if options.delete and not wishes.deleting:
            yield "the user deletes", changed(resource, deleting=True)
        if options.raise_attempt and wishes.attempt == 1 and outcome is not None and not wishes.deleting:
            accept = 1 if outcome is Outcome.LOST else 0
            raised = changed(resource, attempt=2, accept_lost=accept, before=outcome)
            yield "the attempt is raised to 2", raised
