"""The worlds of reserved ids: YARN behind the start gate, YARN behind a staging fence, and the ``fake`` backend.

A POST of an id that the ResourceManager knows does nothing; of one that it has forgotten, it runs again under
a new startedTime. It evicts completed applications, and restarts with or without recovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from durablejob_api.status import Current
from durablejob_controller.backends.contract import Identity, Offer, Sighting, Traits
from tests.model.checker import Step
from tests.model.drivers import Driver, DriverWorld, Outside, at
from tests.model.resource import Resource
from tests.model.universe import Plan, Universe


class ReservedWorld(DriverWorld):
    """What the three have in common."""

    staging: str | None = None
    """What an offer says of a staging area."""

    def offer(self, outside: Outside, resource: Resource) -> Offer:
        """A reserved id without a record of it has no effect, so all controllers may be offered the same one."""
        return Offer(
            application_id=self.id_of(resource, resource.attempt),
            incarnation=str(outside.incarnation),
            staging=self.staging,
        )

    def answers(self, sighting: Sighting) -> Iterator[tuple[Sighting, bool]]:
        """A batch knows nothing of the fence, and may leave out what has ended."""
        yield from super().answers(sighting)
        yield Sighting(tuple(run for run in sighting.runs if run.active), sighting.incarnation), False

    @staticmethod
    def id_of(resource: Resource, attempt: int) -> str:
        return f"a{attempt}" + ("r" if resource.wishes.restored else "")

    def message(self, resource: Resource) -> tuple[int, int, str]:
        current = resource.current
        assert current is not None
        assert current.reservation is not None
        claim = current.claim.number if current.claim is not None else 0
        return current.number, claim, current.reservation.application_id or ""

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
            elif self.options.persistent and arg in out.net:
                yield f"POST {arg}, again", out, 0
            else:
                yield f"POST {arg}", out._replace(net=tuple(sorted((*out.net, arg)))), 0
        elif kind == "Close":
            fence = out.fences[arg - 1]
            closed = "closed" if fence == "there" else fence
            yield f"closes the fence of attempt {arg}", out._replace(fences=at(out.fences, arg, closed)), 0
        elif kind == "Release":
            yield f"sweeps what is left of attempt {arg}", out._replace(fences=at(out.fences, arg, "gone")), 0
        elif kind == "Kill":
            for d in out.drivers:
                if d.name == arg and d.known == "active":
                    yield f"kill {arg}", self.with_driver(u, d, d._replace(jvm="dead", known="killed")).outside, 0
                    return
            yield f"kill {arg}: nothing to kill", out, 0

    def accept(self, u: Universe, out: Outside, message: Any) -> tuple[str, Outside]:
        attempt, claim, name = message
        runs = [d for d in out.drivers if d.name == name]
        if self.doomed(u.resource, attempt) or any(d.known != "forgotten" for d in runs):
            return f"POST {name}: already known", out
        life = 1 + max((d.life for d in runs), default=-1)
        drivers = tuple(sorted((*out.drivers, Driver(attempt, claim, name, life))))
        return f"the ResourceManager accepts {name}, run {life}", out._replace(drivers=drivers)

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
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
        return not waiting and not out.net and not any(d.jvm == "begins" for d in out.drivers)


class GateWorld(ReservedWorld):
    """YARN with the gate; recovery on, or off."""

    def __init__(self, options: Any, recovery: bool = True) -> None:
        super().__init__(options)
        self.recovery = recovery
        self.traits = Traits(identity=Identity.RESERVED_ID, gated=True, remembers=recovery)

    def shows(self, outside: Outside, attempt: int) -> Any:
        return super().shows(outside._replace(fences=("there", "there")), attempt)

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        yield from super().external_steps(u)
        yield from restarts(self, u, self.recovery)


def restarts(world: DriverWorld, u: Universe, recovery: bool) -> Iterator[Step[Universe]]:
    """The ResourceManager restarts; with recovery it may still lose what it has only just accepted."""
    out: Outside = u.outside
    if recovery:
        for d in out.drivers:
            if d.jvm == "begins" and d.known == "active":
                lost = world.with_driver(u, d, d._replace(jvm="dead", known="forgotten"))
                yield Step(f"a restart loses {d.name}, just accepted", lost, healthy=False, cost=1)
    elif out.drivers:
        drivers = tuple(sorted({d._replace(known="forgotten") for d in out.drivers}))
        after = u._replace(outside=out._replace(drivers=drivers, incarnation=out.incarnation + 1))
        yield Step("a restart without recovery", after, healthy=False, cost=1)


class StagingWorld(ReservedWorld):
    """YARN with recovery, behind a file that a container must localize.

    Stated assumption: no application of ours is evicted before we have seen it, and closed its fence or it has
    ended cleanly. (``assume=False`` drops it.)
    """

    traits = Traits(identity=Identity.RESERVED_ID, gated=False)
    staging = "folder"

    def __init__(self, options: Any, assume: bool = True, recovery: bool = True) -> None:
        super().__init__(options)
        self.assume = assume
        self.recovery = recovery

    def pointless(self, plan: Plan, resource: Resource, outside: Outside) -> bool:
        """Behind the closed fence of an attempt that is over nothing has an effect."""
        attempt = plan.arg[0] if plan.kind == "Submit" else plan.arg if plan.kind == "Close" else resource.attempt
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
        yield from restarts(self, u, self.recovery)

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
        current = u.resource.current
        over = current is None or current.number > d.attempt or current.outcome is not None
        seen = current is not None and current.number == d.attempt and current.run_started_time is not None
        return u.outside.fences[d.attempt - 1] != "there" and (seen or over)


class FakeWorld(ReservedWorld):
    """The shipped ``fake``: a perfect memory while its process lives, which is the controller's own."""

    traits = Traits(identity=Identity.RESERVED_ID, gated=False, remembers=False)

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Outside, int]]:
        if kind != "Submit":
            yield from super().act(u, kind, arg)
            return
        label, out = self.accept(u, u.outside, arg)  # nothing can be on its way
        yield label, out, 0
        yield f"{label}, the answer is lost", out, 1
        yield f"POST {arg[2]} is lost", u.outside, 1

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
