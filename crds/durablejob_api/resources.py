"""The three kinds as ``kubectl`` shows them: names, columns, and what can be selected by."""

from __future__ import annotations

from typing import NamedTuple

from durablejob_api.backend import ClusterJobBackend, JobBackend
from durablejob_api.base import ApiModel
from durablejob_api.job import DurableJob


class Column(NamedTuple):
    """A column of ``kubectl get``; those with priority 1 are shown by ``-o wide``."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    priority: int = 0


class Resource(NamedTuple):
    """What a CRD says beside its schema."""

    model: type[ApiModel]
    plural: str
    short_name: str
    namespaced: bool
    columns: tuple[Column, ...]
    categories: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()


_AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")
_LABELS = r".metadata.labels.durablejob\.io"
_JOB_COLUMNS = (
    Column("State", ".status.state", "One word; the conditions are the contract."),
    Column("Backend", ".spec.backendRef.name", "Where it runs."),
    Column("External-ID", ".status.externalID", "Id in the external system."),
    Column("Attempt", ".spec.attempt", "Attempt that is wished for.", "integer"),
    Column("Progress", ".status.progress.percent", "Per cent done.", "integer"),
    _AGE,
    Column("Reason", ".status.current.reason", "One word for the end, or for what it waits for.", priority=1),
    Column("DAG", f"{_LABELS}/dag-id", "Airflow's DAG.", priority=1),
    Column("Task", f"{_LABELS}/task-id", "Airflow's task.", priority=1),
    Column("Run", f"{_LABELS}/run-id", "Airflow's DAG run.", priority=1),
)
_BACKEND_COLUMNS = (
    Column("Type", ".status.type", "Type of the external system."),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether it can be used."),
    Column("Guarantee", ".status.guarantee", "What is promised about starting an attempt once."),
    Column("Version", ".status.version", "Version of the external system."),
    _AGE,
)

RESOURCES = (
    Resource(
        model=DurableJob,
        plural="durablejobs",
        short_name="dj",
        namespaced=True,
        columns=_JOB_COLUMNS,
        categories=("all",),
        selectable=(".status.state", ".status.externalID", ".spec.backendRef.name"),
    ),
    Resource(JobBackend, "jobbackends", "jb", namespaced=True, columns=_BACKEND_COLUMNS),
    Resource(ClusterJobBackend, "clusterjobbackends", "cjb", namespaced=False, columns=_BACKEND_COLUMNS),
)
