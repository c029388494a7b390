"""Logs: one JSON object per line, keyed by job, uid, attempt, external id and Airflow's names."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from durablejob_api.job import DurableJob
from durablejob_api.marks import DAG_ID, RUN_ID, TASK_ID
from durablejob_api.status import DurableJobStatus
from durablejob_controller import metrics

log = logging.getLogger(__name__)


def configure(level: str, style: str) -> None:
    """Send everything to stderr, once."""
    handler = logging.StreamHandler(sys.stderr)
    if style == "json":
        names = {"levelname": "level", "asctime": "time", "name": "logger"}
        handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "kopf", "kopf.objects", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def fields(job: DurableJob) -> dict[str, object]:
    """What every line about a job carries."""
    labels = job.metadata.labels
    return {
        "job": job.metadata.name,
        "namespace": job.metadata.namespace,
        "uid": job.metadata.uid,
        "attempt": job.current.number if job.current else job.spec.attempt,
        "externalID": job.status.external_id if job.status else None,
        "dag": labels.get(DAG_ID),
        "task": labels.get(TASK_ID),
        "run": labels.get(RUN_ID),
    }


def note_transition(job: DurableJob, old: DurableJobStatus | None, new: DurableJobStatus) -> None:
    """Log and count a transition that has been written."""
    if old is not None and old.state is new.state:
        return
    current = new.current
    log.info("%s: %s (%s)", job.metadata.name, new.state.value, current.reason if current else None, extra=fields(job))
    if current is not None and current.outcome is not None and current.reservation is not None and current.finished_at:
        seconds = (current.finished_at - current.reservation.at).total_seconds()
        metrics.JOB_SECONDS.labels(backend=job.spec.backend_ref.name, outcome=current.outcome.value).observe(seconds)
