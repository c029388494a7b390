"""Runs many crashes side by side, tells how far it is, and counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.crash.cell import Bench, Cell, Result
from tests.crash.master import Yard
from tests.crash.zygote import Zygote
from tests.testbed import site as sites
from tests.testbed.kube import kubelet
from tests.testbed.kube.cluster import Cluster

AT_ONCE = 6
"""Cells side by side: they mostly wait."""
AGAIN = 3
"""Further runs for a call that was not made."""
_serial = count(1)


@dataclass
class Tally:
    """The table's figures."""

    cells: int = 0
    passed: int = 0
    skipped: int = 0
    """Cells whose call was not made, however often it was waited for."""
    failures: list[Result] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    def add(self, result: Result) -> None:
        if result.kinds == {"unfired"}:
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
        recovery = {"p50": cuts[49], "p99": cuts[98], "max": max(self.recoveries, default=0.0)}
        return {
            "cells": self.cells,
            "passed": self.passed,
            "skipped": self.skipped,
            "duplicates": self.of_kind("duplicate"),
            "orphans": self.of_kind("orphan"),
            "wrong_ends": self.of_kind("end"),
            "stuck": self.of_kind("stuck"),
            "controllers_ended": self.of_kind("ended"),
            "recovery_s": {name: round(value, 2) for name, value in recovery.items()},
        }


@contextmanager
def bench(cluster: Cluster) -> Iterator[Bench]:
    """What cells need, and its end."""
    with (
        sites.temporary("crash") as site,
        Yard() as yard,
        kubelet.running(cluster, site.folder, node="crash-node") as fake,
    ):
        zygote = Zygote(site)
        try:
            yield Bench(cluster, zygote, yard, site, fake)
        finally:
            zygote.close()


def run_all(shared: Bench, cells: Sequence[Cell], tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """All of them; ``tell`` is called with each result as it comes.

    A call that is made by chance only (a write that says "queued", a conflict that is read again) is waited for in a
    few runs; where it does not come, the cell counts as skipped.
    """
    results: dict[int, Result] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(shared.run, cell, next(_serial)): number for number, cell in enumerate(cells)}
        for done in as_completed(waiting):
            result = done.result()
            for _ in range(AGAIN if result.kinds == {"unfired"} else 0):
                result = shared.run(result.cell, next(_serial))
                if result.kinds != {"unfired"}:
                    break
            results[waiting[done]] = result
            tell(result)
    return [results[number] for number in range(len(cells))]


class Progress:
    """A line now and then: how many, how many wrong, how long it will take."""

    def __init__(self, total: int, every: float = 15.0) -> None:
        self._total, self._every = total, every
        self._begun = self._told = time.monotonic()
        self._done = self._wrong = 0

    def __call__(self, result: Result) -> None:
        self._done += 1
        wrong = bool(result.wrong) and result.kinds != {"unfired"}
        self._wrong += wrong
        if wrong:
            print(f"WRONG  {result.cell.name}: {'; '.join(result.wrong)}", flush=True)
        now = time.monotonic()
        if now - self._told >= self._every or self._done == self._total:
            self._told = now
            left = (now - self._begun) / self._done * (self._total - self._done)
            print(f"crash: {self._done} of {self._total} cells, {self._wrong} wrong, {left:.0f} s left", flush=True)
