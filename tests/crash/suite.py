"""Runs many cells side by side, tells how far it is, keeps what went wrong, and counts."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.bench import Bench
from tests.crash.cell import Cell, Result
from tests.crash.real import RealSparkSystem
from tests.crash.run import run

AT_ONCE = 6
"""Cells side by side: they mostly wait."""
AT_ONCE_ON_THE_REAL_ONE = 3
"""There each needs a JVM or two, which takes seconds of CPU."""
AGAIN = 6
"""Further runs for a call that was not made."""
UNFIRED = {"unfired"}


def run_all(shared: Bench, cells: Sequence[Cell], tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """All of them, first those on stand-ins; ``tell`` is called with each result as it comes.

    When this is interrupted, the cells under way are given up.
    """
    results: dict[str, Result] = {}

    def note(result: Result) -> None:
        results[result.cell.name] = result
        tell(result)

    for real in (False, True):
        group = [cell for cell in cells if _is_real(cell.system) == real]
        _side_by_side(shared, group, AT_ONCE_ON_THE_REAL_ONE if real else AT_ONCE, note)
    return [results[cell.name] for cell in cells]


def _side_by_side(shared: Bench, cells: Sequence[Cell], at_once: int, note: Callable[[Result], None]) -> None:
    pool = ThreadPoolExecutor(at_once)
    try:
        for done in as_completed([pool.submit(_fired, shared, cell) for cell in cells]):
            note(done.result())
    except BaseException:
        shared.over.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _fired(shared: Bench, cell: Cell) -> Result:
    """Run it; a call that is made by chance may need a few runs until it is made."""
    result = run(shared, cell)
    for _ in range(AGAIN):
        if result.kinds != UNFIRED:
            break
        result = run(shared, cell)
    return result


def _is_real(system: str) -> bool:
    return system == RealSparkSystem.name


def keep(result: Result, folder: Path) -> None:
    """Write down everything about a cell that went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in result.cell.name)
    calls = "\n".join([*result.early, "-- the job comes", *result.late])
    text = "\n".join([result.cell.name, *result.wrong, "", result.log, "== calls", calls, ""])
    (folder / f"{name[:200]}.log").write_text(text)


@dataclass
class Tally:
    """The table's figures."""

    cells: int = 0
    passed: int = 0
    skipped: int = 0
    """Cells whose call was not made, however often it was waited for."""
    failures: list[Result] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, results: Sequence[Result]) -> Tally:
        tally = cls()
        for result in results:
            tally.add(result)
        return tally

    def add(self, result: Result) -> None:
        if result.kinds == UNFIRED:
            self.skipped += 1
            return
        self.cells += 1
        if result.wrong:
            self.failures.append(result)
        else:
            self.passed += 1
        if result.recovery is not None:
            self.recoveries.append(result.recovery)

    def of_kind(self, kind: str) -> int:
        return sum(kind in result.kinds for result in self.failures)

    def figures(self) -> dict[str, Any]:
        """As build/results/crash.json has them."""
        cuts = statistics.quantiles(self.recoveries, n=100) if len(self.recoveries) > 1 else [0.0] * 99
        recovery = {"p50": cuts[49], "p99": min(cuts[98], max(self.recoveries, default=0.0))}
        recovery["max"] = max(self.recoveries, default=0.0)
        return {
            "cells": self.cells,
            "passed": self.passed,
            "skipped": self.skipped,
            "duplicates": self.of_kind("duplicate"),
            "orphans": self.of_kind("orphan"),
            "wrong_ends": self.of_kind("end"),
            "stuck": self.of_kind("stuck"),
            "controllers_ended": self.of_kind("ended"),
            "broken": self.of_kind("broken"),
            "recovery_s": {name: round(value, 2) for name, value in recovery.items()},
        }


class Progress:
    """A line now and then: how many, how many wrong, how long it will take."""

    EVERY = 15.0
    """Seconds between two lines."""
    UNTRIED = 5.0
    """Seconds that a cell is taken to last on a system on which none has ended yet."""
    ENOUGH = 10
    """Cells of this run from which a system's speed is told, rather than from those that were taken over as well."""

    def __init__(self, todo: Sequence[Cell], taken: Sequence[Result] = (), what: str = "cells") -> None:
        self._what = what
        self._told = time.monotonic()
        self._left = Counter(cell.system for cell in todo)
        self._total = len(todo) + len(taken)
        self._wrong = sum(bool(result.wrong) and result.kinds != UNFIRED for result in taken)
        self._before: dict[str, list[float]] = defaultdict(list)
        self._now: dict[str, list[float]] = defaultdict(list)
        for result in taken:
            self._before[result.cell.system].append(result.took)

    def __call__(self, result: Result) -> None:
        system = result.cell.system
        self._left[system] -= 1
        self._now[system].append(result.took)
        wrong = bool(result.wrong) and result.kinds != UNFIRED
        self._wrong += wrong
        if wrong:
            print(f"WRONG  {result.cell.name}: {'; '.join(result.wrong)}", flush=True)
        elif result.wrong:
            print(f"skipped, its call was not made: {result.cell.name}", flush=True)
        done, now = self._total - self._left.total(), time.monotonic()
        if now - self._told >= self.EVERY or done == self._total:
            self._told = now
            left = self.seconds_left()
            print(f"crash: {done} of {self._total} {self._what}, {self._wrong} wrong, {left:.0f} s left", flush=True)

    def seconds_left(self) -> float:
        """Of each system so many cells, so long each, so many side by side."""
        total = 0.0
        for system, cells in self._left.items():
            known = self._now[system] if len(self._now[system]) >= self.ENOUGH else []
            known = known or self._before[system] + self._now[system] or [self.UNTRIED]
            total += cells * statistics.mean(known) / (AT_ONCE_ON_THE_REAL_ONE if _is_real(system) else AT_ONCE)
        return total
