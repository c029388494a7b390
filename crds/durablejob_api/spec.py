"""What a user asks for: the spec of a DurableJob."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from durablejob_api import rules as cel
from durablejob_api.base import ApiModel, ObjectName, Rule, Word
from durablejob_api.work import (
    WORK_FIELDS,
    EnvVar,
    EnvVarSource,
    KubernetesJobWork,
    PluginWork,
    PodSettings,
    SparkDriver,
    SparkExecutor,
    SparkKubernetesSettings,
    SparkWork,
    SparkYarnSettings,
    Uris,
    Work,
    YarnLocalResource,
    YarnLogAggregation,
    YarnResource,
    YarnWork,
)

__all__ = [
    "WORK_FIELDS",
    "BackendKind",
    "BackendRef",
    "BackendType",
    "Cancel",
    "CancelCause",
    "DeletionPolicy",
    "DurableJobSpec",
    "EnvVar",
    "EnvVarSource",
    "Holder",
    "KubernetesJobWork",
    "PluginWork",
    "PodSettings",
    "SparkDriver",
    "SparkExecutor",
    "SparkKubernetesSettings",
    "SparkWork",
    "SparkYarnSettings",
    "Uris",
    "Work",
    "YarnLocalResource",
    "YarnLogAggregation",
    "YarnResource",
    "YarnWork",
]


class BackendKind(StrEnum):
    """Which kind of resource a backendRef names."""

    JOB_BACKEND = "JobBackend"
    CLUSTER_JOB_BACKEND = "ClusterJobBackend"


class BackendType(StrEnum):
    """What kind of system a backend is."""

    SPARK_STANDALONE = "SparkStandalone"
    YARN = "Yarn"
    KUBERNETES = "Kubernetes"
    PLUGIN = "Plugin"


class DeletionPolicy(StrEnum):
    """What happens to the external job when its DurableJob is deleted."""

    CANCEL = "Cancel"
    ORPHAN = "Orphan"


class CancelCause(StrEnum):
    """Why somebody wishes the job to end."""

    CLEARED = "Cleared"
    MARKED_FAILED = "MarkedFailed"
    MARKED_SUCCESS = "MarkedSuccess"
    SKIPPED = "Skipped"
    TIMEOUT = "Timeout"
    USER = "User"


class BackendRef(ApiModel):
    """Where to run. The type is declared, so that admission policies can read it."""

    kind: BackendKind = Field(
        default=BackendKind.JOB_BACKEND, description="JobBackend (same namespace) or ClusterJobBackend."
    )
    name: ObjectName = Field(description="Name of the backend.")
    type: BackendType = Field(description="Type of the backend; a mismatch is refused.")


class Holder(ApiModel):
    """Which Airflow task try holds the job; only the holder's cancel counts."""

    rules: ClassVar[tuple[Rule, ...]] = cel.HOLDER

    incarnation: Word = Field(description="Nonce of the DAG run's task: another one means that the run was re-created.")
    id: Word = Field(description="Id of the task instance (ti.id): new on retry and clear, the same on resume.")
    try_number: int = Field(default=1, ge=0, description="Airflow's try number; never shrinks within an incarnation.")
    max_tries: int = Field(
        default=0, ge=-1, description="Airflow's max_tries; another value means that the task was cleared."
    )
    clear_number: int = Field(default=0, ge=0, description="How often the DAG run was cleared.")
    acknowledged: int = Field(
        default=0,
        ge=0,
        description="Number of the attempt whose result the holder has taken; until then it is kept longer.",
    )


class Cancel(ApiModel):
    """The wish that the current attempt ends. Once accepted it stands."""

    attempt: int = Field(ge=1, description="Attempt that is meant: must be the current one.")
    holder_id: Word | None = Field(
        default=None, description="Must be the current holder's id; not needed with cause User."
    )
    cause: CancelCause = Field(default=CancelCause.USER, description="Why.")


class DurableJobSpec(ApiModel):
    """One piece of external work, and the wishes about it."""

    rules: ClassVar[tuple[Rule, ...]] = cel.JOB_SPEC

    backend_ref: BackendRef = Field(description="Where to run.")
    attempt: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Attempt that is wished for: grows by one, only from a terminal attempt.",
    )
    accept_lost: int = Field(
        default=0,
        ge=0,
        description="Number of a Lost attempt whose possible survival somebody accepts; allows the next.",
    )
    holder: Holder | None = Field(default=None, description="The Airflow task try that holds the job.")
    cancel: Cancel | None = Field(default=None, description="The wish that the current attempt ends.")
    suspend: bool = Field(default=False, description="Do not start yet. Honoured before the start only.")
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None, description="Seconds from the first submission of an attempt to its forced end."
    )
    ttl_seconds_after_finished: int = Field(
        default=604_800, ge=0, le=31_536_000, description="Seconds after which a finished job's resource is deleted."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.CANCEL, description="Cancel ends the external job with the resource; Orphan leaves it."
    )
    spark: SparkWork | None = Field(default=None, description="A Spark application.")
    kubernetes_job: KubernetesJobWork | None = Field(default=None, description="A Kubernetes Job.")
    yarn: YarnWork | None = Field(default=None, description="Any YARN application.")
    plugin: PluginWork | None = Field(default=None, description="Work for a plugin backend.")

    @field_validator("backend_ref", mode="before")
    @classmethod
    def _named_backend(cls, value: object) -> object:
        if value in (None, "", {}):
            raise ValueError("backendRef: name a JobBackend or ClusterJobBackend")
        return value

    @model_validator(mode="after")
    def _one_work(self) -> DurableJobSpec:
        if len([1 for name in WORK_FIELDS if getattr(self, name) is not None]) != 1:
            raise ValueError("give exactly one of spark, kubernetesJob, yarn, plugin")
        return self

    @property
    def work(self) -> Work:
        """The one kind of work that is set."""
        candidates: tuple[Work | None, ...] = (self.spark, self.kubernetes_job, self.yarn, self.plugin)
        return next(work for work in candidates if work is not None)
