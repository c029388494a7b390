"""The time of day that deadlines and times to live are measured by: the API server's, not this machine's.

A deadline is written by one replica and judged by another. Where their clocks differ, a job would be killed hours too
early, or its result deleted before anybody has read it. Every answer of the API server carries its own time in the
header ``Date`` (Go's net/http sets it; whole seconds, cut off): that is a clock that all replicas share.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

TOLERANCE = timedelta(seconds=2)
"""An answer is late by its way, and its time is cut off: what is behind by less does not turn the clock back."""


class Clock:
    """Runs by this process's monotonic clock, and is set by the API server's answers; until then, by this machine's."""

    def __init__(self) -> None:
        self._epoch = datetime.now(UTC) - timedelta(seconds=time.monotonic())
        self._set = False

    def now(self) -> datetime:
        """The time of day."""
        return self._epoch + timedelta(seconds=time.monotonic())

    def told(self, date: str | None) -> None:
        """The API server says that it is this late (RFC 9110, ``Date``); anything else is passed over."""
        try:
            said = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if said.tzinfo is None:  # "-0000": a time that says of itself that its zone is not known
            return
        epoch = said - timedelta(seconds=time.monotonic())
        if not self._set or epoch > self._epoch or epoch < self._epoch - TOLERANCE:
            self._epoch, self._set = epoch, True
