"""``make seeded``: put each mistake into a copy of the code, and name the test that notices it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.seeded.bugs import BUGS, Bug
from tests.seeded.yarn import YARN

ROOT = Path(__file__).parents[2]
PARTS = ("crds", "controller", "operators", "tests")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


def planted(bug: Bug, copy: Path) -> None:
    """Write the mistake; the place must stand there exactly once, or the list is out of date."""
    path = copy / bug.file
    text = path.read_text()
    count = text.count(bug.right)
    if count != 1:
        raise SystemExit(f"tests/seeded/bugs.py, {bug.name!r}: its place stands {count} times in {bug.file}")
    path.write_text(text.replace(bug.right, bug.wrong))


def caught_by(bug: Bug) -> str | None:
    """The first test that fails with the mistake in the code; None: nobody noticed."""
    with tempfile.TemporaryDirectory(prefix="durablejob-seeded-") as folder:
        copy = Path(folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        planted(bug, copy)
        roots = [copy / "crds", copy / "controller", copy / "operators", copy]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", *bug.asked]
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
        found = _FAILED.search(done.stdout)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{bug.name}: pytest could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return found[1] if found else None


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make seeded", description=__doc__)
    parser.add_argument("--only", default="", help="only bugs whose name contains this")
    parser.add_argument("--json", type=Path, help="write the table there")
    options = parser.parse_args()
    chosen = [bug for bug in (*BUGS, *YARN) if options.only in bug.name]
    began = time.monotonic()
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for bug, test in zip(chosen, pool.map(caught_by, chosen), strict=True):
            rows.append({"name": bug.name, "caught_by": test})
            print(f"{bug.name:72} {test or 'NOBODY NOTICED'}", flush=True)
    missed = [row["name"] for row in rows if row["caught_by"] is None]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} bugs caught in {time.monotonic() - began:.0f} s")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        options.json.write_text(json.dumps({"bugs": rows, **about}, indent=2) + "\n")
    return 1 if missed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
