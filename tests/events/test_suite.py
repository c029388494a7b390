"""The judge of the rows: what is wrong is found, whoever says that all is well. Without an Airflow."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.events import document, suite
from tests.events.rows import POLLING, ROWS, Row
from tests.events.run import Gate, NotSo, Run


class Airflow:
    """Its tasks are what the side says."""

    def __init__(self, state: str = "success", tries: int = 1) -> None:
        self.ti = {"state": state, "try_number": tries}

    def task_instance(self, *_: object) -> dict[str, Any]:
        return self.ti

    def task_log(self, *_: object) -> str:
        return "what the log says"


class Side:
    """A side whose programs are given."""

    def __init__(self, *programs: str, causes: tuple[str, ...] = (), **ti: Any) -> None:
        self.af: Any = Airflow(**ti)
        self.said = list(programs)
        self.why = list(causes)

    def programs(self, run: Run) -> list[str]:
        return list(self.said)

    def causes(self, run: Run) -> list[str]:
        return self.why

    def release(self, run: Run) -> None:
        """Nothing waits."""

    def delete(self, run: Run) -> None:
        """There is nothing."""

    def taken_over(self, run: Run) -> bool:
        return False

    def waits(self, run: Run) -> bool:
        return True


class Faults:
    def steps(self, fault: str) -> list[Any]:
        return []


def a_row(*programs: str, **more: Any) -> Row:
    def play(run: Run) -> None:
        run.id = "run"

    row = Row("e", "r", play, programs, modes=POLLING)
    return replace(row, **more)


def played(side: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(suite, "ARRIVAL", 0.1)
    chosen = suite.cells([row])
    suite.play_all(side, Faults(), chosen, lambda _: None)  # type: ignore[arg-type]
    return chosen[0].wrong


def test_what_is_as_required_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(Side("Succeeded"), a_row("Succeeded", tries=1, says="log says"), monkeypatch) == []


@pytest.mark.parametrize(
    ("side", "row", "word"),
    [
        (Side("Succeeded", "Succeeded"), a_row("Succeeded"), "programs"),
        (Side(), a_row("Succeeded"), "programs"),
        (Side("running"), a_row("Succeeded"), "programs"),
        (Side("Succeeded", state="failed"), a_row("Succeeded"), "state"),
        (Side("Succeeded", tries=2), a_row("Succeeded", tries=1), "tries"),
        (Side("Succeeded"), a_row("Succeeded", says="something else"), "logs do not say"),
        (Side("Cancelled", causes=("User",)), a_row("Cancelled", causes=("Cleared",)), "causes"),
        (Side("Cancelled"), a_row("Cancelled", causes=("Cleared",)), "causes"),
        (Side("Succeeded", causes=("User",)), a_row("Succeeded"), "causes"),
    ],
)
def test_what_is_not_is_wrong(side: Side, row: Row, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (wrong,) = played(side, row, monkeypatch)
    assert word in wrong


def test_one_of_several_causes_may_be_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side("Cancelled", causes=("User",))
    assert played(side, a_row("Cancelled", causes=("User|Cleared",)), monkeypatch) == []


def test_a_play_that_cannot_go_on_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(run: Run) -> None:
        run.id = "run"
        raise NotSo("it did not come")

    assert "it did not come" in played(Side("Succeeded"), a_row("Succeeded", play=play), monkeypatch)


def test_what_starts_after_the_judgement_is_wrong_too() -> None:
    side = Side("Succeeded")
    chosen = suite.cells([a_row("Succeeded")])
    suite.play_all(side, Faults(), chosen, lambda _: side.said.append("Succeeded"))  # type: ignore[arg-type]
    assert "later" in chosen[0].wrong[0]


def test_a_fault_happens_once_and_after_all_rows_have_come() -> None:
    happened: list[int] = []
    come: list[int] = []
    gate = Gate([lambda: happened.append(len(come))], 3)

    def row(number: int) -> None:
        run = Run(Side(), "dag", "polling", gate=gate)
        come.append(number)
        run.faults()

    threads = [threading.Thread(target=row, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert happened == [3]


def test_no_two_rows_of_a_mode_open_and_close_the_same_pool() -> None:
    """They are played at the same time."""
    pools = [(cell.row.variant, cell.mode) for cell in suite.cells(ROWS) if cell.row.variant.startswith("pooled")]
    assert pools
    assert len(pools) == len(set(pools))


def test_every_row_says_why_each_program_that_it_wants_cancelled_is() -> None:
    names = [cell.name for cell in suite.cells(ROWS)]
    assert len(names) == len(set(names))
    for row in ROWS:
        assert row.programs.count("Cancelled") == len(row.causes), row.event


def test_the_document_tells_what_was_seen_and_marks_what_is_wrong() -> None:
    seen = {"programs": ["Succeeded"], "state": "success", "tries": 2, "right": True}
    twice = {"programs": ["Succeeded", "running"], "state": "success", "tries": 2, "right": False}
    row = {"event": "e", "mode": "polling", "required": "r", "simulated": True}
    figures: dict[str, Any] = {"versions": {"Airflow": "3"}, "ours_at": "2026-01-01T", "spark_at": None}
    alone = {**row, "ours": seen, "spark": None, "peer": None}
    page = document.page({**figures, "peer_at": None, "rows": [alone]})
    assert "| e (simulated) | polling | r | Succeeded; task success, try 2 |" in page
    assert "Ours: 1 of 1 as required (2026-01-01)." in page
    assert "SparkSubmitOperator:" not in page
    page = document.page({**figures, "peer_at": "2026-01-02T", "rows": [{**alone, "peer": twice}]})
    assert "| e (simulated) | polling | r | - | **Succeeded, running; task success, try 2** |" in page
    assert "SparkSubmitOperator: 0 of 1 as required (2026-01-02)." in page
