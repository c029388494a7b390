"""The wish that a job ends, in the worker and in the triggerer: how often it is written, and when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from durablejob_airflow import cancel
from durablejob_airflow.client_async import AsyncJobsClient
from durablejob_airflow.resource import Conflict, ResourceError, Unavailable
from tests.operators.memory import MemoryJobs, holder

Write = Callable[[MemoryJobs, float], bool]
FEW = 20
"""More requests than that within a second are no pauses that grow."""


def in_the_worker(jobs: MemoryJobs, seconds: float) -> bool:
    client: Any = jobs
    return cancel.cancel(client, "job", "ti-1", "User", seconds)


def in_the_triggerer(jobs: MemoryJobs, seconds: float) -> bool:
    async def get(name: str) -> Any:
        return jobs.get(name)

    async def replace(body: Any) -> None:
        jobs.replace(body)

    client: Any = SimpleNamespace(get=get, replace=replace)
    return asyncio.run(AsyncJobsClient.cancel(client, "job", "ti-1", "User", seconds))


@pytest.fixture
def jobs() -> MemoryJobs:
    jobs = MemoryJobs()
    jobs.put("job", holder=holder("ti-1"))
    return jobs


def answering(jobs: MemoryJobs, error: ResourceError, times: int = 10_000) -> None:
    """Let so many writes be answered like this."""
    left = [error] * times

    def before(verb: str) -> None:
        if verb == "replace" and left:
            raise left.pop()

    jobs.before = before


@pytest.mark.parametrize("write", [in_the_worker, in_the_triggerer])
def test_who_wrote_meanwhile_is_heeded_and_the_wish_is_written(jobs, write):
    answering(jobs, Conflict("somebody wrote"), times=2)
    assert write(jobs, 5)
    assert jobs.kept["job"]["spec"]["cancel"] == {"attempt": 1, "holderID": "ti-1", "cause": "User"}


@pytest.mark.parametrize("write", [in_the_worker, in_the_triggerer])
@pytest.mark.parametrize("error", [Conflict("again and again"), Unavailable("away")])
def test_an_answer_that_stays_is_asked_for_seldom_and_given_up(jobs, write, error):
    answering(jobs, error)
    with pytest.raises(type(error)):
        write(jobs, 0.5)
    assert len(jobs.requests) < FEW
