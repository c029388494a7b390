"""What to run: the four kinds of work that a DurableJob may hold, exactly one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from durablejob_api import rules as cel
from durablejob_api.base import ApiModel, Line, ObjectName, Quantity, Rule, SecretKeyRef, Text, Uri, Word


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
