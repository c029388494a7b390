"""Which crashes there are: found by tracing each story, and compared with the calls that are known."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.crash.cell import Cell, Result
from tests.crash.hook import How, Moment, Plan
from tests.crash.stories import JOBS, SPARK, YARN, Story
from tests.crash.systems import JobSystem, SparkSystem
from tests.crash.yarn import YarnSystem

STORIES = {SparkSystem.type: SPARK, JobSystem.type: JOBS, YarnSystem.type: YARN}

MANNERS = (
    (Moment.BEFORE, How.KILL),
    (Moment.BEFORE, How.RESET),
    (Moment.ACCEPTED, How.KILL),
    (Moment.ACCEPTED, How.RESET),
    (Moment.ANSWERED, How.KILL),  # a connection that is reset after the answer is nothing
)
AT_THE_BEGINNING = "success"
"""The story whose runs also crash at calls that are made before there is a job: they are the same for all."""


def cells(trace: Result) -> Iterator[Cell]:
    """The crashes of one story, which was traced."""
    story = trace.cell.story
    early, late = Counter(trace.trace[: trace.before_job]), Counter(trace.trace[trace.before_job :])
    for call in dict.fromkeys(trace.trace):
        if not late[call] and story.name != AT_THE_BEGINNING:
            continue
        for nth in sorted(_occurrences(early[call], late[call], story)):
            for moment, how in MANNERS:
                yield Cell(trace.cell.system, story, Plan(call, moment, how, nth))


def _occurrences(early: int, late: int, story: Story) -> set[int]:
    """Which of its calls: the first, and the first after the job came; how often polls come later is chance."""
    chosen = {1} if story.name == AT_THE_BEGINNING or not early else set()
    return chosen | ({early + 1} if late else set())


def unknown(traces: Sequence[Result], known: frozenset[str]) -> set[str]:
    """Calls that the catalogue lacks; what is written in them is chance, and not compared."""
    return {call.partition(" [")[0] for trace in traces for call in trace.trace} - known


def sample(all_cells: Sequence[Cell], count: int) -> list[Cell]:
    """The same ``count`` cells each time, spread over all."""
    ordered = sorted(all_cells, key=lambda cell: hashlib.sha256(cell.name.encode()).hexdigest())
    return ordered[:count]


def tracing() -> list[Cell]:
    """Each story without a crash."""
    return [Cell(system, story, None) for system, stories in STORIES.items() for story in stories]
