"""``make events``: play every row, print the table, write it as JSON and as a document."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.events import document, ours, peer, suite
from tests.events.faults import Faults
from tests.events.rows import ROWS
from tests.events.suite import Cell
from tests.testbed import kube
from tests.testbed.kube.crds import install

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "airflow-events.md"


def entry(cell: Cell) -> dict[str, Any]:
    """What came of one cell, as build/results/events.json has it."""
    return {
        "programs": cell.programs, "state": cell.state, "tries": cell.tries, "seconds": round(cell.seconds),
        "right": not cell.wrong, "wrong": cell.wrong,
    }  # fmt: skip


def play_ours(only: str) -> list[Cell]:
    """Our operators, in all their modes."""
    chosen = suite.cells(ROWS, only)
    with tempfile.TemporaryDirectory() as folder, kube.running() as cluster:
        install(cluster)
        with ours.running(cluster, Path(folder)) as side:
            faults = Faults(side.af, side.line.cut, side.line.mend)
            suite.play_all(side, faults, chosen, suite.Progress(len(chosen)))
    return chosen


def play_peer(only: str) -> list[Cell]:
    """Airflow's operator, which waits in the worker only."""
    asked = [cell for cell in suite.cells(ROWS, only) if cell.mode == "polling"]
    chosen = [cell for cell in asked if cell.row.peer]
    for cell in asked:
        if not cell.row.peer:
            print(f"events: not asked of SparkSubmitOperator: {cell.row.event}")
    with tempfile.TemporaryDirectory() as folder, peer.running(Path(folder)) as side:
        suite.play_all(side, Faults(side.af), chosen, suite.Progress(len(chosen)), peer.AT_ONCE)
    return chosen


def rows(cells: Sequence[Cell], others: Sequence[Cell], before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both sides' results by row and mode; those of ``before`` stay where a cell was not played now."""
    known = {row["name"]: row for row in before}
    for cell in suite.cells(ROWS):
        known.setdefault(cell.name, {"name": cell.name, "ours": None, "peer": None})
        known[cell.name] |= {
            "event": cell.row.event, "mode": cell.mode, "required": cell.row.required,
            "programs": list(cell.row.programs), "state": cell.row.state, "simulated": cell.row.simulated,
        }  # fmt: skip
    for side, played in (("ours", cells), ("peer", others)):
        for cell in played:
            known[cell.name][side] = entry(cell)
    return [known[cell.name] for cell in suite.cells(ROWS)]


def versions() -> dict[str, str]:
    """Of what was played."""
    found = {"Airflow": version("apache-airflow"), "durablejob": version("durablejob")}
    if number := peer.provider_version():
        found[peer.PROVIDER] = number
    return found | {"Python": ".".join(map(str, sys.version_info[:3]))}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make events", description=__doc__)
    parser.add_argument("--only", default="", help="only rows whose name contains this; the others' results stay")
    parser.add_argument("--peer", action="store_true", help="the same rows with Airflow's SparkSubmitOperator")
    parser.add_argument("--peer-only", action="store_true", help="only those; ours stay as they were")
    parser.add_argument("--json", type=Path, help="write the results there, and the document")
    options = parser.parse_args()
    os.environ.pop("AIRFLOW_HOME", None)
    if (options.peer or options.peer_only) and not peer.provider_version():
        print(f"{peer.PROVIDER} is needed: pip install '.[peer]'", file=sys.stderr)
        return 2
    began = time.monotonic()
    cells = [] if options.peer_only else play_ours(options.only)
    others = play_peer(options.only) if options.peer or options.peer_only else []
    before: dict[str, Any] = {}
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
    at = datetime.now(UTC).isoformat(timespec="seconds")
    table = rows(cells, others, before.get("rows", []))
    figures = {
        "at": at if cells else before.get("at"), "peer_at": at if others else before.get("peer_at"),
        "seconds": round(time.monotonic() - began), "versions": versions(), "rows": table,
    }  # fmt: skip
    print("\n" + document.text(figures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
        DOCUMENT.write_text(document.page(figures))
    wrong = [cell.name for cell in cells if cell.wrong]
    print(f"\n{len(cells) - len(wrong)} of {len(cells)} rows as required" + (f"; wrong: {wrong}" if wrong else ""))
    return 1 if wrong or not (cells or others) else 0


if __name__ == "__main__":
    sys.exit(main())
