"""The crash suite's own parts: the choice of cells, the book of results, the time left."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.crash import matrix, run, suite
from tests.crash.bench import Bench
from tests.crash.book import Book
from tests.crash.cell import Cell, Result
from tests.crash.hook import ANY, Crash, How, Moment, Since
from tests.crash.pairs import pairwise
from tests.crash.stories import SPARK

SYSTEM = "SparkStandalone"
CRASH = Crash("POST jobs", Moment.BEFORE, How.KILL)


def trace(story: int, *late: str, early: Sequence[str] = (), take: int = 1) -> Result:
    return Result(Cell(SYSTEM, SPARK[story], take=take), early=list(early), late=list(late))


def test_pairwise_covers_every_pair_that_occurs_and_no_candidate_is_invented() -> None:
    candidates = [(a, b, c) for a in range(5) for b in "xyz" for c in (True, False) if not (b == "z" and c)]
    chosen = pairwise(candidates, lambda candidate: candidate)

    def pairs(rows: Sequence[tuple[object, ...]]) -> set[object]:
        return {pair for row in rows for pair in combinations(enumerate(row), 2)}

    assert pairs(chosen) == pairs(candidates)
    assert set(chosen) <= set(candidates)
    assert 15 <= len(chosen) < 20 < len(candidates)


def test_only_calls_that_every_run_makes_are_cells_and_the_beginning_is_crashed_once() -> None:
    runs = [
        trace(0, "A", "B", early=["L"]),
        trace(0, "A", "B", "C", early=["L"], take=2),
        trace(1, "B", early=["L"]),
        trace(1, "B", "C", early=["L"], take=2),
    ]
    found = {(cell.story.name, cell.crashes[0].call, cell.crashes[0].since) for cell in matrix.cells(runs)}
    late = {("success", "A"), ("success", "B"), ("failure", "B")}
    assert found == {(*pair, Since.JOB) for pair in late} | {("success", "L", Since.START)}
    assert len(matrix.cells(runs)) == len(found) * len(matrix.MANNERS)
    assert matrix.by_chance([*runs, trace(2, "C")]) == {f"{SYSTEM}: C": [SPARK[2].name]}


def test_doubles_are_the_same_each_time_all_different_and_more_than_there_are_singles_if_asked() -> None:
    singles = matrix.cells([trace(0, "A", "B")])
    doubles = matrix.doubles(singles, 30)
    assert doubles == matrix.doubles(list(reversed(singles)), 30)
    assert len({cell.name for cell in doubles}) == len(doubles) > 2 * len(singles)
    assert {cell.crashes[1].call for cell in doubles} == {ANY}
    assert all(1 <= cell.crashes[1].nth <= matrix.FURTHEST for cell in doubles)


def test_a_book_gives_back_what_the_same_code_found_even_if_its_last_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "build" / "book"
    one, two = (Cell(SYSTEM, story, (CRASH,)) for story in SPARK[:2])
    first = Book(path, "code")
    first.write(Result(one, ["twice"], {"duplicate"}, 1.5, 4.0, ["L"], ["A"]), 10.0, {"Spark": "4"})
    first.write(trace(2, "A", early=["L"]), 20.0, {"Kubernetes": "1"})
    first.close()
    with path.open("a") as file:
        file.write('{"cell": "half a li')
    again = Book(path, "code")
    found = again.find(one)
    assert found is not None
    assert (found.wrong, found.kinds, found.recovery, found.took) == (["twice"], {"duplicate"}, 1.5, 4.0)
    traced = again.find(Cell(SYSTEM, SPARK[2]))
    assert traced is not None
    assert (traced.early, traced.late) == (["L"], ["A"])
    assert again.find(two) is None
    again.write(Result(two), 5.0, {})
    assert (len(again), again.seconds, again.versions) == (3, 25.0, {"Spark": "4", "Kubernetes": "1"})
    again.close()
    assert [json.loads(line)["cell"] for line in path.read_text().splitlines()][-1] == two.name


@pytest.mark.parametrize(("code", "fresh"), [("other", False), ("code", True)])
def test_a_book_forgets_what_other_code_found_and_everything_when_asked(tmp_path: Path, code: str, fresh: bool) -> None:
    cell = Cell(SYSTEM, SPARK[0])
    book = Book(tmp_path / "book", "code")
    book.write(Result(cell), 1.0, {})
    book.close()
    book = Book(tmp_path / "book", code, fresh=fresh)
    assert book.find(cell) is None
    book.close()
    assert (tmp_path / "book").read_text() == ""


def test_the_time_left_follows_from_what_each_system_takes_also_after_going_on() -> None:
    quick = [Cell(SYSTEM, story, (CRASH,)) for story in SPARK[:4]]
    slow = [Cell("Kubernetes", story, (CRASH,)) for story in SPARK[:6]]
    taken = [Result(cell, took=12.0) for cell in slow[:2]]
    progress = suite.Progress([*quick, *slow[2:]], taken)
    progress(Result(quick[0], took=6.0))
    assert progress.seconds_left() == pytest.approx((3 * 6.0 + 4 * 12.0) / suite.AT_ONCE)


def test_an_interruption_gives_up_the_cells_under_way_and_begins_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(SYSTEM, SPARK[0], take=take) for take in range(1, 50)]
    begun: list[Cell] = []
    bench = cast(Bench, SimpleNamespace(over=threading.Event()))  # no system is needed

    def ran(shared: Bench, cell: Cell) -> Result:
        begun.append(cell)
        if cell.take > 1:
            shared.over.wait(30)
            raise run.Interrupted
        return Result(cell)

    def interrupted(result: Result) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "run", ran)
    with pytest.raises(KeyboardInterrupt):
        suite.run_all(bench, cells, interrupted)
    assert len(begun) <= 2 * suite.AT_ONCE
