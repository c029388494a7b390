"""What a user asks for: the spec of a DurableJob."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from durablejob_api.base import ApiModel, Line, ObjectName, Quantity, SecretKeyRef, Text, Uri, Word


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
        description="Number of the attempt whose result the holder has taken; the time to live starts there.",
    )


class Cancel(ApiModel):
    """The wish that the current attempt ends. Once accepted it stands."""

    attempt: int = Field(ge=1, description="Attempt that is meant: must be the current one.")
    holder_id: Word | None = Field(
        default=None, description="Must be the current holder's id; not needed with cause User."
    )
    cause: CancelCause = Field(default=CancelCause.USER, description="Why.")


class EnvVarSource(ApiModel):
    """Where a variable's value comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A Secret's key, in the job's namespace.")


class EnvVar(ApiModel):
    """One environment variable of the program."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="Name of the variable."
    )
    value: Text | None = Field(default=None, description="Its value; exactly one of value and valueFrom.")
    value_from: EnvVarSource | None = Field(default=None, description="Where its value comes from.")

    @model_validator(mode="after")
    def _one_source(self) -> EnvVar:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(f"environment variable {self.name}: give exactly one of value and valueFrom")
        return self


class SparkDriver(ApiModel):
    """Size of the driver."""

    cores: int = Field(default=1, ge=1, le=1024, description="Cores.")
    memory: Quantity = Field(default="1g", description="Heap, as Spark writes it: 512m, 2g.")


class SparkExecutor(ApiModel):
    """Number and size of the executors; what is unset is the cluster's default."""

    instances: int | None = Field(default=None, ge=0, le=100_000, description="How many.")
    cores: int | None = Field(default=None, ge=1, le=1024, description="Cores of each.")
    memory: Quantity | None = Field(default=None, description="Heap of each, as Spark writes it: 512m, 2g.")


class SparkYarnSettings(ApiModel):
    """Read on YARN only."""

    queue: Word | None = Field(default=None, description="Queue.")
    priority: int | None = Field(default=None, ge=0, le=1_000_000, description="Priority within the queue.")
    node_label: Word | None = Field(default=None, description="Node label expression.")
    tags: Annotated[tuple[Word, ...], Field(max_length=16)] = Field(default=(), description="Application tags.")


class PodSettings(ApiModel):
    """Settings of a driver's or executor's pod."""

    labels: Annotated[Mapping[str, Word], Field(max_length=32)] = Field(default_factory=dict, description="Labels.")
    annotations: Annotated[Mapping[str, Line], Field(max_length=32)] = Field(
        default_factory=dict, description="Annotations."
    )
    node_selector: Annotated[Mapping[str, Word], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    priority_class_name: ObjectName | None = Field(default=None, description="Priority class.")


class SparkKubernetesSettings(ApiModel):
    """Read on Kubernetes only."""

    image: Uri | None = Field(default=None, description="Image with Spark; by default the backend's.")
    service_account_name: ObjectName | None = Field(default=None, description="Service account of the driver.")
    driver: PodSettings = Field(default=PodSettings(), description="The driver's pod.")
    executor: PodSettings = Field(default=PodSettings(), description="The executors' pods.")


Uris = Annotated[tuple[Uri, ...], Field(max_length=64)]


class SparkWork(ApiModel):
    """A Spark application: the same on standalone, YARN and Kubernetes."""

    main_application_file: Uri = Field(description="The application: a JAR, or a .py file for PySpark.")
    main_class: Annotated[str, Field(max_length=512, pattern=r"^[A-Za-z_$][A-Za-z0-9_$.]*$")] | None = Field(
        default=None, description="Class with main(); required for a JAR, absent for PySpark."
    )
    arguments: Annotated[tuple[Text, ...], Field(max_length=256)] = Field(
        default=(), description="Arguments of the program."
    )
    conf: Annotated[Mapping[str, Text], Field(max_length=256)] = Field(
        default_factory=dict, description="Spark configuration."
    )
    driver: SparkDriver = Field(default=SparkDriver(), description="Size of the driver.")
    executor: SparkExecutor = Field(default=SparkExecutor(), description="Number and size of the executors.")
    jars: Uris = Field(default=(), description="Further JARs for driver and executors.")
    py_files: Uris = Field(default=(), description="Python files, zips and eggs for the PYTHONPATH.")
    files: Uris = Field(default=(), description="Files for the working folder of each executor.")
    archives: Uris = Field(default=(), description="Archives to unpack for each executor.")
    env: Annotated[tuple[EnvVar, ...], Field(max_length=128)] = Field(
        default=(), description="Environment of the driver."
    )
    yarn: SparkYarnSettings | None = Field(default=None, description="Read on YARN only.")
    kubernetes: SparkKubernetesSettings | None = Field(default=None, description="Read on Kubernetes only.")

    @property
    def is_python(self) -> bool:
        return self.main_application_file.partition("?")[0].endswith(".py")

    @model_validator(mode="after")
    def _class_for_jars_only(self) -> SparkWork:
        if self.is_python and self.main_class is not None:
            raise ValueError("mainClass: leave it out for a Python application")
        if not self.is_python and self.main_class is None:
            raise ValueError("mainClass: required, unless mainApplicationFile ends in .py")
        return self


class YarnResource(ApiModel):
    """What the ApplicationMaster's container gets."""

    memory_mb: int = Field(default=1024, ge=1, description="Memory in MiB.")
    vcores: int = Field(default=1, ge=1, description="Virtual cores.")


class YarnLocalResource(ApiModel):
    """A file that YARN puts into the container's folder."""

    name: Annotated[str, Field(min_length=1, max_length=255)] = Field(description="Name in the container.")
    uri: Uri = Field(description="Where it lies.")
    type: Annotated[str, Field(pattern="^(FILE|ARCHIVE)$", max_length=7)] = Field(
        default="FILE", description="FILE or ARCHIVE."
    )


class YarnWork(ApiModel):
    """Any YARN application with an ApplicationMaster of its own. It is always attempted once."""

    command: Text = Field(description="Shell command that runs the ApplicationMaster.")
    application_type: Word = Field(default="DURABLEJOB", description="Type shown by the ResourceManager.")
    resource: YarnResource = Field(default=YarnResource(), description="Size of the ApplicationMaster's container.")
    queue: Word | None = Field(default=None, description="Queue.")
    priority: int | None = Field(default=None, ge=0, le=1_000_000, description="Priority within the queue.")
    node_label: Word | None = Field(default=None, description="Node label expression.")
    tags: Annotated[tuple[Word, ...], Field(max_length=16)] = Field(default=(), description="Application tags.")
    environment: Annotated[Mapping[str, Text], Field(max_length=128)] = Field(
        default_factory=dict, description="Environment of the ApplicationMaster."
    )
    local_resources: Annotated[tuple[YarnLocalResource, ...], Field(max_length=64)] = Field(
        default=(), description="Files to localize."
    )


class KubernetesJobWork(ApiModel):
    """A batch/v1 Job in the DurableJob's own namespace."""

    template: dict[str, Any] = Field(
        description="Spec of the Job (a batch/v1 JobSpec).",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class PluginWork(ApiModel):
    """Work for a backend that comes from elsewhere."""

    parameters: Annotated[Mapping[str, Text], Field(max_length=64)] = Field(
        default_factory=dict, description="Parameters; the backend says which it knows."
    )


Work = SparkWork | KubernetesJobWork | YarnWork | PluginWork
WORK_FIELDS = ("spark", "kubernetes_job", "yarn", "plugin")


class DurableJobSpec(ApiModel):
    """One piece of external work, and the wishes about it."""

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
