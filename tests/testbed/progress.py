"""What the testbed tells a person while something slow goes on (on standard error)."""

from __future__ import annotations

import sys
import time


def say(text: str) -> None:
    """Print one line."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)


class Progress:
    """One line that is rewritten on a terminal, or repeated now and then in a log file."""

    def __init__(self, what: str, total: int, every: float = 15) -> None:
        """Report on `what`, of which there is `total`; in a log file at most once in `every` seconds."""
        self._what = what
        self._total = max(total, 1)
        self._terminal = sys.stderr.isatty()
        self._every = 0.2 if self._terminal else every
        self._begin = time.monotonic()
        self._last = 0.0

    def at(self, done: int) -> None:
        """Tell how much is done."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        self._show(f"{min(done, self._total) * 100 // self._total:3d} %", end="")

    def end(self) -> float:
        """Close the line; return how long it took, in seconds."""
        self._show("done ", end="\n")
        return time.monotonic() - self._begin

    def _show(self, state: str, end: str) -> None:
        seconds = time.monotonic() - self._begin
        line = f"testbed: {self._what}: {state} {seconds // 60:.0f}:{seconds % 60:02.0f}"
        if self._terminal:
            print(f"\r{line}", end=end, file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
