"""What is sent to the ResourceManager for one application: its form, and how words survive two shells; pure.

The NodeManager writes ``export NAME="value"`` for the environment and ``exec /bin/bash -c "command"`` into a script.
Before that it replaces ``{{NAME}}``, ``<LOG_DIR>`` and ``<CPS>`` everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durablejob_api.spec import YarnLogAggregation

_IN_DOUBLE_QUOTES = str.maketrans({c: "\\" + c for c in '\\$"`'})
_MARKS = ("{{", "}}", "<LOG_DIR>", "<CPS>")
"""What the NodeManager would replace."""


def _broken(text: str, joint: str) -> str:
    """``text`` with each mark cut in two by an empty string, which the shell drops again."""
    for mark in _MARKS:
        while mark in text:
            text = text.replace(mark, mark[0] + joint + mark[1:])
    return text


def word(text: str) -> str:
    """``text`` as one word of a command."""
    quoted = "'" + _broken(text.replace("'", "'\\''"), "''") + "'"
    return quoted.translate(_IN_DOUBLE_QUOTES)


def value(text: str) -> str:
    """``text`` as a variable's value."""
    return _broken(text.translate(_IN_DOUBLE_QUOTES), '""')


@dataclass(frozen=True, slots=True)
class Resource:
    """A file that the NodeManager puts into the container's folder: exactly this version of it."""

    uri: str
    size: int
    modified: int
    """Milliseconds since 1970."""
    type: str = "FILE"
    visibility: str = "APPLICATION"

    def to_api(self) -> dict[str, Any]:
        return {
            "resource": self.uri, "type": self.type, "visibility": self.visibility,
            "size": self.size, "timestamp": self.modified,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """One application and its ApplicationMaster's container."""

    name: str
    type: str
    command: str
    memory_mb: int
    vcores: int
    environment: Mapping[str, str]
    """Values as the script needs them: see ``value``."""
    resources: Mapping[str, Resource]
    """By name in the container's folder."""
    tags: Sequence[str]
    queue: str | None = None
    priority: int | None = None
    node_label: str | None = None
    log_aggregation: YarnLogAggregation | None = field(default=None)

    def body(self, app_id: str) -> dict[str, Any]:
        """The body of POST apps. Fields that the ResourceManager does not know it would drop without a word."""
        body: dict[str, Any] = {
            "application-id": app_id,
            "application-name": self.name,
            "application-type": self.type,
            "unmanaged-AM": False,
            "max-app-attempts": 1,
            "keep-containers-across-application-attempts": False,
            "resource": {"memory": self.memory_mb, "vCores": self.vcores},
            "application-tags": {"tag": [tag.lower() for tag in self.tags]},
            "am-container-spec": {
                "local-resources": _entries({name: one.to_api() for name, one in self.resources.items()}),
                "environment": _entries(self.environment),
                "commands": {"command": self.command},
            },
        }
        if self.queue is not None:
            body["queue"] = self.queue
        if self.priority is not None:
            body["priority"] = self.priority
        if self.node_label is not None:
            body["app-node-label-expression"] = body["am-container-node-label-expression"] = self.node_label
        if self.log_aggregation is not None:
            body["log-aggregation-context"] = _patterns(self.log_aggregation)
        return body


def with_environment(body: Mapping[str, Any], more: Mapping[str, str]) -> dict[str, Any]:
    """``body`` with more variables: what must not lie in the staging area."""
    spec = dict(body["am-container-spec"])
    spec["environment"] = {"entry": [*spec["environment"]["entry"], *_entries(more)["entry"]]}
    return {**body, "am-container-spec": spec}


def _entries(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"entry": [{"key": key, "value": one} for key, one in values.items()]}


def _patterns(given: YarnLogAggregation) -> dict[str, str]:
    named = {
        "log-include-pattern": given.include,
        "log-exclude-pattern": given.exclude,
        "rolled-log-include-pattern": given.rolled_include,
        "rolled-log-exclude-pattern": given.rolled_exclude,
    }
    return {name: pattern for name, pattern in named.items() if pattern is not None}
