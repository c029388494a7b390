"""What all models share: names as Kubernetes spells them, bounds on everything, frozen values.

Every string, list and map of the API has a bound, because the API server estimates the cost of the
CEL rules from the bounds and refuses a CRD whose rules could become expensive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_INITIALISMS = {"id": "ID", "uid": "UID", "url": "URL", "uri": "URI"}


def kubernetes_case(name: str) -> str:
    """``external_id`` -> ``externalID``: lowerCamelCase with initialisms kept whole."""
    first, *rest = name.split("_")
    return first + "".join(_INITIALISMS.get(part, part.capitalize()) for part in rest)


class Rule(NamedTuple):
    """One ``x-kubernetes-validations`` entry: what must hold, and what the user reads if it does not.

    ``optional_old_self``: the rule also runs on creation, where ``oldSelf`` is an empty optional.
    """

    rule: str
    message: str
    field_path: str | None = None
    message_expression: str | None = None
    optional_old_self: bool = False


class ApiModel(BaseModel):
    """A part of the API that people write: unknown fields are an error that names the field."""

    model_config = ConfigDict(alias_generator=kubernetes_case, populate_by_name=True, frozen=True, extra="forbid")

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules that the API server enforces on this object."""
    atomic: ClassVar[bool] = False
    """Written as a whole. Then managedFields holds one entry for it instead of one per field: as stored,
    a DurableJob is two kilobytes smaller."""

    def to_api(self) -> dict[str, Any]:
        """The object as JSON for the API server; what is unset is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ReadModel(ApiModel):
    """A part that the controller or the API server writes: fields of a newer version are let through."""

    model_config = ConfigDict(extra="ignore")


def _to_time(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as ``metav1.Time`` has it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[datetime, BeforeValidator(_to_time), PlainSerializer(format_time, return_type=str)]
"""A point in time with whole seconds, in UTC."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Label = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
"""A DNS label: namespaces and the like."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
"""The name of a Kubernetes object."""
Word = Annotated[str, Field(max_length=128)]
"""A short token: an id, a uid, a reason."""
Line = Annotated[str, Field(max_length=1024)]
"""One line for people, or a command-line argument of ordinary length."""
Text = Annotated[str, Field(max_length=4096)]
"""A longer text: an argument, a configuration value."""
Uri = Annotated[str, Field(min_length=1, max_length=2048)]
"""Where a file lies, with its scheme."""
_SPARK_SIZE = "(?i)^[0-9]+[kmgtp]?b?$"
"""What Spark takes for a size (``JavaUtils.byteStringAs``)."""
SPARK_SIZE = "must be a size as Spark has it: 512m, 2g (not 2Gi, 1.5g)"
"""What is told of any other."""


def _spark_size(value: str) -> str:
    if not re.fullmatch(_SPARK_SIZE, value):
        raise ValueError(f"{value!r} {SPARK_SIZE}")
    return value


# A rule, not a pattern: of a pattern the API server would not say what is right.
_SPARK_SIZE_RULE = {"rule": f"self.matches('{_SPARK_SIZE}')", "message": f"spec.spark: {SPARK_SIZE}"}
Quantity = Annotated[
    str,
    Field(max_length=32, json_schema_extra={"x-kubernetes-validations": [_SPARK_SIZE_RULE]}),
    AfterValidator(_spark_size),
]
"""An amount of memory as Spark writes it: ``512m``, ``2g``; without a unit it counts MiB."""

Cpu = Annotated[str, Field(max_length=16, pattern=r"^[0-9]+(\.[0-9]+)?m?$")]
"""An amount of CPU as Kubernetes writes it: ``500m``, ``2``."""


class SecretKeyRef(ApiModel):
    """One key of a Secret, by name: never a value."""

    name: ObjectName = Field(description="Name of the Secret, in the namespace of the object that names it.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key within the Secret.")


class SecretRef(ApiModel):
    """A Secret, by name."""

    name: ObjectName = Field(
        description="Name of the Secret, in a JobBackend's own namespace or (ClusterJobBackend) the controller's."
    )


class ObjectMeta(ReadModel):
    """The part of Kubernetes metadata that durablejob reads or writes."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str | None = Field(default=None)
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class Condition(ReadModel):
    """One aspect of an object's state, by the Kubernetes API conventions."""

    type: Word = Field(description="Name of the condition.")
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)] = Field(
        description="True, False or Unknown."
    )
    reason: Word = Field(description="One word for machines, why the status is what it is.")
    message: Line = Field(default="", description="The same for people, with what to do about it.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that this was judged from.")
