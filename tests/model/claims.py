"""The world of Spark standalone: the Master mints ids, the start gate's claim names the winner.

Drivers may be created late, twice, or under a revoked claim; their JVM may be launched again under the same
id; the Master may forget them or lose sight of them while they live; the gate may be unreachable; the
winner's report of its end may be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from durablejob_api.status import Current
from durablejob_controller.backends.contract import Identity, Traits
from tests.model.checker import Step
from tests.model.drivers import Driver, DriverWorld, Outside
from tests.model.resource import Resource
from tests.model.universe import Universe


class ClaimWorld(DriverWorld):
    """Identity.CLAIM."""

    traits = Traits(identity=Identity.CLAIM, gated=True)
    minted = True

    def message(self, resource: Resource) -> tuple[int, int]:
        current = resource.current
        assert current is not None
        assert current.claim is not None
        return current.number, current.claim.number

    def patient(self, u: Universe, current: Current | None) -> bool:
        """A second submission may follow while the first is on its way or still to be sent, a third not."""
        if current is None or current.claim is None or current.claim.number < 2:
            return False
        message = current.number, current.claim.number
        return message in u.outside.net or any(p is not None and p.arg == message for p in u.controllers)

    def act(self, u: Universe, kind: str, arg: Any) -> Iterator[tuple[str, Outside, int]]:
        out: Outside = u.outside
        if kind == "Submit" and self.doomed(u.resource, arg[0]):
            yield f"POST {arg}", out, 0
        elif kind == "Submit":
            yield f"POST {arg}", out._replace(net=tuple(sorted((*out.net, arg)))), 0
        elif kind == "Kill":
            for d in out.drivers:
                if d.name == arg and d.known == "active":
                    yield f"kill {arg}", self.with_driver(u, d, d._replace(jvm="dead", known="killed")).outside, 0
                    return
            yield f"kill {arg}: nothing to kill", out, 0

    def accept(self, u: Universe, out: Outside, message: Any) -> tuple[str, Outside]:
        """A new driver; its id is given by ``tidied``."""
        if self.doomed(u.resource, message[0]):
            return f"the Master accepts {message}", out
        drivers = (*out.drivers, Driver(message[0], message[1], "d-new"))
        return f"the Master accepts {message}", out._replace(drivers=drivers)

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        yield from super().driver_steps(u, d)
        if d.known == "active":
            forgotten = self.with_driver(u, d, d._replace(known="forgotten"))
            yield Step(f"{d.name} is forgotten by a restarted Master", forgotten, healthy=False, cost=1)

    def spent(self, d: Driver, resource: Resource) -> bool:
        return super().spent(d, resource) or (not d.alive and d.known == "forgotten")

    def tidied(self, u: Universe) -> Universe:
        """With drivers named anew, those that nothing refers to in the order of what they are.

        Which of two drivers has the smaller number means nothing, so states that differ by that are one.
        """
        fixed = tuple(_referred(u))
        key = (u.resource.attempt, u.outside, fixed)
        tidy = self._tidy.get(key)
        if tidy is None:
            tidy = self._tidy[key] = _named(self.tidy(u.resource, u.outside), fixed)
        return Universe(u.resource, u.controllers, tidy, u.listed, u.cached, u.wrong)


def _named(out: Outside, fixed: tuple[str, ...]) -> Outside:
    free = sorted(d._replace(name="") for d in out.drivers if d.name not in fixed)
    names = (name for name in (f"d{n}" for n in range(100)) if name not in fixed)
    drivers = [d for d in out.drivers if d.name in fixed] + [d._replace(name=next(names)) for d in free]
    return out._replace(drivers=tuple(sorted(drivers)))


def _referred(u: Universe) -> Iterator[str]:
    """Driver ids that something other than the Master refers to."""
    for resource in (u.resource, u.cached):
        if resource is not None and resource.current is not None and resource.current.claim is not None:
            yield resource.current.claim.driver or ""
    for plan in u.controllers:
        for part in (plan, plan.then if plan is not None else None):
            if part is not None and part.kind == "Kill":
                yield part.arg
    if u.listed is not None:
        yield from (name for drivers, *_ in u.listed for name, *_ in drivers)
