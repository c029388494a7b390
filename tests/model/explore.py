"""``make explore``: explore the real ``decide`` in every world, take its rules away one by one, print both tables.

Each exploration runs in a process of its own, as many at once as there are cores. The exit code is 1 when a state
violates an invariant, when a healthy system could not finish from some state, or when a missing rule is not noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.model.ablations import ABLATIONS, noticed
from tests.model.checker import Result
from tests.model.worlds import FULL, SMALL, Exploration, title

ENOUGH = 100_000
"""States that the largest world of each kind must have in the full run, with one controller and with two."""


def _run(exploration: Exploration) -> Result:
    return exploration.run()


def _ablate(index: int) -> Result:
    return ABLATIONS[index].run()


def explorations(chosen: tuple[Exploration, ...], pool: ProcessPoolExecutor) -> tuple[list[dict[str, Any]], bool]:
    """Explore, print a row each; return the rows, and whether all is well."""
    print(f"{'world':72} {'controllers':>11} {'states':>9} {'violations':>10} {'stuck':>6} {'seconds':>8}")
    rows, well = [], True
    for exploration, result in zip(chosen, pool.map(_run, chosen), strict=True):
        stuck = "?" if result.stuck is None else str(result.stuck)
        count = exploration.options.controllers
        row = f"{title(exploration):72} {count:11} {result.states:9} {len(result.violations):10} {stuck:>6}"
        print(f"{row} {result.seconds:8.1f}{'' if result.complete else '  cut here'}", flush=True)
        for violation, trace in result.violations.items():
            print("   ", violation, *trace, sep="\n        ")
        if result.stuck:
            print("    stuck:", *result.stuck_trace, sep="\n        ")
        well = well and result.complete and not result.violations and result.stuck == 0
        rows.append(
            {
                "name": title(exploration),
                "controllers": count,
                "states": result.states,
                "violations": len(result.violations),
                "stuck": result.stuck,
                "complete": result.complete,
                "ends": result.ends,
            }
        )
    return rows, well


def thin(rows: list[dict[str, Any]]) -> list[str]:
    """Kinds whose largest world is too small to prove much, with one or with two controllers."""
    largest: dict[tuple[str, int], int] = {}
    for row in rows:
        kind = row["name"].partition(" [")[0].partition(",")[0], row["controllers"]
        largest[kind] = max(largest.get(kind, 0), row["states"])
    return [f"{name} with {count}: {states}" for (name, count), states in largest.items() if states < ENOUGH]


def ablations(pool: ProcessPoolExecutor) -> tuple[list[dict[str, Any]], bool]:
    """Take each rule away, print a row each; return the rows, and whether each absence was noticed."""
    print(f"\n{'rule taken away':84} noticed")
    rows, well = [], True
    for ablation, result in zip(ABLATIONS, pool.map(_ablate, range(len(ABLATIONS))), strict=True):
        found = noticed(result)
        how = next(iter(result.violations), "stuck" if result.stuck else "")
        print(f"{ablation.rule:84} {'yes: ' + how if found else 'NO'}", flush=True)
        rows.append({"rule": ablation.rule, "noticed": found, "how": how})
        well = well and found
    return rows, well


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make explore", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_const", dest="worlds", const=FULL, help="the large worlds (the default)")
    size.add_argument(
        "--small", action="store_const", dest="worlds", const=SMALL, help="the part that runs with the tests"
    )
    parser.add_argument("--kind", help="only worlds whose name begins with this, and no ablations")
    parser.add_argument("--json", type=Path, help="write the tables there")
    options = parser.parse_args()
    chosen = tuple(e for e in (options.worlds or FULL) if e.name.startswith(options.kind or ""))
    if not chosen:
        parser.error(f"--kind: there is {', '.join(sorted({e.name for e in FULL}))}")
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1) as pool:
        kinds, well = explorations(chosen, pool)
        rules, all_noticed = ([], True) if options.kind else ablations(pool)
    if options.worlds is not SMALL:
        small = thin(kinds)
        print(*(f"fewer than {ENOUGH} states: {line}" for line in small), sep="\n")
        well = well and not small
    seconds = round(time.monotonic() - began)
    verdict = "all is well" if well and all_noticed else "NOT WELL"
    print(f"\n{sum(kind['states'] for kind in kinds)} states in {seconds} s: {verdict}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
        options.json.write_text(json.dumps({"kinds": kinds, "ablations": rules, **about}, indent=2) + "\n")
    return 0 if well and all_noticed else 1


if __name__ == "__main__":
    sys.exit(main())
