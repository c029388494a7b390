"""``make faults``: play every scene, print the table, write it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.crash import bench as benches
from tests.faults import answers, leaders, outages, suite, watches
from tests.faults.scene import Result
from tests.testbed import kube
from tests.testbed.kube.crds import install


def parts() -> dict[str, tuple[Sequence[suite.Cell], int]]:
    """What there is, and how much of it at once."""
    return {
        "watches": (watches.cells(), suite.AT_ONCE),
        "leaders": (leaders.cells(), 5),  # most of them wait for a minute
        "answers": (answers.cells(), suite.AT_ONCE),
        "later": (outages.cells(), suite.AT_ONCE),
        "crowd": (leaders.crowd(), 1),
        "outages": (outages.away(), 1),
    }


def play(only: str) -> list[Result]:
    """All scenes whose part or name contains this."""
    results: list[Result] = []
    with kube.running() as cluster:
        install(cluster)
        with benches.running(cluster) as bench:
            for part, (cells, at_once) in parts().items():
                chosen = [cell for cell in cells if only in part or only in cell.name]
                if chosen:
                    print(f"faults: {part}: {len(chosen)} scenes, {at_once} at once", flush=True)
                    results += suite.run_all(bench, chosen, suite.Progress(len(chosen)), at_once)
    return results


def _replaced(before: Sequence[dict[str, Any]], scenes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scenes of before that there still are, with their dates; those that were played now in their places."""
    known = {scene["name"]: scene for scene in [*before, *scenes]}
    return [known[cell.name] for cells, _ in parts().values() for cell in cells if cell.name in known]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument(
        "--only", default="", help="only scenes whose part or name contains this; the others' results in --json stay"
    )
    parser.add_argument("--logs", type=Path, help="write the controllers' logs of what went wrong there")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    began = time.monotonic()
    results = play(options.only)
    suite.table(results)
    for result in results:
        if result.wrong and options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            name = "".join(c if c.isalnum() else "-" for c in result.name)
            (options.logs / f"{name}.log").write_text("\n".join(result.wrong) + f"\n\n{result.log}")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    scenes = [suite.entry(result, at) for result in results]
    if options.only and options.json and options.json.exists():
        scenes = _replaced(json.loads(options.json.read_text())["by_scene"], scenes)
    figures = suite.figures(scenes) | {"at": at, "seconds": round(time.monotonic() - began)}
    print("\n" + json.dumps({name: value for name, value in figures.items() if name != "by_scene"}))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if not results or any(result.wrong for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
