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
from typing import Any

from durablejob_api.status import Outcome
from durablejob_controller.backends.contract import Rejected
from tests.model.checker import Step
from tests.model.legal import legal
from tests.model.minds import Minds
from tests.model.resource import Resource
from tests.model.universe import Options, Plan, Universe

REFUSAL = Rejected("NoSuchQueue", "there is no such queue")


class World(Minds):
    """The part of the model that does not depend on the external system."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._wishes: dict[Resource, list[tuple[str, Resource]]] = {}
        self._outer: dict[Hashable, list[Step[Universe]]] = {}

    # --- what a subclass says ---------------------------------------------------------------------

    def outside(self) -> Any:
        """The external system before anything happened."""
        raise NotImplementedError

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Any, int]]:
        """What Reserve, Submit, Kill, Close, Release do: (label, outside, faults it takes)."""
        raise NotImplementedError

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        raise NotImplementedError

    def external_violation(self, u: Universe) -> str | None:
        raise NotImplementedError

    # --- the model ----------------------------------------------------------------------------------

    def initial(self) -> Universe:
        first, outside = self.versions.first, self.outside()
        listed = self.lists(outside) if self.options.stale_list else None
        cached = first if self.options.old_cache else None
        return Universe(first, (None,) * self.options.controllers, outside, listed, cached)

    def done(self, u: Universe) -> bool:
        wishes = u.resource.wishes
        if wishes.gone or self.held(u.resource):
            return True  # what is held waits for a person, and what a person lets run is his
        return u.resource.outcome is not None and u.resource.attempt == wishes.attempt and not wishes.deleting

    def end(self, u: Universe) -> str:
        outcome = u.resource.outcome
        if self.held(u.resource) and outcome is None and not u.resource.wishes.gone:
            return "held"
        return ("gone after " if u.resource.wishes.gone else "") + (outcome.value if outcome else "orphaning")

    def steps(self, u: Universe) -> Iterator[Step[Universe]]:
        for label, to, healthy, cost in self._steps(u):
            yield Step(label, self.settled(to), healthy, cost)

    def _steps(self, u: Universe) -> Iterator[Step[Universe]]:
        for number, plan in enumerate(u.controllers):
            if plan is None and number and u.controllers[number - 1] is None:
                continue  # as the one before
            yield from self._controller_steps(u, number, plan)
        yield from self._external(u)
        if not u.resource.wishes.gone:
            for label, resource in self._people(u.resource):
                yield Step(label, u._replace(resource=resource), healthy=False)
            if self.options.restore and not u.resource.wishes.restored and self.quiet(u):
                resource = self.versions.rolled_back(u.resource)
                outside = self.forgetting(u.outside) if self.options.noticed else u.outside
                after = u._replace(resource=resource, outside=outside)
                yield Step("etcd is restored", after, healthy=False, cost=1)
        if self.options.stale_list and (listed := self.lists(u.outside)) != u.listed:
            yield Step("the poller's list arrives", u._replace(listed=listed))
        if self.options.old_cache and u.cached is not u.resource:
            yield Step("the watch event arrives", u._replace(cached=u.resource))

    def _external(self, u: Universe) -> Iterator[Step[Universe]]:
        """What happens outside does not depend on what the controllers think, so it is worked out once."""
        key = (u.resource, u.outside)
        known = self._outer.get(key)
        if known is None:
            known = self._outer[key] = list(self.external_steps(Universe(u.resource, (), u.outside)))
        _, controllers, _, listed, cached, _ = u
        for label, to, healthy, cost in known:
            plans = controllers if to.controllers == () else (None,) * len(controllers)
            yield Step(label, Universe(to.resource, plans, to.outside, listed, cached, to.wrong), healthy, cost)

    def settled(self, u: Universe) -> Universe:
        """The one state that stands for all that differ from ``u`` in what means nothing."""
        resource, controllers, outside, listed, cached, wrong = u
        plans = [plan for plan in controllers if plan is not None and not self._idle(plan, resource, outside)]
        if len(plans) > 1:
            plans.sort(key=lambda plan: plan.number)
        ordered = (*plans, *[None] * (len(controllers) - len(plans)))
        return self.tidied(Universe(resource, ordered, outside, listed, cached, wrong))

    def _idle(self, plan: Plan, resource: Resource, outside: Any) -> bool:
        if plan.target is not None:
            return plan.seen is not resource and self.options.ablate != "compare-and-swap"
        return self.pointless(plan, resource, outside)

    def pointless(self, plan: Plan, resource: Resource, outside: Any) -> bool:
        """Whether this action can have no effect any more."""
        return False

    def tidied(self, u: Universe) -> Universe:
        """``u`` without what can no longer be seen or do harm, and with canonical names."""
        return u

    def quiet(self, u: Universe) -> bool:
        """Whether a restore may happen now: it takes minutes, and nothing is submitted before a person agrees."""
        return True

    def forgetting(self, outside: Any) -> Any:
        """``outside`` without all that has ended."""
        raise NotImplementedError

    def violation(self, u: Universe, faults: int) -> str | None:
        if u.wrong is not None:
            return u.wrong
        if faults == 0 and u.resource.outcome is Outcome.LOST:
            return "Lost recorded although nothing was ever lost"
        return self.external_violation(u)

    # --- controllers --------------------------------------------------------------------------------

    @staticmethod
    def put(u: Universe, number: int, plan: Plan | None) -> Universe:
        resource, controllers, outside, listed, cached, wrong = u
        plans = (*controllers[:number], plan, *controllers[number + 1 :])
        return Universe(resource, plans, outside, listed, cached, wrong)

    def _controller_steps(self, u: Universe, number: int, plan: Plan | None) -> Iterator[Step[Universe]]:
        if plan is None:
            for choice in self.may_decide(u):
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
            if plan.kind in ("Submit", "Reserve") and self.options.reject:
                knows = self.plan("refused", (plan.kind, plan.arg))
                yield Step(f"c{number}: {plan} is refused", self.put(u, number, knows), healthy=False, cost=1)

    def _swap(self, u: Universe, number: int, plan: Plan) -> Step[Universe]:
        target, then = plan.target, plan.then
        if u.resource is not plan.seen:  # only without compare-and-swap
            target = self._overwritten(u.resource, plan)
        if target is None:
            return Step(f"c{number}: the API server refuses {plan}", self.put(u, number, None))
        after = self.put(u._replace(resource=target), number, then)
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
        kind, arg = plan.arg
        current = u.resource.current
        reserved = current is not None and current.reservation is not None
        if u.resource.wishes.gone or reserved is (kind == "Reserve"):
            return
        if arg != (self.message(u.resource) if reserved else u.resource.attempt):
            return
        for choice in self.decided(u, u.resource, self.shows(u.outside, u.resource.attempt), True, REFUSAL):
            if choice.target is not None:
                yield Step(f"c{number} decides: {choice}", self.put(u, number, choice))
                continue
            for label, outside, cost in self.act(u, choice.kind, choice.arg):
                if not cost:
                    yield Step(f"c{number}: {label}", u._replace(outside=outside))

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
