"""What a controller may decide: the real ``decide``, on everything that it may believe to see."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Any

from durablejob_api.status import Current
from durablejob_controller import decide as deciding
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Deferred, Offer, Rejected, Sighting, Traits
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
from tests.model.legal import legal
from tests.model.resource import LATER, NOW, Resource, Versions
from tests.model.universe import Options, Plan, Universe

LONG = 1e9


class Minds:
    """The part of the model that runs the real ``decide``; every decision is worked out once."""

    traits: Traits

    def __init__(self, options: Options) -> None:
        self.options = options
        self.versions = Versions(policy=options.policy, deadline=options.deadline, whole=options.whole_status)
        self._plans: dict[Hashable, Plan] = {}
        self._choices: dict[Hashable, tuple[Plan, ...]] = {}

    # --- what a world says ----------------------------------------------------------------------------

    def shows(self, outside: Any, attempt: int) -> Hashable:
        """All that can be seen of an attempt, as a small value."""
        raise NotImplementedError

    def sighting(self, shown: Any, resource: Resource) -> Sighting:
        """The same as an answer to who asks for this version's attempt."""
        raise NotImplementedError

    def message(self, resource: Resource) -> Any:
        """What ``Submit`` sends for this version."""
        raise NotImplementedError

    def patient(self, u: Universe, current: Current | None) -> bool:
        """The engine's backoff: nothing more is sent for now. Bounds the number of messages on their way."""
        raise NotImplementedError

    def offer(self, outside: Any, resource: Resource) -> Offer | None:
        """What ``reserve`` answers at once; None: it takes a message, or is not possible now."""
        return None

    def deferred(self, outside: Any) -> Deferred | None:
        """What ``reserve`` answers where there is no room."""
        return None

    def site_of(self, outside: Any) -> Hashable:
        """What of ``outside`` the backend's description depends on."""
        return "h"

    def held(self, resource: Resource) -> bool:
        """A restore of etcd was noticed, and nobody has agreed that anything may begin."""
        return self.options.noticed and resource.wishes.restored

    # --- deciding -----------------------------------------------------------------------------------

    def lists(self, outside: Any) -> Any:
        return self.shows(outside, 1), self.shows(outside, 2)

    def may_decide(self, u: Universe) -> tuple[Plan, ...]:
        resource = u.resource
        found: tuple[Plan, ...] = ()
        if not resource.wishes.gone:
            found = self.decided(u, resource, self.shows(u.outside, resource.attempt), True)
            if u.listed is not None:
                found += self.decided(u, resource, u.listed[resource.attempt - 1], False)
        old = u.cached
        if old is not None and old is not resource:
            # Of what is decided on an old version, no write can succeed: only actions count.
            plans = self.decided(u, old, self.shows(u.outside, old.attempt), True)
            found += tuple(plan for plan in plans if plan.target is None)
        return tuple(dict.fromkeys(found))

    def decided(
        self, u: Universe, resource: Resource, shown: Any, fresh: bool, rejected: Rejected | None = None
    ) -> tuple[Plan, ...]:
        outside = u.outside
        offer = self.offer(outside, resource)
        patient = self.patient(u, resource.current)
        room = self.deferred(outside) is None
        key = (resource, shown, fresh, rejected is None, offer, patient, room, self.site_of(outside))
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
        sighting = self.sighting(shown, resource)
        believed = fresh or self.options.ablate == "fresh observation"
        hold = LONG if patient else 0.0
        why = reasons.storage_rolled_back("b", "1") if self.held(resource) else None
        body = str(self.site_of(outside))
        sites: list[Site | NoSite] = [
            Site(uid="b", type="Plugin", cluster_id="c", traits=self.traits, body_hash=body, held=why)
        ]
        if self.options.backend_goes:
            sites.append(NoSite(reasons.backend_not_found("JobBackend", "b", "n"), final=True))
        reserved = resource.current is not None and resource.current.reservation is not None
        patience_ends = (self.options.deadline or self.options.slow) and reserved and resource.outcome is None
        times = (NOW, LATER) if patience_ends else (NOW,)
        deferred = self.deferred(outside)
        for answer, exact in self.answers(sighting):
            for lasting in (0.0, LONG):
                confirmed = believed and exact
                seen = Seen(sighting=answer, fresh=believed, confirmed=confirmed, lasting=lasting, hold=hold)
                yield from ((site, seen, now) for site in sites for now in times)
                if deferred is not None and not reserved:
                    told = replace(seen, deferred=deferred, hold=LONG)
                    yield from ((site, told, now) for site in sites for now in times)

    def answers(self, sighting: Sighting) -> Iterator[tuple[Sighting, bool]]:
        """What one look may show, and whether it was an exact one. A system lists its runs in whatever order."""
        for runs in dict.fromkeys((sighting.runs, sighting.runs[::-1])):
            yield replace(sighting, runs=runs), True

    def _decide(self, resource: Resource, site: Site | NoSite, seen: Seen, now: Any, offer: Offer | None) -> Decision:
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
            case Close(seen=seen):
                return self.plan("Close", (resource.attempt, seen))
            case Reserve():
                return self.plan("Reserve", resource.attempt)
            case Release():
                current = resource.current
                assert current is not None
                assert current.reservation is not None
                return self.plan("Release", current.reservation.object_uid or current.number)
        raise AssertionError(f"not modelled: {decision}")

    def plan(
        self, kind: str, arg: Any, seen: Resource | None = None, target: Resource | None = None, then: Any = None
    ) -> Plan:
        key = (kind, arg, seen, target, then)
        if key not in self._plans:
            self._plans[key] = Plan(len(self._plans), kind, arg, seen, target, then)
        return self._plans[key]
