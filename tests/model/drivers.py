"""Programs in JVMs, behind the start gate or a staging fence: what the worlds of claims and of ids share."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from durablejob_api.spec import DeletionPolicy
from durablejob_api.status import Ending
from durablejob_controller import claims as gate
from durablejob_controller.backends.contract import Phase, Run, Sighting, Verdict
from durablejob_controller.claims import ClaimId, Granted, wishes_end
from tests.model.checker import Step
from tests.model.invariants import outcome_violation, overlaps
from tests.model.legal import legal
from tests.model.resource import NOW, UID, Resource
from tests.model.universe import Options, Plan, Universe
from tests.model.world import World


class Driver(NamedTuple):
    """One accepted submission, and its JVM."""

    attempt: int
    claim: int
    name: str
    """Its id; several drivers may have the same where ids are reserved."""
    life: int = 0
    """Which run under this id (its startedTime); or, where ids are minted, which JVM."""
    jvm: str = "begins"
    """new (accepted, and not saved yet), begins (then asks for leave, or for its files), program (runs), tail0, tail1
    (its end is reported), exit0, exit1 (the same by System.exit), dead."""
    known: str = "active"
    """What the system knows of it: active, finished, failed, killed, refused, error, forgotten."""

    @property
    def alive(self) -> bool:
        return self.jvm != "dead"


class Outside(NamedTuple):
    """The system, its drivers, and what is on its way to it."""

    net: tuple[Any, ...] = ()
    drivers: tuple[Driver, ...] = ()
    starts: tuple[int, int] = (0, 0)
    succeeded: tuple[bool, bool] = (False, False)
    """Whether a program of each attempt has truly ended with 0."""
    incarnation: int = 0
    store: bool = False
    """This life keeps what it accepts for the next one (recovery is on)."""
    fences: tuple[str, str] = ("there", "there")
    """there, closed (by us: renamed to a tombstone), seen t0 (closed by who had seen that this run had
    ended), gone (taken by a clean end, or swept by us)."""
    body: int = 0


VERDICTS = {
    "finished": Verdict.SUCCEEDED,
    "failed": Verdict.FAILED,
    "killed": Verdict.KILLED,
    "error": Verdict.UNKNOWN,
    "refused": Verdict.REFUSED,
}


def at(values: tuple[Any, ...], attempt: int, value: Any) -> tuple[Any, ...]:
    """``values`` with that of ``attempt`` replaced."""
    return (*values[: attempt - 1], value, *values[attempt:])


class DriverWorld(World):
    """What happens to drivers."""

    minted = False
    """The system mints the ids."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._grants: dict[Hashable, tuple[bool, Resource]] = {}
        self._tidy: dict[Hashable, Outside] = {}
        self._denied: dict[Resource, str | None] = {}

    def outside(self) -> Outside:
        return Outside()

    def site_of(self, outside: Outside) -> Hashable:
        return outside.body

    def shows(self, outside: Outside, attempt: int) -> Hashable:
        drivers = tuple(
            (d.name, d.claim, self.start_of(d), d.known) for d in outside.drivers
            if d.attempt == attempt and d.known != "forgotten"
        )  # fmt: skip
        return drivers, (outside.incarnation, outside.store), outside.fences[attempt - 1]

    def start_of(self, d: Driver) -> str | None:
        """Its startedTime, as the system shows it."""
        return None if self.minted else f"t{d.life}"

    def sighting(self, shown: Any, resource: Resource) -> Sighting:
        drivers, (incarnation, _), fence = shown
        runs = tuple(
            Run(
                id=name,
                phase=Phase.RUNNING if known == "active" else Phase.ENDED,
                claim=claim if self.minted else None,
                started_time=start,
                verdict=VERDICTS.get(known),
            )
            for name, claim, start, known in drivers
        )
        closed, gone = fence != "there", fence == "gone"
        told = fence.startswith("seen") and self.options.ablate != "a fence tells which run was seen"
        seen = fence.removeprefix("seen ") if told else None
        return Sighting(runs, str(incarnation), closed=closed, ended_cleanly=gone, seen=seen, held=not gone)

    # --- what can no longer matter ----------------------------------------------------------------------

    def doomed(self, resource: Resource, attempt: int) -> bool:
        """Submitted for an attempt that is over: it is seen under another key, and denied.

        Such messages and drivers are dropped. Instead ``superseded`` asks ``grant_start``, for every version of
        the resource, what it would say to one that comes late: that covers any number of them, at any time.
        Those under an older claim of the same attempt are kept: they are listed, and ``decide`` might err on them.
        """
        return self.traits.gated and not self.options.restore and attempt < resource.attempt

    def superseded(self, resource: Resource) -> str | None:
        if resource not in self._denied:
            late = [Driver(1, k, "late", 9) for k in range(1, 5)] if resource.attempt == 2 else []
            granted = [driver for driver in late if self._grant(resource, driver)[0]]
            self._denied[resource] = "a claim of an attempt that is over is granted" if granted else None
        return self._denied[resource]

    def pointless(self, plan: Plan, resource: Resource, outside: Outside) -> bool:
        return plan.kind == "Submit" and self.doomed(resource, plan.arg[0])

    def tidied(self, u: Universe) -> Universe:
        key = (u.resource.attempt, u.outside)
        tidy = self._tidy.get(key)
        if tidy is None:
            tidy = self._tidy[key] = self.tidy(u.resource, u.outside)
        if tidy == u.outside:
            return u
        return Universe(u.resource, u.controllers, tidy, u.listed, u.cached, u.wrong)

    def tidy(self, resource: Resource, out: Outside) -> Outside:
        """Without the messages and drivers that nobody can see or be harmed by any more."""
        net = tuple(m for m in out.net if not self.doomed(resource, m[0]))
        drivers = tuple(d for d in out.drivers if not self.spent(d, resource))
        return out._replace(net=net, drivers=drivers)

    def spent(self, d: Driver, resource: Resource) -> bool:
        return self.doomed(resource, d.attempt) and (d.jvm in ("new", "begins") or not d.alive)

    def forgetting(self, outside: Outside) -> Outside:
        drivers = tuple(d if d.alive else d._replace(known="forgotten") for d in outside.drivers)
        return outside._replace(drivers=tuple(sorted(drivers)))

    # --- steps ------------------------------------------------------------------------------------------

    def with_driver(self, u: Universe, old: Driver, new: Driver | None, **outside: Any) -> Universe:
        """``old`` becomes ``new``."""
        out: Outside = u.outside
        drivers = tuple(sorted([d for d in out.drivers if d != old] + ([new] if new is not None else [])))
        return u._replace(outside=out._replace(drivers=drivers, **outside))

    def external_steps(self, u: Universe) -> Iterator[Step[Universe]]:
        out: Outside = u.outside
        for message in dict.fromkeys(out.net):
            rest = list(out.net)
            rest.remove(message)
            without = out._replace(net=tuple(rest))
            if self.options.persistent and not self.minted:
                label, accepted = self.accept(u, out, message)
                if accepted is not out:
                    yield Step(label, u._replace(outside=accepted))
                continue
            label, accepted = self.accept(u, without, message)
            yield Step(label, u._replace(outside=accepted))
            _, twice = self.accept(u, out, message)
            yield Step(f"{label}, a proxy will repeat it", u._replace(outside=twice), healthy=False, cost=1)
            yield Step(f"{message} is lost", u._replace(outside=without), healthy=False, cost=1)
        for driver in out.drivers:
            yield from self.driver_steps(u, driver)
        if self.options.upgrade and not out.body:
            yield Step("the controller is upgraded", u._replace(outside=out._replace(body=1)), healthy=False, cost=1)

    def accept(self, u: Universe, out: Outside, message: Any) -> tuple[str, Outside]:
        """A submission arrives."""
        raise NotImplementedError

    def driver_steps(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        """What may happen to one driver."""
        who = f"{d.name}.{d.life}"
        if d.jvm == "begins":
            yield from self.begin(u, d)
        elif d.jvm == "program":
            yield from self._program(u, d)
        elif d.jvm.startswith(("tail", "exit")):
            well = d.jvm[-1] == "0"
            # System.exit runs the hooks first: a program that is killed among them was killed.
            over = self.ended(u, d, well) if d.jvm.startswith("exit") else u
            yield Step(f"{who} exits", self.with_driver(over, d, self.dead(d, well)))
        if d.known == "active":
            if d.alive:
                lost = self.with_driver(u, d, d._replace(known="error"))
                yield Step(f"{who} is lost from sight", lost, healthy=False, cost=1)
        elif d.alive and d.known in ("error", "forgotten") and not d.jvm.startswith(("tail", "exit")):
            yield Step(f"{who} dies", self.with_driver(u, d, d._replace(jvm="dead")))

    @staticmethod
    def dead(d: Driver, well: bool) -> Driver:
        known = ("finished" if well else "failed") if d.known == "active" else d.known
        return d._replace(jvm="dead", known=known)

    def _nonce(self, d: Driver) -> str:
        return d.name if self.options.ablate == "nonce" else f"{d.name}.{d.life}"

    def begin(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        """The JVM is up, some day: here it asks for leave."""
        who = f"{d.name}.{d.life}"
        granted, resource = self._grant(u.resource, d)
        if granted and self.held(u.resource):
            pass  # it is told to come back
        elif granted:
            after = self.started(u, d)._replace(resource=resource)
            if after.wrong is None and resource is not u.resource:
                after = after._replace(wrong=self._wrongly_granted(u.resource, resource, d))
            yield Step(f"{who} is granted", after)
            if resource is not u.resource:
                yield Step(
                    f"{who} is granted, the answer is lost", u._replace(resource=resource), healthy=False, cost=1
                )
        else:
            yield Step(f"{who} is denied", self.with_driver(u, d, self.dead(d, False)))
        yield Step(f"{who} cannot reach the gate", self.with_driver(u, d, self.dead(d, False)), healthy=False, cost=1)
        yield from self._relaunch(u, d)

    @staticmethod
    def _wrongly_granted(before: Resource, after: Resource, d: Driver) -> str | None:
        if wishes_end(before.job, d.attempt):
            return "leave to start was given although the end was wished"
        status = after.job.status
        broken = legal(before.job, status) if status is not None else None
        return f"a status write is not legal: {broken}" if broken else None

    def _relaunch(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        if self.options.relaunch and d.life == 0:
            again = self.with_driver(u, d, d._replace(jvm="begins", life=1))
            yield Step(f"{d.name} is launched again under its id", again, healthy=False, cost=1)

    def _grant(self, resource: Resource, d: Driver) -> tuple[bool, Resource]:
        key = (resource, d.attempt, d.claim, d.name, d.life)
        if key not in self._grants:
            job = None if resource.wishes.gone else resource.job
            claim = ClaimId("n", "j", UID, d.attempt, d.claim)
            run = Run(d.name, Phase.RUNNING, started_time=None if self.minted else f"t{d.life}")
            answer = gate.grant_start(job, claim, self._nonce(d), d.name, NOW, run)
            granted = isinstance(answer, Granted)
            if isinstance(answer, Granted) and answer.status is not None:
                resource = self.versions.written(resource, answer.status)
            self._grants[key] = granted, resource
        return self._grants[key]

    def started(self, u: Universe, d: Driver) -> Universe:
        """The program begins."""
        out: Outside = u.outside
        wishes = u.resource.wishes
        after = self.with_driver(
            u, d, d._replace(jvm="program"), starts=at(out.starts, d.attempt, out.starts[d.attempt - 1] + 1)
        )
        if out.starts[d.attempt - 1]:
            return after._replace(wrong="the program of one attempt was started twice")
        orphan = wishes.gone and self.options.policy is DeletionPolicy.ORPHAN and not self.traits.gated
        over = wishes.gone or u.resource.attempt != d.attempt or u.resource.outcome is not None
        if over and not orphan:
            return after._replace(wrong="a program was started after the end of its attempt")
        return after

    def _program(self, u: Universe, d: Driver) -> Iterator[Step[Universe]]:
        who = f"{d.name}.{d.life}"
        endings = [(True, Ending.RETURNED), (False, Ending.THREW)]
        if self.options.exits:
            endings += [(True, Ending.EXIT), (False, Ending.EXIT)]
        for well, how in endings:
            ended = self.ended(u, d, well)
            gone = self.with_driver(ended, d, self.dead(d, well))
            if not self.traits.gated:
                yield Step(f"{who} ends {'well' if well else 'badly'}", gone)
                continue
            noted = self._note(u.resource, d, how)
            kind = "exit" if how is Ending.EXIT else "tail"
            tail = self.with_driver(u if kind == "exit" else ended, d, d._replace(jvm=f"{kind}{int(not well)}"))
            yield Step(f"{who} reports {how.value}", tail._replace(resource=noted))
            yield Step(f"{who} {how.value}, its report is lost", gone, healthy=False, cost=1)
        yield from self._relaunch(u, d)

    def ended(self, u: Universe, d: Driver, well: bool) -> Universe:
        """The program of ``d`` has ended."""
        out: Outside = u.outside
        return u._replace(outside=out._replace(succeeded=at(out.succeeded, d.attempt, True))) if well else u

    def _note(self, resource: Resource, d: Driver, how: Ending) -> Resource:
        key = (resource, d, how)
        if key not in self._grants:
            job = None if resource.wishes.gone else resource.job
            claim = ClaimId("n", "j", UID, d.attempt, d.claim)
            status = gate.note_ended(job, claim, self._nonce(d), how, NOW)
            self._grants[key] = True, (resource if status is None else self.versions.written(resource, status))
        return self._grants[key][1]

    # --- what must never be ---------------------------------------------------------------------------

    def external_violation(self, u: Universe) -> str | None:
        out: Outside = u.outside
        current = u.resource.current
        if current is None:
            return None
        if self.traits.gated and (broken := self.superseded(u.resource)) is not None:
            return broken
        running = [d.attempt for d in out.drivers if d.jvm == "program"]
        if overlaps(u.resource, running):
            return "attempt 2 was begun while attempt 1 runs"
        orphan = self.options.policy is DeletionPolicy.ORPHAN
        return outcome_violation(u.resource, current.number in running, out.succeeded[current.number - 1], orphan)
