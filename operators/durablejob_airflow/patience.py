"""How long a worker waits, and what makes it stop: a deadline, or the meaning of a signal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowTaskTimeout,
)

from durablejob_airflow import wishes
from durablejob_airflow.airflow_side import own_state

log = logging.getLogger(__name__)

RESCHEDULE_SECONDS = 10
"""After a deploy or an eviction: when the same try looks at its job again."""


class KillWatch:
    """Finds out what a SIGTERM meant, beside the main thread.

    Nothing may be asked in the signal handler: the main thread may hold the lock of the line to the
    supervisor. So ``asked()`` starts a daemon thread and returns; the supervisor goes on answering for
    5 s before it sends SIGKILL.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.context = context
        self.decided = threading.Event()
        self.verdict = wishes.KEEP
        self._thread: threading.Thread | None = None

    def asked(self, act: Callable[[str], object]) -> None:
        """Called from the signal handler: learn the verdict, and hand one that is a cancel to ``act(cause)``."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._learn, args=(act,), name="durablejob-on-kill", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """If a verdict is being sought, wait for it that long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _learn(self, act: Callable[[str], object]) -> None:
        verdict = wishes.of_worker(*own_state(self.context))
        self.verdict = verdict
        try:
            if verdict.act is wishes.Act.CANCEL:
                act(verdict.cause)
        finally:
            if verdict.act is not wishes.Act.KEEP:
                self.decided.set()


class Patience:
    """Sleeps of one task process, for as long as there is reason to wait."""

    def __init__(self, kill: KillWatch, deadline: datetime | None) -> None:
        self.kill = kill
        self.deadline = deadline

    @property
    def rest(self) -> timedelta | None:
        """What is left of the time; at least a second, None without a deadline."""
        return None if self.deadline is None else max(self.deadline - datetime.now(UTC), timedelta(seconds=1))

    def pause(self, seconds: float) -> None:
        """Sleep, unless the verdict on a signal comes in, or the time is over.

        :raises AirflowTaskTimeout: the deadline has passed
        :raises AirflowRescheduleException: the process is to stop, the task is not: the same try comes back
        :raises AirflowFailException: a person ended the task, and the job is cancelled
        """
        if self.deadline is not None:
            rest = (self.deadline - datetime.now(UTC)).total_seconds()
            if rest <= 0:
                raise AirflowTaskTimeout("execution_timeout is over")
            seconds = min(seconds, rest)
        if not self.kill.decided.wait(seconds):
            return
        if self.kill.verdict.act is wishes.Act.RESCHEDULE:
            log.info("This process is to stop, the task is not: the job goes on, and the same try comes back to it")
            when = datetime.now(UTC) + timedelta(seconds=RESCHEDULE_SECONDS)
            raise AirflowRescheduleException(when)  # type: ignore[no-untyped-call]  # untyped in Airflow
        raise AirflowFailException(f"The task was ended from outside ({self.kill.verdict.cause}); its job is cancelled")

    def settle(self, seconds: float) -> None:
        """Before handing over: if a signal came, learn first whether it was a person's wish.

        :raises AirflowFailException: it was
        """
        self.kill.finish(seconds)
        if self.kill.verdict.act is wishes.Act.CANCEL:
            self.pause(0)
