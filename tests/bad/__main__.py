"""``make bad``: 10,000 bad resources beside good jobs, on a real API server; prints a table and writes it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bad.flood import Report, flood
from tests.testbed import kube
from tests.testbed.kube.crds import install


def table(report: Report) -> None:
    """Verdicts, most frequent first."""
    for title, counted in (("verdict", report.verdicts), ("backend's Ready", report.backends)):
        print(f"\n{title:60} {'objects':>8}")
        for name, number in counted.most_common():
            print(f"{name:60} {number:8}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make bad", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="bad objects (default: %(default)s)")
    parser.add_argument("--stored", type=int, default=200, help="invalid ones that are stored (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other objects (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", flush=True)

    with kube.running() as cluster:
        install(cluster)
        report = flood(cluster, seed=options.seed, count=options.count, stored=options.stored, say=say)
    table(report)
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "total_s": round(time.monotonic() - began)}
    figures = report.to_json() | about
    print("\n" + json.dumps({name: value for name, value in figures.items() if name not in ("verdicts", "backends")}))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if report.well else 1


if __name__ == "__main__":
    sys.exit(main())
