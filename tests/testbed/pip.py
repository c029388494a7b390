"""Puts a PyPI package into a folder of the cache, without touching the project's environment."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.progress import say


def install(target: Path, *requirements: str) -> None:
    """Install exactly these distributions (no dependencies) below `target`.

    Raises:
        TestbedError: neither pip nor uv is here, or the installer refused.

    """
    command = [*_installer(), "--no-deps", "--target", str(target), *requirements]
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=15)
                break
            except subprocess.TimeoutExpired:
                say(f"still fetching {' '.join(requirements)}: {time.monotonic() - begin:.0f} s")
    if process.returncode != 0:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise TestbedError(f"could not install {' '.join(requirements)}: {last}")


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    beside = Path(sys.executable).with_name("uv")  # a virtual environment made by uv has no pip
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise TestbedError("pip or uv is needed to fetch packages from PyPI: `python -m ensurepip` brings pip")
