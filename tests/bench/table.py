"""A benchmark's command: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.testbed.errors import TestbedError

Figures = dict[str, float]
Row = tuple[str, str, str, str]
"""What it is, its name among the figures, its unit, and the target ("-": none; "(peer)": another's)."""


def parser(prog: str, about: str | None) -> argparse.ArgumentParser:
    """The options that all have."""
    made = argparse.ArgumentParser(prog=prog, description=about)
    made.add_argument("--json", type=Path, help="write the figures there")
    made.add_argument("--quick", action="store_true", help="fewer samples")
    return made


def show(rows: Sequence[Row], measure: Callable[[], Figures], target: Path | None, **versions: str) -> int:
    """Measure and tell, also with which versions; returns the command's exit code."""
    load = os.getloadavg()[0]
    try:
        figures = measure()
    except TestbedError as error:
        print(f"the benchmark cannot run: {error}", file=sys.stderr)
        return 2
    print(f"\n{'what':48} {'measured':>10}       {'target':>8}")
    for title, name, unit, goal in rows:
        print(f"{title:48} {figures[name]:10.1f} {unit:5} {goal:>8}")
    print(f"(load of the machine when it began: {load:.1f} on {os.cpu_count()} cores)")
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        about = {
            **versions,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "load": load,
        }
        target.write_text(json.dumps({**figures, "about": about}, indent=2) + "\n")
        print(f"written to {target}")
    return 0
