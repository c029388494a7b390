"""``make events``: play every row, print the table, write it as JSON and as a document."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.events import document, on_spark, ours, suite
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


def play_on_spark(only: str) -> tuple[list[Cell], list[Cell]]:
    """Our operators and Airflow's (which waits in the worker only) on one Spark Master, one after the other."""
    chosen = [cell for cell in suite.cells(ROWS, only) if cell.row.peer]
    others = [cell for cell in suite.cells(ROWS, only) if cell.row.peer and cell.mode == "polling"]
    with tempfile.TemporaryDirectory() as name, on_spark.master(folder := Path(name)) as (standalone, jar):
        if others:
            print(f"-- SparkSubmitOperator on a real Spark Master: {len(others)} rows", flush=True)
            with on_spark.peer(on_spark.Drivers(standalone, folder / "peer", jar)) as peer:
                suite.play_all(peer, Faults(peer.af), others, suite.Progress(len(others)), on_spark.AT_ONCE)
        if chosen:
            print(f"-- DurableSparkSubmitOperator on the same Master: {len(chosen)} rows", flush=True)
            with kube.running() as cluster:
                install(cluster)
                with on_spark.ours(on_spark.Drivers(standalone, folder / "ours", jar), cluster) as ours_there:
                    suite.play_all(
                        ours_there, Faults(ours_there.af), chosen, suite.Progress(len(chosen)), on_spark.AT_ONCE
                    )
    return chosen, others


Played = Mapping[str, Sequence[Cell]]
"""Side -> its cells: ``ours`` (scripted programs), ``spark`` (ours on Spark), ``peer``."""


def rows(played: Played, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All sides' results by row and mode; those of ``before`` stay where a cell was not played now."""
    known = {row["name"]: row for row in before}
    for cell in suite.cells(ROWS):
        known.setdefault(cell.name, {"name": cell.name, **dict.fromkeys(document.SIDES)})
        known[cell.name] |= {
            "event": cell.row.event, "mode": cell.mode, "required": cell.row.required,
            "programs": list(cell.row.programs), "state": cell.row.state, "simulated": cell.row.simulated,
        }  # fmt: skip
    for side, some in played.items():
        for cell in some:
            known[cell.name][side] = entry(cell)
    return [known[cell.name] for cell in suite.cells(ROWS)]


def versions() -> dict[str, str]:
    """Of what was played."""
    found = {"Airflow": version("apache-airflow"), "durablejob": version("durablejob")}
    if number := on_spark.provider_version():
        found[on_spark.PROVIDER] = number
    return found | {"Python": ".".join(map(str, sys.version_info[:3]))}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make events", description=__doc__)
    parser.add_argument("--only", default="", help="only rows whose name contains this; the others' results stay")
    parser.add_argument(
        "--peer", action="store_true", help="also beside Airflow's SparkSubmitOperator, both on one Spark Master"
    )
    parser.add_argument("--peer-only", action="store_true", help="only that; what the other table has stays")
    parser.add_argument("--json", type=Path, help="write the results there, and the document")
    options = parser.parse_args()
    os.environ.pop("AIRFLOW_HOME", None)
    if (options.peer or options.peer_only) and not on_spark.provider_version():
        print(f"{on_spark.PROVIDER} is needed: pip install '.[peer]'", file=sys.stderr)
        return 2
    began = time.monotonic()
    played: dict[str, list[Cell]] = {}
    if not options.peer_only:
        played["ours"] = play_ours(options.only)
    if options.peer or options.peer_only:
        played["spark"], played["peer"] = play_on_spark(options.only)
    before: dict[str, Any] = {}
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
    today = datetime.now(UTC).isoformat(timespec="seconds")
    dates = {f"{side}_at": today if played.get(side) else before.get(f"{side}_at") for side in document.SIDES}
    figures = {
        **dates, "seconds": round(time.monotonic() - began), "versions": versions(),
        "rows": rows(played, before.get("rows", [])),
    }  # fmt: skip
    print("\n" + document.text(figures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
        DOCUMENT.write_text(document.page(figures))
    ours_played = [cell for side in ("ours", "spark") for cell in played.get(side, ())]
    wrong = [cell.name for cell in ours_played if cell.wrong]
    which = f"; wrong: {wrong}" if wrong else ""
    print(f"\nours: {len(ours_played) - len(wrong)} of {len(ours_played)} as required{which}")
    return 1 if wrong or not any(played.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
