"""``make crash``: trace each story, crash it everywhere, print the table, write it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from tests.crash import matrix, suite
from tests.crash.calls import KNOWN
from tests.crash.cell import Bench, Cell, Result
from tests.testbed import kube

ROOT = Path(__file__).parents[2]


def traced(bench: Bench) -> tuple[list[Result], list[Cell]]:
    """Each story without a crash, and the crashes that follow from it."""
    traces = suite.run_all(bench, matrix.tracing())
    return traces, [cell for trace in traces for cell in matrix.cells(trace)]


def table(results: list[Result]) -> None:
    """A line per story."""
    by_story: dict[str, suite.Tally] = defaultdict(suite.Tally)
    for result in results:
        by_story[result.cell.tale].add(result)
    heads = ("story", "cells", "passed", "twice", "left", "wrong end", "recovery p50", "max")
    print("\n{:44} {:>6} {:>7} {:>6} {:>5} {:>10} {:>13} {:>6}".format(*heads))
    for name, tally in by_story.items():
        f = tally.figures()
        print(
            f"{name:44} {f['cells']:6} {f['passed']:7} {f['duplicates']:6} {f['orphans']:5} "
            f"{f['wrong_ends'] + f['stuck']:10} {f['recovery_s']['p50']:12.1f}s {f['recovery_s']['max']:5.1f}s"
        )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--cells", type=int, help="only so many, the same ones each time (default: all)")
    parser.add_argument("--only", help="only cells whose name contains this")
    parser.add_argument("--logs", type=Path, help="write the controllers' logs of what went wrong there")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    began = time.monotonic()
    with kube.running() as cluster:
        files = [argument for path in sorted((ROOT / "crds").glob("*.yaml")) for argument in ("-f", str(path))]
        cluster.kubectl("apply", "--server-side", *files)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
        with suite.bench(cluster) as bench:
            traces, cells = traced(bench)
            for trace in traces:
                if trace.wrong:
                    print(f"WRONG without any crash: {trace.cell.name}: {trace.wrong}\n{trace.log}")
            new = matrix.unknown(traces, KNOWN)
            for call in sorted(new):
                print(f"NEW CALL, without a case (tests/crash/calls.py): {call}")
            chosen = [cell for cell in cells if (options.only or "") in cell.name]
            chosen = matrix.sample(chosen, options.cells) if options.cells else chosen
            print(f"crash: {len(cells)} cells in all, {len(chosen)} chosen", flush=True)
            results = suite.run_all(bench, chosen, suite.Progress(len(chosen)))
    table(results)
    tally = suite.Tally()
    for result in results:
        tally.add(result)
        if result.wrong and options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            name = "".join(c if c.isalnum() else "-" for c in result.cell.name)
            calls = "\n".join(result.trace)
            (options.logs / f"{name}.log").write_text(f"{result.wrong}\n\n{result.log}\n\n{calls}\n")
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": round(time.monotonic() - began)}
    figures = tally.figures() | about
    print("\n" + json.dumps(figures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    well = not tally.failures and not new and not any(trace.wrong for trace in traces)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
