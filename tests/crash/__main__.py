"""``make crash``: trace each story, crash it everywhere, print the table, write it as JSON.

What is finished is kept: interrupted in whatever way, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from tests.crash import bench as benches
from tests.crash import matrix, suite
from tests.crash.bench import Bench
from tests.crash.book import Book, fingerprint
from tests.crash.calls import KNOWN
from tests.crash.cell import Cell, Result
from tests.crash.real import RealSparkSystem
from tests.testbed import kube
from tests.testbed.kube.crds import install
from tests.testbed.spark.distribution import VERSION as SPARK_VERSION

TAKES = 3
"""Runs of each story without a crash; what only some of them call is chance."""
DOUBLES = 400
"""Cells of ``--double``, unless ``--cells`` says otherwise."""
INTERRUPTED = 130


class Lab:
    """One run of the command. The systems are started when the first cell needs them."""

    def __init__(self, stack: ExitStack, book: Book, logs: Path | None) -> None:
        self._stack, self._book, self._logs = stack, book, logs
        self._began = time.monotonic()
        self._versions: dict[str, str] = {}

    @cached_property
    def bench(self) -> Bench:
        cluster = self._stack.enter_context(kube.running())
        install(cluster)
        server = json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"]
        libraries = {name: version(name) for name in ("kopf", "httpx", "kubernetes")}
        self._versions = {
            "Kubernetes": server,
            "Spark": SPARK_VERSION,
            "Python": platform.python_version(),
            **libraries,
        }
        return self._stack.enter_context(benches.running(cluster))

    def known(self, cells: Sequence[Cell]) -> int:
        """How many of these are not to be run again."""
        return sum(self._book.find(cell) is not None for cell in cells)

    def results(
        self, cells: Sequence[Cell], progress: Callable[[Sequence[Cell], Sequence[Result]], Teller]
    ) -> list[Result]:
        """Of all these cells, from the book or by running them."""
        taken = {cell.name: result for cell in cells if (result := self._book.find(cell))}
        todo = [cell for cell in cells if cell.name not in taken]
        tell = progress(todo, list(taken.values()))

        def note(result: Result) -> None:
            self._book.write(result, time.monotonic() - self._began, self._versions)
            if result.wrong and self._logs:
                suite.keep(result, self._logs)
            tell(result)

        run = {result.cell.name: result for result in suite.run_all(self.bench, todo, note)} if todo else {}
        return [taken.get(cell.name) or run[cell.name] for cell in cells]


Teller = Callable[[Result], None]


def tracing(only: str, double: bool) -> list[Cell]:
    """The runs without a crash that are needed to know the cells that are asked for."""
    systems = [name for name in matrix.STORIES if not (double and name == RealSparkSystem.name)]
    cells = matrix.traces(systems, TAKES)
    return [cell for cell in cells if only in cell.tale] or cells


def table(results: Sequence[Result]) -> None:
    """A line per story."""
    by_story: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_story[result.cell.tale].append(result)
    heads = ("story", "cells", "passed", "skipped", "twice", "left", "wrong end", "recovery p50", "max")
    print("\n{:52} {:>6} {:>7} {:>8} {:>6} {:>5} {:>10} {:>13} {:>6}".format(*heads))
    for name, found in by_story.items():
        f = suite.Tally.of(found).figures()
        print(
            f"{name:52} {f['cells']:6} {f['passed']:7} {f['skipped']:8} {f['duplicates']:6} {f['orphans']:5} "
            f"{f['wrong_ends'] + f['stuck']:10} {f['recovery_s']['p50']:12.1f}s {f['recovery_s']['max']:5.1f}s"
        )


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """Of all, and of each system."""
    by_system: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_system[result.cell.system].append(result)
    systems = {name: suite.Tally.of(found).figures() for name, found in by_system.items()}
    return {**suite.Tally.of(results).figures(), "systems": systems}


def examine(lab: Lab, options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Find all results that are asked for; returns the figures, and whether all is well."""
    traces = lab.results(tracing(options.only, options.double), partial(suite.Progress, what="runs without a crash"))
    strays = [trace for trace in traces if trace.wrong]
    for trace in strays:
        print(f"WRONG without any crash: {trace.cell.name}: {trace.wrong}\n{trace.log[-3000:]}")
    new = matrix.unknown(traces, KNOWN)
    for call in sorted(new):
        print(f"NEW CALL, without a case (tests/crash/calls.py): {call}")
    chance = matrix.by_chance(traces)
    for call, stories in chance.items():
        print(
            f"crash: only by chance in some stories, and no cell there; certain in {len(stories)} others: {call}",
            flush=True,
        )
    cells = matrix.cells(traces)
    if options.double:
        cells = matrix.doubles(cells, options.cells or DOUBLES)
    chosen = [cell for cell in cells if options.only in cell.name]
    chosen = matrix.sample(chosen, options.cells) if options.cells else chosen
    print(f"crash: {len(cells)} cells in all, {len(chosen)} chosen, {lab.known(chosen)} finished before", flush=True)
    results = lab.results(chosen, suite.Progress)
    table(results)
    found = figures(results)
    found |= {"complete": len(chosen) == len(cells) and not options.only, "only_by_chance": chance}
    well = not (found["cells"] - found["passed"] or found["skipped"] or new or strays) and bool(results)
    return found, well


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--cells", type=int, help="only so many, the same ones each time (default: all)")
    parser.add_argument("--double", action="store_true", help=f"a second crash in each ({DOUBLES} cells by default)")
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    parser.add_argument("--only", default="", help="only cells whose name contains this (`real`: on the real Spark)")
    parser.add_argument("--logs", type=Path, help="write all about what went wrong there")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--book", type=Path, required=True, help="the results that are finished stand there")
    return parser.parse_args()


def main() -> int:
    """The command."""
    options = parse()
    signal.signal(signal.SIGTERM, _interrupt)
    code = fingerprint()
    book = Book(options.book, code, fresh=options.fresh)
    if len(book):
        print(f"crash: {len(book)} results of this very code are taken over (--fresh, FRESH=1: none)", flush=True)
    elif options.logs:
        shutil.rmtree(options.logs, ignore_errors=True)
    try:
        with ExitStack() as stack:
            found, well = examine(Lab(stack, book, options.logs), options)
    except KeyboardInterrupt:
        print(f"crash: interrupted; {len(book)} results are kept, the same command goes on from there", flush=True)
        return INTERRUPTED
    finally:
        book.close()
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": round(book.seconds)}
    found |= {**about, "code": code, "versions": book.versions}
    print("\n" + json.dumps(found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if well else 1


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
