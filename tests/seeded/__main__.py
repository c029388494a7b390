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
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.seeded.bugs import BUGS, Bug
from tests.seeded.kubernetes import KUBERNETES
from tests.seeded.yarn import YARN

ROOT = Path(__file__).parents[2]
PARTS = ("crds", "controller", "operators", "tests")
LIMIT = 180.0
"""Seconds for the tests that are asked. Who is still running then has noticed nothing: a hang names no cause."""
_FAILED = re.compile(r"^FAILED (?P<test>.+?)(?: - (?P<why>.*))?$", re.MULTILINE)
_BROKEN = ("NameError", "UnboundLocalError", "SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError")
"""What a mistake that is itself miswritten raises: noticing that proves nothing."""


@dataclass(frozen=True)
class Found:
    """What came of one bug."""

    bug: Bug
    test: str | None
    """The first test that failed; None: nobody noticed."""
    why: str
    """What that test said; without one, what happened instead."""


def planted(bug: Bug, copy: Path) -> None:
    """Write the mistake; the place must stand there exactly once, or the list is out of date."""
    path = copy / bug.file
    text = path.read_text()
    count = text.count(bug.right)
    if count != 1:
        raise SystemExit(f"tests/seeded/bugs.py, {bug.name!r}: its place stands {count} times in {bug.file}")
    path.write_text(text.replace(bug.right, bug.wrong))


def caught(bug: Bug) -> Found:
    """The first test that fails, by its own assertion, with the mistake in the code."""
    with tempfile.TemporaryDirectory(prefix="durablejob-seeded-") as folder:
        copy = Path(folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        planted(bug, copy)
        try:
            done = pytest(copy, "-x", *bug.asked)
        except subprocess.TimeoutExpired:
            return Found(bug, None, f"the tests hung for {LIMIT:g} s, which counts as not noticed")
        if done.returncode not in (0, 1):
            raise SystemExit(f"{bug.name}: pytest could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found = _FAILED.search(done.stdout)
        if found is None:
            return Found(bug, None, "all tests passed" if done.returncode == 0 else "a fixture failed, and no test")
        why = found["why"] or ""
        if why.startswith(_BROKEN):
            raise SystemExit(f"tests/seeded/bugs.py, {bug.name!r}: the mistake is no valid code: {why}")
        return Found(bug, found["test"], why)


def pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests on the code in this folder."""
    roots = [folder / "crds", folder / "controller", folder / "operators", folder]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "PYTHONDONTWRITEBYTECODE": "1"}
    env["COLUMNS"] = "200"  # pytest shortens what the tests say to the width of the terminal
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=LIMIT)


def sound(found: list[Found]) -> str:
    """What is wrong with the tests that noticed: each of them must pass on the code as it is."""
    tests = sorted({one.test for one in found if one.test is not None})
    if not tests:
        return ""
    try:
        done = pytest(ROOT, *tests)
    except subprocess.TimeoutExpired:
        return f"they hang for {LIMIT:g} s"
    return "" if done.returncode == 0 else done.stdout[-3000:]


def told(found: Found, done: int, total: int, began: float) -> str:
    """A line about one bug, and the time left."""
    spent = time.monotonic() - began
    left = spent / done * (total - done)
    end = f"{found.test}" if found.test else f"NOBODY NOTICED: {found.why}"
    return f"{done:2} of {total}, {left:3.0f} s left  {found.bug.name}: {end}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make seeded", description=__doc__)
    parser.add_argument("--only", default="", help="only bugs whose name or file contains this")
    parser.add_argument("--json", type=Path, help="write the table there")
    options = parser.parse_args()
    chosen = [bug for bug in (*BUGS, *KUBERNETES, *YARN) if options.only in bug.name or options.only in bug.file]
    began = time.monotonic()
    results: dict[str, Found] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, done in enumerate(as_completed([pool.submit(caught, bug) for bug in chosen]), 1):
            found = done.result()
            results[found.bug.name] = found
            print(told(found, number, len(chosen), began), flush=True)
    rows = [results[bug.name] for bug in chosen]
    print()
    for row in rows:
        print(f"{row.bug.name}\n    {row.test or 'NOBODY NOTICED'}\n    {row.why}")
    unsound = sound(rows)
    if unsound:
        print(f"\nA test that noticed a bug fails without it, too:\n{unsound}")
    missed = [row for row in rows if row.test is None]
    seconds = round(time.monotonic() - began)
    print(f"\n{len(rows) - len(missed)} of {len(rows)} bugs caught in {seconds} s")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        bugs = [{"name": row.bug.name, "caught_by": row.test, "because": row.why} for row in rows]
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
        options.json.write_text(json.dumps({"bugs": bugs, "sound": not unsound, **about}, indent=2) + "\n")
    return 1 if missed or unsound or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
