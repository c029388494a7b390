"""A task of our operator with neither Kubernetes nor Airflow: its jobs are in memory, and Airflow is imitated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from durablejob_airflow.operators import DurableJobOperator
from tests.operators.memory import MemoryJobs
from tests.operators.test_operator import Task

POLL = 0.01
"""Seconds between two looks at a job."""


class Desk:
    """One task, and its job."""

    def __init__(self) -> None:
        self.task = Task("unused")
        self.jobs = MemoryJobs()

    def operator(self, **arguments: Any) -> DurableJobOperator:
        operator = self.task.operator(**{"poll_interval": POLL} | arguments)
        ref = {"kind": "JobBackend", "name": "fake", "type": "Plugin"}
        operator.hook = SimpleNamespace(
            jobs=lambda namespace: self.jobs,
            deployment_id="tests",
            resource_url=lambda *_: "http://job.example",
            backend_ref=lambda *_: ref,
        )
        return operator

    def deferred(self) -> dict[str, Any]:
        """Let the task defer, and its job succeed; returns the trigger's event."""
        with pytest.raises(TaskDeferred):
            self.operator(deferrable=True).execute(self.task.context())
        (name,) = self.jobs.kept
        self.jobs.end(name)
        result = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "attempt": 1, "externalId": "run-1"}
        return {"namespace": "ns", "name": name, "attempt": 1, "state": "Succeeded", "result": result}

    @property
    def job(self) -> dict[str, Any]:
        (job,) = self.jobs.kept.values()
        return job
