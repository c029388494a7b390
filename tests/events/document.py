"""The table as a page, and as lines for a terminal: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SIDES = ("ours", "spark", "peer")
"""Our operators with scripted programs; ours on Spark; Airflow's own on the same Spark."""

HEAD = """\
# What happens to a task and its job on Airflow

Written by `make events` from what it has seen; do not edit (`PEER=1` adds a second table, if it was played). Each row
was played on a real Airflow (scheduler, triggerer, API server, LocalExecutor, real processes and signals), with
heartbeats shortened, and with an observer that looks every 8 seconds instead of every minute (an index that is removed
is kept for 5 looks instead of 10). One task is deferred all the time: the observer lives beside a trigger.

The judge is the ledger of the system that runs the programs, never Airflow's word: the column *programs* says what
became of each program that was started, in order. One entry means that it was started once. *deferred* is
`deferrable=True` (our default), *polling* is `deferrable=False`. (simulated): Airflow's database was put into the state
that an executor leaves which was not run. Bold: not as required.
"""
OURS = """\
## Every row

`DurableJobOperator` on a real API server; what the programs do is scripted, so that they do it on cue.
"""
BESIDE = """\
## Beside SparkSubmitOperator, on one Spark Master

The rows that can be asked of Airflow's own operator, for both with real drivers on the same real Spark Master:
`SparkSubmitOperator` as its documentation recommends it (`durable=True`, cluster mode, Spark's REST API), and
`DurableSparkSubmitOperator` with the controller. `-`: Airflow's operator does not defer.
"""


def _programs(found: list[str]) -> str:
    return ", ".join(found) or "none"


def outcome(result: Mapping[str, Any] | None) -> str:
    """One side's cell."""
    if result is None:
        return "-"
    text = f"{_programs(result['programs'])}; task {result['state']}, try {result['tries']}"
    return text if result["right"] else f"**{text}**"


def _event(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["event"] + (" (simulated)" if row["simulated"] else ""), row["mode"], row["required"])


def _table(rows: Sequence[Mapping[str, Any]], sides: Mapping[str, str]) -> str:
    """A table of some sides (name of a side -> head of its column)."""
    heads = ("event", "mode", "required", *(f"programs, task ({head})" for head in sides.values()))
    lines = [heads, ("---",) * len(heads), *((*_event(row), *(outcome(row[side]) for side in sides)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _count(figures: Mapping[str, Any], side: str, name: str) -> str:
    """How many of a side's rows were as required, and when."""
    played = [row[side]["right"] for row in figures["rows"] if row[side]]
    return f"{name}: {sum(played)} of {len(played)} as required ({_date(figures[f'{side}_at'])})."


def page(figures: Mapping[str, Any]) -> str:
    """The whole document."""
    rows = figures["rows"]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    parts = [HEAD + f"\nVersions: {versions}.\n", OURS + "\n" + _count(figures, "ours", "Ours") + "\n"]
    parts.append(_table(rows, {"ours": "ours"}) + "\n")
    beside = [row for row in rows if row["spark"] or row["peer"]]
    if beside:
        counts = (_count(figures, "spark", "Ours"), _count(figures, "peer", "SparkSubmitOperator"))
        parts += [BESIDE + "\n" + " ".join(counts) + "\n"]
        parts += [_table(beside, {"spark": "ours", "peer": "SparkSubmitOperator"}) + "\n"]
    return "\n".join(parts)


def _date(at: str | None) -> str:
    return str(at)[:10]


def text(figures: Mapping[str, Any]) -> str:
    """A line for each row."""
    lines = [f"{'event':74} {'mode':9} {'ours':44} {'ours on Spark':44} SparkSubmitOperator"]
    for row in figures["rows"]:
        event, mode, _ = _event(row)
        lines.append(
            f"{event[:74]:74} {mode:9} {outcome(row['ours']):44} {outcome(row['spark']):44} {outcome(row['peer'])}"
        )
    return "\n".join(lines)
