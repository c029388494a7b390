"""Writing the wish that a job ends: fenced, so that only who holds the job can.

The check here is for a clear answer; what keeps a stale process from cancelling its successor's job is
the compare-and-swap, and the API server's rule that a new cancel names the current holder.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from durablejob_airflow.resource import Backoff, Conflict, Unavailable
from durablejob_airflow.view import view_of

if TYPE_CHECKING:
    from durablejob_airflow.client import JobsClient


def with_cancel(raw: Mapping[str, Any], holder_id: str, cause: str) -> dict[str, Any] | None:
    """The job with the wish that its attempt ends; None if there is nothing to wish for, or it is not ours."""
    job = view_of(raw)
    ours = job.holder is not None and job.holder.id == holder_id
    if not ours or job.ended is not None or job.cancelled_for is not None:
        return None
    cancel = {"attempt": job.attempt, "holderID": holder_id, "cause": cause}
    return {**raw, "spec": {**raw["spec"], "cancel": cancel}}


def cancel(jobs: JobsClient, name: str, holder_id: str, cause: str, seconds: float) -> bool:
    """Write the wish that the job's attempt ends, if ``holder_id`` still holds it; True if it was written.

    :param seconds: for how long to try while the API server is away, or somebody else writes
    :raises Unavailable, Conflict: that went on
    """
    give_up, backoff = time.monotonic() + seconds, Backoff(first=0.2, most=5)
    while True:
        try:
            raw = jobs.get(name)
            body = with_cancel(raw, holder_id, cause) if raw else None
            if body is None:
                return False
            jobs.replace(body)
        except (Unavailable, Conflict):
            if time.monotonic() > give_up:
                raise
            time.sleep(backoff.next())
        else:
            return True
