"""Slow things are made once: built binaries, downloaded distributions, compiled jars.

They live outside the repository, in folders named after what they were made from, so that nothing has to be
judged stale: other inputs, other name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.progress import say


def root() -> Path:
    """Return the cache's folder: $DURABLEJOB_CACHE, else durablejob/ in the user's cache folder (XDG)."""
    if chosen := os.environ.get("DURABLEJOB_CACHE"):
        return Path(chosen).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "durablejob"


def state() -> Path:
    """Return the folder of what `up` left running: $DURABLEJOB_STATE, else durablejob/ in XDG's state folder."""
    if chosen := os.environ.get("DURABLEJOB_STATE"):
        return Path(chosen).resolve()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "durablejob"


def key(*parts: str | bytes) -> str:
    """Return a short hash of all parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def made(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached folder `name`; when it is not there, `make` fills it.

    It is filled under another name and renamed, so that it is there whole or not at all; of two processes
    one makes it and the other waits.
    """
    folder = root() / name
    if folder.is_dir():
        return folder
    with locked(name):
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
            partial.mkdir(parents=True)
            make(partial)
            partial.rename(folder)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of one cached thing; the kernel gives it back when we die."""
    path = root() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {name}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
