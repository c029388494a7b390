"""The fixed part of the crash suite that runs with the tests; ``make crash`` runs all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import bench as benches
from tests.crash import matrix, run, suite
from tests.crash.bench import Bench
from tests.crash.calls import KNOWN
from tests.crash.cell import Cell, Result
from tests.crash.drivers import DriverSystem, PublicDriverSystem
from tests.crash.hook import Crash, How, Moment
from tests.crash.stories import SPARK
from tests.crash.systems import JobSystem, SparkSystem
from tests.testbed.kube.cluster import Cluster

CELLS, DOUBLES = 210, 12
BUILD = Path(__file__).parents[2] / "build"


@pytest.fixture(scope="module")
def bench(crds: Cluster) -> Iterator[Bench]:
    with benches.running(crds) as shared:
        yield shared


@pytest.fixture(scope="module")
def traces(bench: Bench) -> list[Result]:
    """Each story without a crash, twice; the real Spark has its own tests."""
    systems = (SparkSystem, JobSystem, DriverSystem, PublicDriverSystem)
    return suite.run_all(bench, matrix.traces([system.name for system in systems], takes=2))


def told(results: list[Result]) -> str:
    """What is wrong, all of it first and then the log of each; everything about it is kept in a folder."""
    for result in results:
        suite.keep(result, BUILD / "crash-sample-logs")
    said = [f"{result.cell.name}: {result.wrong}" for result in results]
    return "\n".join([*said, *(f"\n== {result.cell.name}\n{result.log[-3000:]}" for result in results)])


def examined(bench: Bench, cells: list[Cell], name: str) -> suite.Tally:
    """Run them; the figures are written under that name."""
    results = suite.run_all(bench, cells, suite.Progress(cells))
    tally = suite.Tally.of(results)
    path = BUILD / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tally.figures(), indent=2) + "\n")
    assert not tally.failures, told(tally.failures)
    return tally


def test_every_story_ends_right_without_a_crash(traces: list[Result]) -> None:
    wrong = [trace for trace in traces if trace.wrong]
    assert not wrong, told(wrong)


def test_every_outbound_call_is_known(traces: list[Result]) -> None:
    assert matrix.unknown(traces, KNOWN) == set(), "a call without a case: add it to tests/crash/calls.py"


def test_calls_that_are_chance_in_most_stories_are_certain_in_one(traces: list[Result]) -> None:
    cells = {(cell.system, cell.story.name, cell.crashes[0].call) for cell in matrix.cells(traces)}
    spark, jobs, public = SparkSystem.name, JobSystem.name, PublicDriverSystem.name
    assert cells >= {
        (spark, "cancelled after a long wait", "PUT durablejobs/status [Submitted, claim Open]"),
        (spark, "its backend changed meanwhile", "GET jobbackends"),
        (jobs, "cancelled before its pod runs", "PUT durablejobs/status [Submitted]"),
        (jobs, "cancelled", "PUT durablejobs/status [Running]"),
        (jobs, "changed meanwhile", "GET durablejobs"),
        (jobs, "its backend changed meanwhile", "GET jobbackends"),
        (public, "success", "POST ingresses"),
        (public, "success", "DELETE ingresses"),
        (public, "failure", "GET pods/log"),
        (public, "waits for room", "PUT durablejobs/status [Pending]"),
        (public, "cancelled without room", "DELETE pods"),
    }


def test_no_crash_starts_a_program_twice_or_makes_a_wrong_end(bench: Bench, traces: list[Result]) -> None:
    assert examined(bench, matrix.sample(matrix.cells(traces), CELLS), "crash-sample").cells > 200


def test_nor_do_two_crashes_in_a_row(bench: Bench, traces: list[Result]) -> None:
    tally = examined(bench, matrix.doubles(matrix.cells(traces), DOUBLES), "crash-double-sample")
    assert (tally.cells, tally.skipped) == (DOUBLES, 0)


def test_the_judge_sees_what_is_wrong(bench: Bench) -> None:
    """A story that promises something else than what happens is found out: the judge is no rubber stamp."""
    success, failure = SPARK[:2]
    stories = [
        replace(success, name="no failure", state="Failed"),
        replace(success, name="no start", starts=0),
        replace(failure, name="not killed", reason="Killed"),
    ]
    for result in suite.run_all(bench, [Cell(SparkSystem.name, story) for story in stories]):
        assert result.kinds == {"end"}, result


def test_a_call_that_is_not_made_is_not_waited_for_once_all_is_over(bench: Bench) -> None:
    never = Crash("GET nowhere", Moment.BEFORE, How.KILL)
    result = run.run(bench, Cell(SparkSystem.name, SPARK[0], (never,)))
    assert (result.kinds, result.took < run.PATIENCE) == (suite.UNFIRED, True), result
