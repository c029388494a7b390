"""Whether a DurableJob was made again from a copy of itself, without the status that says what it has done; pure.

A backup tool, ``kubectl apply`` of a saved file or GitOps makes a resource with a new uid, under which no external
system knows anything: its work may have run, and nobody here can tell. So it does not run by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durablejob_api import CREATED_AT
from durablejob_api.job import DurableJob
from durablejob_api.marks import RUN_RESTORED
from durablejob_controller import reasons
from durablejob_controller.reasons import Why

VELERO = "velero.io/restore-name"
"""Label that Velero puts on all that it restores."""
TOLERANCE = timedelta(seconds=60)
"""By how much the clock of who made the job may be behind the API server's."""


def restored(job: DurableJob) -> Why | None:
    """Why this job must not begin by itself; None: it was not made again, or has begun, or somebody has let it run."""
    meta, current = job.metadata, job.current
    begun = current is not None and (current.number > 1 or current.reservation is not None)
    if begun or meta.annotations.get(RUN_RESTORED) == meta.uid:
        return None
    if VELERO in meta.labels:
        return reasons.restored(meta.name, meta.uid, f"Velero's restore {meta.labels[VELERO]} has made it")
    made, created = _time(meta.annotations.get(CREATED_AT)), meta.creation_timestamp
    if made is None or created is None or created - made <= TOLERANCE:
        return None
    words = f"it was first made at {made:%Y-%m-%dT%H:%M:%SZ}, and this resource at {created:%Y-%m-%dT%H:%M:%SZ}"
    return reasons.restored(meta.name, meta.uid, words)


def _time(text: str | None) -> datetime | None:
    """A stamp that cannot be read says nothing."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
