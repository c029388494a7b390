"""What a running task asks of Airflow: its identity, its record, its own state. The only user of those APIs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.sdk.observability import stats

from durablejob_airflow import wishes
from durablejob_airflow.contract import Stale
from durablejob_airflow.identity import Record, TaskIdentity, TryFacts, Verb

KEY = "durablejob"
"""Key of the record in ``task_state_store``."""
PROBE_KEY = "durablejob_probe"
"""Key that is written to learn whether our id is live; nobody reads it."""


def in_test_mode() -> bool:
    """``airflow tasks test`` runs under the ids of a real task instance: it must not touch that one's job."""
    return os.environ.get("AIRFLOW_TEST_MODE", "").lower() == "true"


def map_index_of(ti: Any) -> int:
    """The map index; -1 for a task that is not mapped."""
    index = getattr(ti, "map_index", None)
    return -1 if index is None else int(index)


def identity_of(ti: Any, deployment: str) -> TaskIdentity:
    """The identity of the task's work."""
    private = secrets.token_hex(8) if in_test_mode() else ""
    return TaskIdentity(deployment, ti.dag_id, ti.run_id, ti.task_id, map_index_of(ti), private)


def facts_of(context: Mapping[str, Any]) -> TryFacts:
    """The facts of this try."""
    ti, run = context["ti"], context.get("dag_run")
    return TryFacts(
        id=str(ti.id),
        try_number=int(ti.try_number or 0),
        max_tries=int(ti.max_tries or 0),
        clear_number=int(getattr(run, "clear_number", 0) or 0),
    )


def count(context: Mapping[str, Any], decision: Verb) -> None:
    """One more in Airflow's metric ``durablejob.decision.<verb>``, with the DAG and the task as tags.

    The verb is part of the name: plain StatsD knows no tags.
    """
    ti = context["ti"]
    stats.incr(f"durablejob.decision.{decision.name.lower()}", tags={"dag_id": ti.dag_id, "task_id": ti.task_id})


def _archived(error: AirflowRuntimeError) -> bool:
    """The server no longer knows the id: 404, or 410 where it says that the id is archived."""
    detail = error.error.detail
    return isinstance(detail, dict) and detail.get("status_code") in (404, 410)


class TaskStore:
    """The record in ``task_state_store``: kept for the life of the DAG run, whatever the retention."""

    def __init__(self, accessor: Any) -> None:
        self.accessor = accessor

    def load(self) -> Record | None:
        return Record.from_json(self.accessor.get(KEY))

    def save(self, record: Record) -> None:
        """Keep the record.

        :raises Stale: the task instance has got another id since: a next try exists, or will
        """
        try:
            self.accessor.set(KEY, record.to_json(), retention=NEVER_EXPIRE)
        except AirflowRuntimeError as error:
            if _archived(error):
                raise Stale("this task instance was archived: it was retried, cleared or deleted") from error
            raise


class MemoryStore:
    """For ``airflow tasks test``, whose record must not be met by a scheduled run."""

    def __init__(self) -> None:
        self.record: Record | None = None

    def load(self) -> Record | None:
        return self.record

    def save(self, record: Record) -> None:
        self.record = record


def own_state(context: Mapping[str, Any]) -> tuple[wishes.Own, wishes.SeenState]:
    """Is our id live, and what does Airflow say of the task instance? Never raises: no answer is UNKNOWN.

    Reading the store cannot tell (an archived id reads as absent), so something is written.
    """
    ti = context["ti"]
    try:
        context["task_state_store"].set(PROBE_KEY, True, retention=timedelta(hours=1))
        own = wishes.Own.LIVE
    except AirflowRuntimeError as error:
        own = wishes.Own.ARCHIVED if _archived(error) else wishes.Own.UNKNOWN
    except Exception:  # the line to the supervisor may fail in any way; what cannot be learnt keeps the job
        own = wishes.Own.UNKNOWN
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=map_index_of(ti)
        )
    except Exception:  # as above
        return own, wishes.UNKNOWN
    return own, wishes.pick(states, ti.run_id, ti.task_id, map_index_of(ti))
