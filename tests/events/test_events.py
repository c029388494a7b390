"""Every row of the event table on one real Airflow; ``make events`` plays the same and writes the table."""

from __future__ import annotations

from pathlib import Path

from tests.events import ours, suite
from tests.events.faults import Faults
from tests.events.rows import ROWS
from tests.testbed.kube import Cluster


def test_every_row_of_the_event_table(crds: Cluster, tmp_path: Path) -> None:
    chosen = suite.cells(ROWS)
    with ours.running(crds, tmp_path) as side:
        suite.play_all(side, Faults(side.af, side.line.cut, side.line.mend), chosen, suite.Progress(len(chosen)))
        assert {cell.name: cell.wrong for cell in chosen if cell.wrong} == {}
