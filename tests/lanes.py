"""``make test``: all tests, those on real pods and on a real YARN beside the others.

These mostly wait: for images, schedulers, kubelets, NodeManagers. Side by side the whole takes two thirds of the time.
With a path among the arguments, only what lies there is run, in one lane.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.testbed import site as sites

ROOT = Path(__file__).parents[1]
BESIDE = ("tests/node", "tests/e2e/yarn")
"""What runs beside the rest, in this order."""
LOG = ROOT / "build" / "test-beside.log"
PYTEST = (sys.executable, "-m", "pytest")
NOTHING_COLLECTED = 5
"""pytest's exit code where options such as -k leave no test."""


def names_a_path(arguments: Sequence[str]) -> bool:
    """Whether the arguments say which tests are meant."""
    return any((ROOT / argument.partition("::")[0]).exists() for argument in arguments if not argument.startswith("-"))


def verdict(codes: Sequence[int | None]) -> int:
    """One exit code for all lanes."""
    real = [1 if code is None else code for code in codes if code != NOTHING_COLLECTED]
    return next((code for code in real if code), 0) if real else NOTHING_COLLECTED


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if names_a_path(arguments):
        return subprocess.run([*PYTEST, *arguments], cwd=ROOT, check=False).returncode
    LOG.parent.mkdir(parents=True, exist_ok=True)
    print(
        f"== {' and '.join(BESIDE)} run beside the others; what they say comes at the end ({LOG.relative_to(ROOT)})",
        flush=True,
    )
    began = time.monotonic()
    with sites.temporary("lane") as site:
        beside = site.start("beside", ["env", "-C", ROOT, *PYTEST, *BESIDE, *arguments])
        try:
            without = [f"--ignore={path}" for path in BESIDE]
            rest = subprocess.run([*PYTEST, *without, *arguments], cwd=ROOT, check=False)
            print(f"== {' and '.join(BESIDE)}", flush=True)
            while beside.alive:
                time.sleep(1)
            beside.await_exit_code()
        finally:
            LOG.write_bytes(beside.log.read_bytes())
        print(LOG.read_text(errors="replace"), flush=True)
        code = verdict([rest.returncode, beside.exit_code])
    print(f"== {time.monotonic() - began:.0f} s in all: " + ("passed" if code == 0 else "FAILED, see above"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
