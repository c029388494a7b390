"""Which cells there are: found by tracing each story, and compared with the calls that are known."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tests.crash.cell import Cell, Result
from tests.crash.drivers import DriverSystem, PublicDriverSystem
from tests.crash.hook import ANY, Crash, How, Moment, Since
from tests.crash.pairs import pairwise
from tests.crash.real import RealSparkSystem
from tests.crash.stories import DRIVERS, GATED_YARN, JOBS, PUBLIC_DRIVERS, REAL_SPARK, SPARK, YARN
from tests.crash.systems import JobSystem, SparkSystem
from tests.crash.yarn import GatedYarnSystem, YarnSystem

STORIES = {
    SparkSystem.name: SPARK,
    JobSystem.name: JOBS,
    DriverSystem.name: DRIVERS,
    PublicDriverSystem.name: PUBLIC_DRIVERS,
    YarnSystem.name: YARN,
    GatedYarnSystem.name: GATED_YARN,
    RealSparkSystem.name: REAL_SPARK,
}
MANNERS = (
    (Moment.BEFORE, How.KILL),
    (Moment.BEFORE, How.RESET),
    (Moment.ACCEPTED, How.KILL),
    (Moment.ACCEPTED, How.RESET),
    (Moment.ANSWERED, How.KILL),  # a connection that is reset after the answer is nothing
)
AT_THE_BEGINNING = "success"
"""The story whose runs also crash at calls that are made before there is a job: they are the same for all. Not on the
real Spark, where nothing has happened by then."""
FURTHEST = 16
"""The second of two crashes comes so many calls after the first, at most: a new process needs a dozen to begin."""


def traces(names: Iterable[str], takes: int) -> list[Cell]:
    """Each story of these systems without a crash, so many times."""
    return [Cell(name, story, take=n + 1) for name in names for story in STORIES[name] for n in range(takes)]


def by_tale(traced: Iterable[Result]) -> list[list[Result]]:
    """The traces of each story together."""
    tales: dict[str, list[Result]] = defaultdict(list)
    for trace in traced:
        tales[trace.cell.tale].append(trace)
    return list(tales.values())


def cells(traced: Sequence[Result]) -> list[Cell]:
    """All crashes of these stories; on the real system a pairwise choice of them."""
    every = [cell for takes in by_tale(traced) for cell in _crashes(takes)]
    real = [cell for cell in every if cell.system == RealSparkSystem.name]
    return [cell for cell in every if cell.system != RealSparkSystem.name] + pairwise(real, _factors)


def _crashes(takes: Sequence[Result]) -> Iterator[Cell]:
    """The crashes of one story: at each call that is made in every run of it."""
    cell = replace(takes[0].cell, take=1)
    calls = [(Since.JOB, call) for call in _always([trace.late for trace in takes])]
    if cell.story.name == AT_THE_BEGINNING and cell.system != RealSparkSystem.name:
        calls = [(Since.START, call) for call in _always([trace.early for trace in takes])] + calls
    for since, call in calls:
        for moment, how in MANNERS:
            yield replace(cell, crashes=(Crash(call, moment, how, since=since),))


def _always(runs: Sequence[Sequence[str]]) -> list[str]:
    """What stands in each of them, in the first one's order."""
    return [call for call in dict.fromkeys(runs[0]) if all(call in run for run in runs)]


def _factors(cell: Cell) -> tuple[str, ...]:
    (crash,) = cell.crashes
    return cell.story.name, f"{crash.call} {crash.since}", crash.moment, crash.how


def doubles(singles: Sequence[Cell], count: int) -> list[Cell]:
    """``count`` cells with a second crash, some calls after the first: the same ones each time."""
    found = []
    ordered = sample(singles, len(singles))
    for number in range(count if ordered else 0):
        first = ordered[number % len(ordered)]
        chance = _chance(f"{first.name} {number // len(ordered)}")
        moment, how = MANNERS[chance % len(MANNERS)]
        second = Crash(ANY, moment, how, 1 + chance // len(MANNERS) % FURTHEST, Since.CRASH)
        found.append(replace(first, crashes=(*first.crashes, second)))
    return list(dict.fromkeys(found))


def by_chance(traced: Sequence[Result]) -> dict[str, list[str]]:
    """Calls after the job came that only some runs of a story make, with the systems' other stories that always do."""
    tales = by_tale(traced)
    fixed: dict[str, list[str]] = defaultdict(list)
    for takes in tales:
        for call in _always([trace.late for trace in takes]):
            fixed[f"{takes[0].cell.system}: {call}"].append(takes[0].cell.story.name)
    found: dict[str, list[str]] = {}
    for takes in tales:
        always = _always([trace.late for trace in takes])
        for call in sorted({call for trace in takes for call in trace.late} - set(always)):
            key = f"{takes[0].cell.system}: {call}"
            found[key] = fixed[key]
    return found


def unknown(traced: Sequence[Result], known: frozenset[str]) -> set[str]:
    """Calls that the catalogue lacks; what is written in them is not compared."""
    return {call.partition(" [")[0] for trace in traced for call in (*trace.early, *trace.late)} - known


def sample(all_cells: Sequence[Cell], count: int) -> list[Cell]:
    """The same ``count`` cells each time, spread over all."""
    return sorted(all_cells, key=lambda cell: _chance(cell.name))[:count]


def _chance(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest())
