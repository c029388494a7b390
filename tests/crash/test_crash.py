"""The fixed part of the crash suite that runs with the tests; ``make crash`` runs all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import matrix, suite
from tests.crash.calls import KNOWN
from tests.crash.cell import Bench, Cell, Result
from tests.crash.stories import SPARK
from tests.testbed.kube.cluster import Cluster

CELLS = 210
RESULTS = Path(__file__).parents[2] / "build" / "results"


@pytest.fixture(scope="module")
def bench(crds: Cluster) -> Iterator[Bench]:
    with suite.bench(crds) as shared:
        yield shared


@pytest.fixture(scope="module")
def traces(bench: Bench) -> list[Result]:
    """Each story without a crash."""
    return suite.run_all(bench, matrix.tracing())


def told(results: list[Result]) -> str:
    wrong = [result for result in results if result.wrong]
    return "\n\n".join(f"{result.cell.name}: {result.wrong}\n{result.log[-3000:]}" for result in wrong)


def test_every_story_ends_right_without_a_crash(traces: list[Result]) -> None:
    assert not any(trace.wrong for trace in traces), told(traces)


def test_every_outbound_call_is_known(traces: list[Result]) -> None:
    assert matrix.unknown(traces, KNOWN) == set(), "a call without a case: add it to tests/crash/calls.py"


def test_no_crash_starts_a_program_twice_or_makes_a_wrong_end(bench: Bench, traces: list[Result]) -> None:
    cells = [cell for trace in traces for cell in matrix.cells(trace)]
    results = suite.run_all(bench, matrix.sample(cells, CELLS), suite.Progress(CELLS))
    tally = suite.Tally()
    for result in results:
        tally.add(result)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "crash-sample.json").write_text(json.dumps(tally.figures(), indent=2) + "\n")
    assert tally.cells > 200
    assert not tally.failures, told(results)


def test_the_judge_sees_what_is_wrong(bench: Bench) -> None:
    """A story that promises something else than what happens is found out: the judge is no rubber stamp."""
    success, failure = SPARK[:2]
    stories = [replace(success, state="Failed"), replace(success, starts=0), replace(failure, reason="Killed")]
    for result in suite.run_all(bench, [Cell("SparkStandalone", story, None) for story in stories]):
        assert result.kinds == {"end"}, result
