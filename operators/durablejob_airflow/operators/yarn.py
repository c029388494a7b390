"""DurableYarnOperator: any YARN application with an ApplicationMaster of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.payload import as_text


class DurableYarnOperator(DurableOperator):
    """Runs a YARN application, submitted once per attempt by the DurableJob controller. No client, no JVM here.

    YARN itself never attempts it a second time: that is for Airflow's retries to decide.

    :param command: shell command that runs the ApplicationMaster; YARN replaces ``{{NAME}}`` and ``<LOG_DIR>`` in it
        (write ``{{ '{{NAME}}' }}`` where Jinja would). (templated)
    :param local_resources: files that YARN puts into its folder: name -> URI on HDFS, or -> a mapping with uri, type
        (``FILE`` or ``ARCHIVE``) and visibility (``APPLICATION``, ``PRIVATE`` or ``PUBLIC``). (templated)
    :param environment: its environment. (templated)
    :param memory_mb: memory of the ApplicationMaster's container, in MiB
    :param vcores: its virtual cores
    :param yarn_queue: queue, as for Spark (``queue`` is that of Airflow's own executor). (templated)
    :param priority: priority within the queue
    :param node_label: node label expression. (templated)
    :param tags: application tags. (templated)
    :param application_type: type shown by the ResourceManager
    :param log_aggregation: which log files YARN collects: a mapping with include, exclude, rolledInclude and
        rolledExclude, each a regular expression on their names

    All other parameters are described at :class:`~durablejob_airflow.operators.base.DurableOperator`.
    """

    template_fields: Sequence[str] = (
        "command",
        "local_resources",
        "environment",
        "yarn_queue",
        "node_label",
        "tags",
        *DurableOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"local_resources": "json", "environment": "json"}

    def __init__(
        self,
        *,
        command: str,
        local_resources: dict[str, Any] | None = None,
        environment: dict[str, Any] | None = None,
        memory_mb: int | None = None,
        vcores: int | None = None,
        yarn_queue: str | None = None,
        priority: int | None = None,
        node_label: str | None = None,
        tags: list[str] | None = None,
        application_type: str | None = None,
        log_aggregation: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.local_resources = local_resources
        self.environment = environment
        self.memory_mb = memory_mb
        self.vcores = vcores
        self.yarn_queue = yarn_queue
        self.priority = priority
        self.node_label = node_label
        self.tags = tags
        self.application_type = application_type
        self.log_aggregation = log_aggregation

    def work(self) -> Mapping[str, Any]:
        resource = {"memoryMb": self.memory_mb, "vcores": self.vcores}
        wanted = {
            "command": self.command,
            "localResources": [_resource(name, given) for name, given in (self.local_resources or {}).items()],
            "environment": {key: as_text(value) for key, value in (self.environment or {}).items()},
            "resource": {name: value for name, value in resource.items() if value is not None},
            "queue": self.yarn_queue,
            "priority": self.priority,
            "nodeLabel": self.node_label,
            "tags": list(self.tags or ()),
            "applicationType": self.application_type,
            "logAggregation": self.log_aggregation,
        }
        return {"yarn": {name: value for name, value in wanted.items() if value is not None}}


def _resource(name: str, given: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, **({"uri": given} if isinstance(given, str) else given)}
