"""The fixed part of the fault suite that runs with the tests; ``make faults`` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.crash import bench as benches
from tests.crash.bench import Bench
from tests.crash.stories import SPARK
from tests.faults import answers, leaders, outages, suite, watches
from tests.faults.scene import Result, Scene
from tests.testbed.kube.cluster import Cluster


@pytest.fixture(scope="module")
def bench(crds: Cluster) -> Iterator[Bench]:
    with benches.running(crds) as shared:
        yield shared


def told(results: Sequence[Result]) -> str:
    wrong = [result for result in results if result.wrong]
    return "\n\n".join(f"{result.name}: {result.wrong}\n{result.log[-4000:]}" for result in wrong)


def test_no_fault_starts_a_program_twice_or_makes_a_wrong_end(bench: Bench) -> None:
    cells: list[suite.Cell] = [*leaders.short(), *answers.short(), *watches.short()]
    results = suite.run_all(bench, cells, suite.Progress(len(cells)))
    assert not any(result.wrong for result in results), told(results)


def test_an_outage_of_kube_apiserver_and_etcd_under_load_loses_nothing(bench: Bench) -> None:
    if bench.cluster.kind != "built":
        pytest.skip("the kube-apiserver of this cluster cannot be killed from here")
    results = suite.run_all(bench, outages.away_short())
    assert not any(result.wrong for result in results), told(results)


def test_the_judge_sees_what_is_wrong(bench: Bench) -> None:
    """A story that promises something else than what happens is found out, and so is a fault that never happened."""
    with Scene(bench, "lies") as scene:
        success = SPARK[0]
        scene.controller()
        scene.submit(scene.spark(scene.master()), [replace(success, state="Failed"), replace(success, starts=0)])
        result = scene.judge()
    assert result.kinds == {"end", "unfired"}
    assert [words.partition(" ")[0] for words in result.wrong] == ["job-0", "job-1", "the"]
