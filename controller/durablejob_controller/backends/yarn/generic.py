"""Any application with an ApplicationMaster of its own; pure."""

from __future__ import annotations

from collections.abc import Mapping

from durablejob_api.job import DurableJob
from durablejob_api.spec import YarnWork
from durablejob_controller.backends.gate_jar import archive
from durablejob_controller.backends.yarn.launch import Launch, Resource, value

FENCE_NAME = "durablejob.fence"
"""Name of the fence's file in the container; nothing reads it."""


def fence(key: str) -> bytes:
    """The file that the container must localize."""
    return archive([("attempt", key.encode())])


def launch(
    job: DurableJob, work: YarnWork, tags: tuple[str, ...], files: Mapping[str, Resource], fence_file: Resource
) -> Launch:
    """The ApplicationMaster's container."""
    return Launch(
        name=job.metadata.name or "durablejob",
        type=work.application_type,
        command=work.command,
        memory_mb=work.resource.memory_mb,
        vcores=work.resource.vcores,
        environment={name: value(text) for name, text in work.environment.items()},
        resources={**files, FENCE_NAME: fence_file},
        tags=(*tags, *work.tags),
        queue=work.queue,
        priority=work.priority,
        node_label=work.node_label,
        log_aggregation=work.log_aggregation,
    )
