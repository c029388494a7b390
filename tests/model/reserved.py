"""The worlds of reserved ids: YARN behind the start gate, YARN behind a staging fence, and the ``fake`` backend.

A POST of an id that the ResourceManager knows does nothing; of one that it has forgotten, it runs again under
a new startedTime. It evicts completed applications, and restarts with or without recovery, which a restart may also
switch on or off. Whether a life knows what another had accepted is asked of the backend's own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from durablejob_api.status import Current, Outcome
from durablejob_controller.backends.contract import Identity, Offer, Sighting, Traits
from durablejob_controller.backends.yarn.managers import Info
from tests.model.checker import Step
from tests.model.drivers import Driver, DriverWorld, Outside, at
from tests.model.resource import Resource
from tests.model.universe import Plan, Universe


@lru_cache
def info(life: int, store: bool) -> Info:
    """What this life says of itself."""
    return Info.model_validate({"startedOn": life, "rmStateStoreName": "x.ZKRMStateStore" if store else ""})


def of(out: Outside) -> Info:
    return info(out.incarnation, out.store)


class ReservedWorld(DriverWorld):
    """What the three have in common."""

    staging: str | None = None
    """What an offer says of a staging area."""
    recovery = True
    """The first life keeps what it accepts."""

    def outside(self) -> Outside:
        return Outside(store=self.recovery)

    def sighting(self, shown: Any, resource: Resource) -> Sighting:
        life = info(*shown[1])
        reservation = resource.current.reservation if resource.current is not None else None
        known = reservation is not None and life.knows(reservation.incarnation)
        return replace(super().sighting(shown, resource), incarnation=life.life, remembers=known)

    def start_of(self, d: Driver) -> str | None:
        fleeting = d.jvm == "new" and self.options.ablate != "what is not saved yet has no start"
        return None if fleeting else super().start_of(d)

    def offer(self, outside: Outside, resource: Resource) -> Offer:
        """A reserved id without a record of it has no effect, so all controllers may be offered the same one."""
        return Offer(
            application_id=self.id_of(resource, resource.attempt),
            incarnation=of(outside).life,
            staging=self.staging,
        )

    def answers(self, sighting: Sighting) -> Iterator[tuple[Sighting, bool]]:
        """A batch knows nothing of the fence, and may leave out what has ended."""
        yield from super().answers(sighting)
        if (
            self.options.ablate == "the answer tells whether it remembers"
            and sighting.incarnation != of(self.outside()).life
        ):
            yield replace(sighting, remembers=False), True  # as the last probe had it, which has failed
        yield Sighting(tuple(run for run in sighting.runs if run.active), sighting.incarnation), False

    @staticmethod
    def id_of(resource: Resource, attempt: int) -> str:
        return f"a{attempt}" + ("r" if resource.wishes.restored else "")

    def message(self, resource: Resource) -> tuple[int, int, str, str]:
        current = resource.current
        assert current is not None
        assert current.reservation is not None
        claim = current.claim.number if current.claim is not None else 0
        return current.number, claim, current.reservation.application_id or "", current.reservation.incarnation

    def patient(self, u: Universe, current: Current | None) -> bool:
        """No third copy while two are on their way."""
        if current is None or current.reservation is None:
            return False
        name = current.reservation.application_id
        out: Outside = u.outside
        return [m[2] for m in out.net].count(name) >= 2

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Outside, int]]:
        out: Outside = u.outside
        if kind == "Submit":
            if self.doomed(u.resource, arg[0]):
                yield f"POST {arg}", out, 0
            elif not of(out).knows(arg[3]):
                yield f"POST {arg} is not sent to another life", out, 0
            elif self.options.persistent and arg in out.net:
                yield f"POST {arg}, again", out, 0
            else:
                yield f"POST {arg}", out._replace(net=tuple(sorted((*out.net, arg)))), 0
        elif kind == "Close":
            attempt, seen = arg
            fence = out.fences[attempt - 1]
            if fence in ("there", "closed"):
                fence = f"seen {seen}" if seen else "closed"
            label = f"closes the fence of attempt {attempt}{f', having seen {seen}' if seen else ''}"
            yield label, out._replace(fences=at(out.fences, attempt, fence)), 0
        elif kind == "Release":
            yield f"sweeps what is left of attempt {arg}", out._replace(fences=at(out.fences, arg, "gone")), 0
        elif kind == "Kill":
            for d in out.drivers:
                if d.name == arg and d.known == "active":
                    yield f"kill {arg}", self.with_driver(u, d, d._replace(jvm="dead", known="killed")).outside, 0
                    return
            yield f"kill {arg}: nothing to kill", out, 0

    def accept(self, u: Universe, out: Outside, message: Any) -> tuple[str, Outside]:
        attempt, claim, name, _ = message
        runs = [d for d in out.drivers if d.name == name]
        if self.doomed(u.resource, attempt) or any(d.known != "forgotten" for d in runs):
            return f"POST {name}: already known", out
        life = 1 + max((d.life for d in runs), default=-1)
        drivers = tuple(sorted((*out.drivers, Driver(attempt, claim, name, life, self.first))))
        return f"the ResourceManager accepts {name}, run {life}", out._replace(drivers=drivers)

    first = "new"
    """What an accepted application is at first."""

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        if d.jvm == "new":
            yield Step(f"{d.name}.{d.life} is saved", self.with_driver(u, d, d._replace(jvm="begins")))
            return
        yield from super().driver_steps(u, d)
        if d.known not in ("active", "forgotten") and self.may_evict(u, d):
            forgotten = self.with_driver(u, d, d._replace(known="forgotten"))
            yield Step(f"the completed {d.name} is evicted", forgotten, healthy=False, cost=1)

    def may_evict(self, u: Universe, d: Driver) -> bool:
        return True

    def quiet(self, u: Universe) -> bool:
        """A fence guards one reservation, the gate all: without it, what was submitted must have arrived by then."""
        if self.traits.gated:
            return True
        out: Outside = u.outside
        waiting = any(plan is not None for plan in u.controllers)
        return not waiting and not out.net and not any(d.jvm in ("new", "begins") for d in out.drivers)

    def restarts(self, u: Universe, store: bool) -> Iterator[Step[Universe]]:
        """The ResourceManager restarts, now with a store or without.

        Where both lives have it, what was saved is known as before, and what was only just accepted may be gone.
        """
        out: Outside = u.outside
        after = out._replace(incarnation=out.incarnation + 1, store=store)
        if not (out.store and store):
            left = sorted({d._replace(known="forgotten") for d in out.drivers if d.jvm != "new"})
            words = f"a restart without memory{', which switches recovery on' if store else ''}"
            yield Step(words, u._replace(outside=after._replace(drivers=tuple(left))), healthy=False, cost=1)
            return
        yield Step("a restart", u._replace(outside=after), healthy=False, cost=1)
        for d in out.drivers:
            if d.jvm == "new":
                lost = self.with_driver(u._replace(outside=after), d, None)
                yield Step(f"a restart loses {d.name}, just accepted", lost, healthy=False, cost=1)

    def external_violation(self, u: Universe) -> str | None:
        """Nor is anything lost for nothing, where every life has kept what it accepted."""
        current, out = u.resource.current, u.outside
        if self.recovery and out.store and current is not None and not u.resource.wishes.restored:
            accepted = any(d.attempt == current.number and d.jvm != "new" for d in out.drivers)
            if current.outcome is Outcome.LOST and not accepted:
                return "Lost recorded, and nothing was ever accepted"
        return super().external_violation(u)


class GateWorld(ReservedWorld):
    """YARN with the gate; recovery on, or off."""

    def __init__(self, options: Any, recovery: bool = True) -> None:
        super().__init__(options)
        self.recovery = recovery
        self.traits = Traits(identity=Identity.RESERVED_ID, gated=True)

    def shows(self, outside: Outside, attempt: int) -> Any:
        return super().shows(outside._replace(fences=("there", "there")), attempt)

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        yield from super().external_steps(u)
        yield from self.restarts(u, u.outside.store)


class StagingWorld(ReservedWorld):
    """YARN with recovery, behind a file that a container must localize.

    Stated assumption: no application of ours is evicted before it has ended cleanly, or its fence is closed by who has
    seen it, then or before. (``assume=False`` drops it.)
    """

    traits = Traits(identity=Identity.RESERVED_ID, gated=False)
    staging = "folder"

    def __init__(self, options: Any, assume: bool = True, recovery: bool = True) -> None:
        super().__init__(options)
        self.assume = assume
        self.recovery = recovery

    def pointless(self, plan: Plan, resource: Resource, outside: Outside) -> bool:
        """Behind the closed fence of an attempt that is over nothing has an effect."""
        attempt = plan.arg[0] if plan.kind in ("Submit", "Close") else resource.attempt
        return attempt < resource.attempt and outside.fences[attempt - 1] != "there"

    def tidy(self, resource: Resource, out: Outside) -> Outside:
        shut = [n for n in range(1, resource.attempt) if out.fences[n - 1] != "there"]
        if not shut:
            return out
        net = tuple(m for m in out.net if m[0] not in shut)
        drivers = tuple(d for d in out.drivers if d.attempt not in shut or d.jvm == "program")
        return out._replace(net=net, drivers=drivers)

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        yield from super().external_steps(u)
        yield from self.restarts(u, u.outside.store)

    def begin(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        out: Outside = u.outside
        if out.fences[d.attempt - 1] == "there":
            yield Step(f"{d.name}.{d.life} finds its files and starts", self.started(u, d))
        else:
            known = "refused" if d.known == "active" else d.known
            refused = self.with_driver(u, d, d._replace(jvm="dead", known=known))
            yield Step(f"{d.name}.{d.life} is refused, -1000", refused)

    def ended(self, u: Universe, d: Driver, well: bool) -> Universe:
        """Spark takes its staging folder with it, unless the ApplicationMaster crashes."""
        after = super().ended(u, d, well)
        out: Outside = after.outside
        fence = out.fences[d.attempt - 1]
        return after._replace(
            outside=out._replace(fences=at(out.fences, d.attempt, "gone" if fence == "there" else fence))
        )

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        yield from super().driver_steps(u, d)
        if d.jvm == "program":
            crashed = self.with_driver(u, d, self.dead(d, False))
            yield Step(f"the ApplicationMaster of {d.name} crashes", crashed, healthy=False, cost=1)

    def may_evict(self, u: Universe, d: Driver) -> bool:
        if not self.assume:
            return True
        fence, current = u.outside.fences[d.attempt - 1], u.resource.current
        recorded = current is None or current.number != d.attempt or current.run_started_time is not None
        return fence == "gone" or fence.startswith("seen") or (fence == "closed" and (recorded or d.known == "refused"))


class GenericWorld(StagingWorld):
    """The same with applications that know nothing of their staging folder, and leave it where it is."""

    def ended(self, u: Universe, d: Driver, well: bool) -> Universe:
        return super(StagingWorld, self).ended(u, d, well)


class PromptWorld(ReservedWorld):
    """What is sent arrives at once, or never."""

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Outside, int]]:
        if kind != "Submit" or not of(u.outside).knows(arg[3]):
            yield from super().act(u, kind, arg)
            return
        label, out = self.accept(u, u.outside, arg)
        yield label, out, 0
        yield f"{label}, the answer is lost", out, 1
        yield f"POST {arg[2]} is lost", u.outside, 1


class SwitchedWorld(PromptWorld, StagingWorld):
    """Restarts switch recovery on, or off, behind the staging fence.

    Without recovery that fence is sound only where nothing is late. And a store that is left and taken up again is not
    looked for: that nothing was accepted meanwhile, nobody can see; it is assumed.
    """

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        yield from super().external_steps(u)
        if u.outside.store == self.recovery:
            yield from self.restarts(u, not self.recovery)


class FakeWorld(PromptWorld):
    """The shipped ``fake``: a perfect memory while its process lives, which is the controller's own."""

    traits = Traits(identity=Identity.RESERVED_ID, gated=False)
    recovery = False
    first = "begins"

    def accept(self, u: Universe, out: Outside, message: Any) -> tuple[str, Outside]:
        if out.fences[message[0] - 1] != "there":
            return f"POST {message[2]}: closed", out
        return super().accept(u, out, message)

    def begin(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        yield Step(f"{d.name} starts", self.started(u, d))

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        for step in super().driver_steps(u, d):
            if not step.cost:  # it neither loses sight of anything nor evicts
                yield step

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        yield from super().external_steps(u)
        out: Outside = u.outside
        if out.drivers or out.fences != ("there", "there"):
            fresh = out._replace(drivers=(), fences=("there", "there"), incarnation=out.incarnation + 1)
            after = u._replace(outside=fresh, controllers=(None,))  # nor do those who were about to act live on
            yield Step("the process ends, and with it the cluster", after, healthy=False, cost=1)
