"""What a job's holder needs of the Airflow around it, and how it says that it must stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from durablejob_airflow.identity import OnLost, Record


class Stale(Exception):
    """Another try holds the job: this one stops and touches nothing."""


class CannotRun(Exception):
    """The job cannot be had, and trying again would not help."""


class Store(Protocol):
    """Where the record of this task's run lives (``task_state_store``)."""

    def load(self) -> Record | None:
        """The record; None also under an archived id, which only :meth:`save` tells apart."""

    def save(self, record: Record) -> None:
        """Keep the record for the life of the run.

        :raises Stale: this try is archived
        """


class Log(Protocol):
    """What is needed of a logger."""

    def info(self, event: Any, *args: Any) -> Any:
        """Tell."""

    def warning(self, event: Any, *args: Any) -> Any:
        """Warn."""


@dataclass(frozen=True)
class Policy:
    """The author's choices."""

    on_lost: OnLost = "fail"
    durable: bool = True
    fail_on_changed_work: bool = False
