"""What to run: the four kinds of work that a DurableJob may hold, exactly one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from durablejob_api import rules as cel
from durablejob_api.base import (
    ApiModel,
    Cpu,
    Label,
    Line,
    ObjectName,
    Quantity,
    Rule,
    SecretKeyRef,
    Text,
    Uri,
    Word,
)


class EnvVarSource(ApiModel):
    """Where a variable's value comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A Secret's key, in the job's namespace.")


class EnvVar(ApiModel):
    """One environment variable of the program."""

    rules: ClassVar[tuple[Rule, ...]] = cel.ENV_VAR

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


class PodResources(ApiModel):
    """Size of a pod, beside its cores and heap."""

    cpu_request: Cpu | None = Field(default=None, description="CPU that is set aside; by default the cores.")
    cpu_limit: Cpu | None = Field(default=None, description="CPU at most; by default without limit.")
    memory_overhead: Quantity | None = Field(
        default=None, description="Memory beside the heap, as Spark writes it; by default what Spark computes."
    )


class Toleration(ApiModel):
    """A taint of nodes that does not keep the pod away."""

    key: Word | None = Field(default=None, description="Key of the taint; absent: every key.")
    operator: Annotated[str, Field(pattern="^(Exists|Equal)$", max_length=6)] = Field(
        default="Equal", description="Exists, or Equal."
    )
    value: Word | None = Field(default=None, description="Value of the taint, with Equal.")
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = Field(
        default=None, description="Effect of the taint; absent: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=31_536_000, description="With NoExecute: seconds for which it is tolerated."
    )


class PodVolume(ApiModel):
    """A volume, and where it is mounted. Exactly one source."""

    rules: ClassVar[tuple[Rule, ...]] = cel.POD_VOLUME
    SOURCES: ClassVar[tuple[str, ...]] = ("persistent_volume_claim", "secret", "config_map", "empty_dir")

    name: Label = Field(description="Name of the volume.")
    mount_path: Annotated[str, Field(min_length=2, max_length=512, pattern="^/[^:]*$")] = Field(
        description="Folder in the container."
    )
    read_only: bool = Field(default=False, description="Mount it read-only.")
    persistent_volume_claim: ObjectName | None = Field(default=None, description="Name of a PersistentVolumeClaim.")
    secret: ObjectName | None = Field(default=None, description="Name of a Secret.")
    config_map: ObjectName | None = Field(default=None, description="Name of a ConfigMap.")
    empty_dir: Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?([KMGTP]i?|k)?$")] | None = Field(
        default=None, description="Size limit of an empty folder, as Kubernetes writes it: 10Gi."
    )

    @model_validator(mode="after")
    def _one_source(self) -> PodVolume:
        if len([1 for name in self.SOURCES if getattr(self, name) is not None]) != 1:
            known = "persistentVolumeClaim, secret, configMap, emptyDir"
            raise ValueError(f"volume {self.name}: give exactly one of {known}")
        return self


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
    resources: PodResources = Field(default=PodResources(), description="Its size, beside cores and heap.")


class ExecutorPodSettings(PodSettings):
    """Settings of the executors' pods."""

    service_account_name: ObjectName | None = Field(
        default=None, description="Service account; by default the namespace's. No token of it is mounted."
    )
    secret_env: Annotated[Mapping[str, SecretKeyRef], Field(max_length=64)] = Field(
        default_factory=dict, description="Variables from Secrets, by name. Plain ones: spark.executorEnv.NAME in conf."
    )


UserID = Annotated[int, Field(ge=0, le=2_147_483_647)]


class PodUser(ApiModel):
    """As whom the programs run."""

    run_as_user: UserID | None = Field(default=None, description="Number of the user; by default the image's.")
    run_as_group: UserID | None = Field(default=None, description="Number of the group; by default the image's.")
    fs_group: UserID | None = Field(default=None, description="Group that volumes belong to.")


class DynamicAllocation(ApiModel):
    """Executors by need. It begins with executor.instances of them, if these are given."""

    min_executors: int = Field(default=0, ge=0, le=100_000, description="At least so many.")
    max_executors: int = Field(ge=1, le=100_000, description="At most so many.")

    @model_validator(mode="after")
    def _ordered(self) -> DynamicAllocation:
        if self.min_executors > self.max_executors:
            raise ValueError("dynamicAllocation: minExecutors may not be greater than maxExecutors")
        return self


class SparkKubernetesSettings(ApiModel):
    """Read on Kubernetes only."""

    image: Uri | None = Field(default=None, description="Image with Spark; by default the backend's.")
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=8)] = Field(
        default=(), description="Names of Secrets to pull the image with; by default the backend's."
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the driver, which makes the executors; by default the backend's."
    )
    security_context: PodUser = Field(default=PodUser(), description="As whom driver and executors run.")
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = Field(
        default=(), description="Taints of nodes that do not keep driver and executors away."
    )
    volumes: Annotated[tuple[PodVolume, ...], Field(max_length=16)] = Field(
        default=(), description="Volumes of driver and executors, and where they are mounted."
    )
    dynamic_allocation: DynamicAllocation | None = Field(default=None, description="Executors by need.")
    driver: PodSettings = Field(default=PodSettings(), description="The driver's pod.")
    executor: ExecutorPodSettings = Field(default=ExecutorPodSettings(), description="The executors' pods.")


Uris = Annotated[tuple[Uri, ...], Field(max_length=64)]


class SparkWork(ApiModel):
    """A Spark application: the same on standalone, YARN and Kubernetes."""

    atomic: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = cel.SPARK

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
    visibility: Annotated[str, Field(pattern="^(PUBLIC|PRIVATE|APPLICATION)$", max_length=11)] = Field(
        default="APPLICATION",
        description="Who shares the copy on a node: everybody (PUBLIC), the user's applications (PRIVATE), nobody.",
    )


class YarnLogAggregation(ApiModel):
    """Which of the containers' log files YARN collects, by regular expressions on their names."""

    include: Line | None = Field(default=None, description="Collected when the application has ended.")
    exclude: Line | None = Field(default=None, description="Not collected then.")
    rolled_include: Line | None = Field(default=None, description="Collected while it runs.")
    rolled_exclude: Line | None = Field(default=None, description="Not collected while it runs.")


class YarnWork(ApiModel):
    """Any YARN application with an ApplicationMaster of its own. It is always attempted once."""

    atomic: ClassVar[bool] = True

    command: Text = Field(
        description="Shell command that runs the ApplicationMaster; YARN replaces {{NAME}} and <LOG_DIR> in it."
    )
    max_attempts: Annotated[int, Field(ge=1, le=1)] = Field(
        default=1, description="Always 1: YARN's own further attempts would start the program again."
    )
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
    log_aggregation: YarnLogAggregation | None = Field(default=None, description="Which log files are collected.")


class KubernetesJobWork(ApiModel):
    """A batch/v1 Job in the DurableJob's own namespace."""

    atomic: ClassVar[bool] = True

    template: dict[str, Any] = Field(
        description="Spec of the Job (a batch/v1 JobSpec).",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )


class PluginWork(ApiModel):
    """Work for a backend that comes from elsewhere."""

    atomic: ClassVar[bool] = True

    parameters: Annotated[Mapping[str, Text], Field(max_length=64)] = Field(
        default_factory=dict, description="Parameters; the backend says which it knows."
    )


Work = SparkWork | KubernetesJobWork | YarnWork | PluginWork
WORK_FIELDS = ("spark", "kubernetes_job", "yarn", "plugin")
