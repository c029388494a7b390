"""A small explicit-state model checker.

It searches in layers: first everything that can happen without a fault, then with one, and so on; within a
layer breadth first. So the first trace found to a violation needs the fewest faults, and a state is looked
at once, with the most faults still to come: what can follow a state with fewer faults left can also follow
it with more, so nothing is missed by not counting them into the state.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)


class Step(NamedTuple, Generic[S]):
    """One thing that can happen. Healthy steps are those that a system without faults will take some day."""

    label: str
    to: S
    healthy: bool = True
    cost: int = 0
    """Faults that it takes."""


class Model(Protocol[S]):
    """What can be checked."""

    def initial(self) -> S: ...

    def steps(self, state: S) -> Iterable[Step[S]]: ...

    def violation(self, state: S, faults: int) -> str | None:
        """What is wrong with ``state``, which takes at least so many faults to reach."""
        ...

    def done(self, state: S) -> bool: ...

    def end(self, state: S) -> str:
        """Which kind of end a done state is."""
        ...


@dataclass(frozen=True)
class Result:
    """What an exploration found."""

    states: int
    seconds: float
    complete: bool
    violations: dict[str, list[str]] = field(default_factory=dict)
    """Violation -> labels of a way there: fewest faults first, then fewest steps."""
    stuck: int | None = None
    """States from which no sequence of healthy steps leads to an end; None: unknown, the search was cut."""
    stuck_trace: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    """How often each kind of end was reached: a model that reaches nothing proves nothing."""

    @property
    def clean(self) -> bool:
        """Complete, and nothing is wrong."""
        return self.complete and not self.violations and self.stuck == 0


class _Search(Generic[S]):
    """The states found so far, how each was reached, and its healthy successors."""

    def __init__(self, model: Model[S], faults: int, limit: int) -> None:
        self.model = model
        self.limit = limit
        start = model.initial()
        self.index = {start: 0}
        self.states = [start]
        self.parents: list[tuple[int, str] | None] = [None]
        self.layers: list[dict[S, tuple[int, str]]] = [{} for _ in range(faults + 2)]
        self.healthy: list[array[int]] = []
        self.bad: dict[int, str] = {}
        self.complete = True

    def run(self, stop_at_violation: bool) -> None:
        todo = 0
        for used in range(len(self.layers) - 1):
            for state, parent in self.layers[used].items():
                self.add(state, *parent)
            self.layers[used].clear()
            while todo < len(self.states):
                if len(self.states) > self.limit:
                    self.complete = False
                    return
                self.expand(todo, used)
                todo += 1
                if stop_at_violation and self.bad:
                    self.complete = False
                    return

    def expand(self, number: int, used: int) -> None:
        """Add what can follow a state; what lies behind a violation is not looked at."""
        state = self.states[number]
        follow = array("i")
        self.healthy.append(follow)
        broken = self.model.violation(state, used)
        if broken is not None:
            self.bad[number] = broken
            return
        later = self.layers[used + 1]
        index = self.index
        for label, to, healthy, cost in self.model.steps(state):
            if cost:
                if to not in index:
                    later.setdefault(to, (number, label))
                continue
            target = index.get(to)
            if target is None:
                target = self.add(to, number, label)
            if healthy:
                follow.append(target)

    def add(self, state: S, parent: int, label: str) -> int:
        known = self.index.get(state)
        if known is not None:
            return known
        number = self.index[state] = len(self.states)
        self.states.append(state)
        self.parents.append((parent, label))
        return number

    def trace(self, number: int) -> list[str]:
        labels: list[str] = []
        while (parent := self.parents[number]) is not None:
            number, label = parent
            labels.append(label)
        return labels[::-1]

    def stuck(self) -> Iterator[int]:
        """States from which healthy steps lead neither to an end nor to a violation."""
        good = bytearray(len(self.states))
        for number, state in enumerate(self.states):
            if number in self.bad or self.model.done(state):
                good[number] = 1
        rest = [n for n in range(len(self.states) - 1, -1, -1) if not good[n]]
        changed = True
        while changed:  # ends are mostly found late: from the last state to the first, few rounds are needed
            changed = False
            left = []
            for number in rest:
                if any(good[target] for target in self.healthy[number]):
                    good[number] = 1
                    changed = True
                else:
                    left.append(number)
            rest = left
        return reversed(rest)


def explore(model: Model[S], faults: int, limit: int = 2_000_000, stop_at_violation: bool = False) -> Result:
    """Search all states of ``model`` that at most ``faults`` faults lead to."""
    began = time.process_time()
    search = _Search(model, faults, limit)
    search.run(stop_at_violation)
    violations: dict[str, list[str]] = {}
    for number, broken in search.bad.items():
        if broken not in violations:
            violations[broken] = search.trace(number)
    stuck = list(search.stuck()) if search.complete else None
    ends: dict[str, int] = {}
    for state in search.states:
        if model.done(state):
            name = model.end(state)
            ends[name] = ends.get(name, 0) + 1
    return Result(
        states=len(search.states),
        seconds=time.process_time() - began,
        complete=search.complete,
        violations=violations,
        stuck=None if stuck is None else len(stuck),
        stuck_trace=search.trace(stuck[0]) if stuck else [],
        ends=dict(sorted(ends.items())),
    )
