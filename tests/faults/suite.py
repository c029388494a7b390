"""Runs scenes side by side, tells how far it is, and counts."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Protocol

from tests.crash.bench import Bench
from tests.faults.scene import Result

AT_ONCE = 3
"""Scenes side by side: with more of them two cores are busy with the scenes, not with the controllers."""
MANY = 5
"""Words that are told of one scene as it ends."""


class Cell(Protocol):
    """One scene that can be played."""

    @property
    def name(self) -> str: ...

    def run(self, bench: Bench) -> Result: ...


def run_all(
    bench: Bench, cells: Sequence[Cell], tell: Callable[[Result], None] = lambda _: None, at_once: int = AT_ONCE
) -> list[Result]:
    """All of them; ``tell`` is called with each result as it comes."""
    results: dict[int, Result] = {}
    with ThreadPoolExecutor(at_once) as pool:
        waiting = {pool.submit(_played, bench, cell): number for number, cell in enumerate(cells)}
        for done in as_completed(waiting):
            results[waiting[done]] = done.result()
            tell(done.result())
    return [results[number] for number in range(len(cells))]


def _played(bench: Bench, cell: Cell) -> Result:
    try:
        return cell.run(bench)
    except Exception:  # one scene that cannot be played is wrong, and the others go on
        result = Result(cell.name)
        result.blame("unplayed", traceback.format_exc())
        return result


class Progress:
    """A line for each scene as it ends."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._begun = time.monotonic()

    def __call__(self, result: Result) -> None:
        self._done += 1
        word = "WRONG" if result.wrong else "right"
        print(f"faults: {self._done} of {self._total}, {time.monotonic() - self._begun:.0f} s: {word}  {result.name}",
              flush=True)  # fmt: skip
        for words in result.wrong[:MANY]:
            print(f"    {words[:500]}", flush=True)
        if len(result.wrong) > MANY:
            print(f"    and {len(result.wrong) - MANY} more", flush=True)


def entry(result: Result, at: str) -> dict[str, Any]:
    """One scene as build/results/faults.json has it."""
    return {
        "name": result.name, "at": at, "jobs": result.jobs, "starts": result.starts, "struck": result.struck,
        "submissions": result.submissions, "recovery_s": round(result.recovery, 1), "seconds": round(result.seconds),
        "kinds": sorted(result.kinds), "wrong": result.wrong,
    }  # fmt: skip


def figures(scenes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the whole of them comes to."""

    def of_kind(kind: str) -> int:
        return sum(kind in scene["kinds"] for scene in scenes)

    return {
        "scenes": len(scenes),
        "passed": sum(not scene["wrong"] for scene in scenes),
        "jobs": sum(scene["jobs"] for scene in scenes),
        "starts": sum(scene["starts"] for scene in scenes),
        "duplicates": of_kind("duplicate"),
        "orphans": of_kind("orphan"),
        "wrong_ends": of_kind("end"),
        "stuck": of_kind("stuck"),
        "controllers_ended": of_kind("ended"),
        "others_held_up": of_kind("held"),
        "not_told": of_kind("silent"),
        "recovery_s": {"max": max((scene["recovery_s"] for scene in scenes), default=0.0)},
        "by_scene": list(scenes),
    }


def table(results: Sequence[Result]) -> None:
    """A line per scene."""
    heads = ("scene", "jobs", "starts", "drivers", "struck", "recovery", "")
    print("\n{:64} {:>6} {:>7} {:>8} {:>7} {:>9} {:>6}".format(*heads))
    for r in results:
        word = "WRONG" if r.wrong else "right"
        print(f"{r.name:64} {r.jobs:6} {r.starts:7} {r.submissions:8} {r.struck:7} {r.recovery:8.1f}s {word:>6}")
