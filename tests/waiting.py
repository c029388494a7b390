"""Waiting for what others do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK = 0.2


def eventually(test: Callable[[], bool], otherwise: str, timeout: float = 60) -> None:
    """Return once ``test`` holds; fail with ``otherwise`` where it does not within so many seconds."""
    deadline = time.monotonic() + timeout
    while not test():
        assert time.monotonic() < deadline, otherwise
        time.sleep(LOOK)
