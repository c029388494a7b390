"""The table as a page, and as lines for a terminal: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = """\
# What happens to a task and its job on Airflow

Written by `make events` (`PEER=1`: beside SparkSubmitOperator) from what it has seen; do not edit. Each row was played
on a real Airflow (scheduler, triggerer, API server, LocalExecutor, real processes and signals), with heartbeats
shortened. The judge is the ledger of the system that runs the programs, never Airflow's word: the column *programs*
says what became of each program that was started, in order. One entry means that it was started once.

*deferred* is `deferrable=True` (our default), *polling* is `deferrable=False`. For our operators the programs are
scripted; for `SparkSubmitOperator` (`durable=True`, cluster mode, Spark's REST API) they are drivers on a real Spark
Master. `-`: not asked of it, since it has neither a resource of its own nor a trigger. (simulated): Airflow's database
was put into the state that an executor leaves which was not run.
"""


def _programs(found: list[str]) -> str:
    return ", ".join(found) or "none"


def outcome(result: Mapping[str, Any] | None) -> str:
    """One side's cell."""
    if result is None:
        return "-"
    text = f"{_programs(result['programs'])}; task {result['state']}, try {result['tries']}"
    return text if result["right"] else f"**{text}**"


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    note = " (simulated)" if row["simulated"] else ""
    return (row["event"] + note, row["mode"], row["required"], outcome(row["ours"]), outcome(row["peer"]))


def page(figures: Mapping[str, Any]) -> str:
    """The whole document."""
    played = [row for row in figures["rows"] if row["ours"]]
    asked = [row for row in figures["rows"] if row["peer"]]
    wide = 5 if asked else 4
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    count = (
        f"Ours: {sum(row['ours']['right'] for row in played)} of {len(played)} as required ({_date(figures['at'])})."
    )
    if asked:
        right = sum(row["peer"]["right"] for row in asked)
        count += f" SparkSubmitOperator: {right} of {len(asked)} ({_date(figures['peer_at'])})."
    else:
        count += " SparkSubmitOperator was not played yet."
    heads = ("event", "mode", "required", "programs, task (ours)", "programs, task (SparkSubmitOperator)")
    lines = [heads, ("---",) * len(heads), *(_row(row) for row in figures["rows"])]
    table = "\n".join("| " + " | ".join(line[:wide]) + " |" for line in lines)
    return f"{HEAD}\n{count} Bold: not as required. Versions: {versions}.\n\n{table}\n"


def _date(at: str | None) -> str:
    return str(at)[:10]


def text(figures: Mapping[str, Any]) -> str:
    """A line for each row."""
    lines = [f"{'event':74} {'mode':9} {'ours':44} SparkSubmitOperator"]
    for row in figures["rows"]:
        event, mode, _, left, right = _row(row)
        lines.append(f"{event[:74]:74} {mode:9} {left:44} {right}")
    return "\n".join(lines)
