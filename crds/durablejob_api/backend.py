"""Backends: where jobs run. Endpoints and credentials live here, never in a DurableJob."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from durablejob_api import API_VERSION
from durablejob_api import rules as cel
from durablejob_api.base import (
    ApiModel,
    Condition,
    Label,
    Line,
    ObjectMeta,
    ObjectName,
    ReadModel,
    Rule,
    SecretRef,
    Text,
    Uri,
    Word,
)
from durablejob_api.spec import BackendType


class Guarantee(StrEnum):
    """What a backend can promise about starting an attempt once."""

    EXACT = "Exact"
    CONDITIONAL = "Conditional"
    NONE = "None"


class FenceMode(StrEnum):
    """What keeps a late or repeated submission from starting the program again."""

    GATE = "Gate"
    STAGING = "Staging"


Endpoint = Annotated[str, Field(min_length=8, max_length=512, pattern=r"^https?://[^/?#\s]+/?$")]
"""Scheme, host and port of a service."""


class Gate(ApiModel):
    """Where drivers find the controller's start gate."""

    url: Annotated[str, Field(min_length=8, max_length=512, pattern=r"^https?://[^?#\s]+$")] = Field(
        description="The gate as the drivers' machines reach it; by default the controller's own setting."
    )


class Fence(ApiModel):
    """How a second start is prevented."""

    rules: ClassVar[tuple[Rule, ...]] = cel.FENCE

    mode: FenceMode = Field(
        default=FenceMode.GATE, description="Gate, or (YARN only) Staging; without any fence YARN has Staging."
    )
    gate: Gate | None = Field(default=None, description="Where the gate is.")


class SparkMaster(ApiModel):
    """One Master of a Spark standalone cluster."""

    rest: Endpoint = Field(description="Its REST submission server: http://host:6066.")
    ui: Endpoint = Field(description="Its web UI, whose /json/ tells states: http://host:8080.")


class SparkStandaloneBackend(ApiModel):
    """A Spark standalone cluster."""

    masters: Annotated[tuple[SparkMaster, ...], Field(min_length=1, max_length=8)] = Field(
        description="All Masters; the active one is found by asking."
    )
    master_url: Annotated[str, Field(max_length=1024, pattern=r"^spark://[^/?#\s]+$")] | None = Field(
        default=None,
        description="spark://host:7077[,…] for the drivers; by default what the Masters say of themselves.",
    )
    token_secret_ref: SecretRef | None = Field(
        default=None, description="Secret whose key token is sent as bearer token to the REST servers."
    )


HdfsUri = Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^hdfs://[^/?#\s]*/[^?#\s]+$")]
"""A file or folder: hdfs://authority/path, or hdfs:///path where the nodes' own settings name the file system."""


class WebHdfs(ApiModel):
    """HDFS through its REST API."""

    name_nodes: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=8)] = Field(
        description="NameNodes' HTTP addresses; the active one is found by asking. Or an HttpFS gateway's."
    )
    data_nodes: Annotated[tuple[Endpoint, ...], Field(max_length=1024)] = Field(
        default=(), description="DataNodes' HTTP addresses: a file's content is sent to no other host."
    )


class YarnStaging(ApiModel):
    """Where each application's own files are put before it is reserved; the staging fence is made of them."""

    dir: HdfsUri = Field(description="Folder of the YARN user; whoever may write there can break the fence.")
    webhdfs: WebHdfs = Field(description="How to write there.")


class YarnSpark(ApiModel):
    """Which Spark the applications run with."""

    rules: ClassVar[tuple[Rule, ...]] = cel.YARN_SPARK

    version: Annotated[str, Field(max_length=32, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?([.-][A-Za-z0-9.-]+)?$")] = Field(
        description="Spark's version; the options of its JVMs depend on it."
    )
    archive: HdfsUri | None = Field(default=None, description="Zip file with Spark's JARs at its root.")
    jars: Annotated[str, Field(max_length=1024, pattern=r"^(hdfs|local)://[^?#\s]+$")] | None = Field(
        default=None, description="Instead: folder with Spark's JARs, on HDFS or (local:) on every node."
    )
    python_libs: Annotated[tuple[HdfsUri, ...], Field(max_length=8)] = Field(
        default=(),
        description="pyspark.zip and py4j's zip of that Spark; not needed where jobs bring an environment with them.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> YarnSpark:
        if (self.archive is None) == (self.jars is None):
            raise ValueError("yarn.spark: give exactly one of archive and jars")
        return self


class YarnBackend(ApiModel):
    """A YARN cluster."""

    resource_managers: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=8)] = Field(
        description="ResourceManagers' HTTP addresses; the active one is found by asking."
    )
    user: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*$")] = Field(
        description="User of the applications (simple authentication)."
    )
    staging: YarnStaging = Field(description="Where the applications' own files are put.")
    spark: YarnSpark | None = Field(default=None, description="What Spark applications need; absent: none may run.")


_PART = r"([a-z0-9.-]|\{name\}|\{namespace\})*"
HostTemplate = Annotated[str, Field(max_length=253, pattern=rf"^{_PART}\{{name\}}{_PART}$")]
"""A host name with ``{name}`` in it, and perhaps ``{namespace}``."""


class SparkIngress(ApiModel):
    """An Ingress for each driver's UI."""

    host: HostTemplate = Field(
        description="Host of a UI: {name} becomes the name of the driver's pod, {namespace} its namespace."
    )
    class_name: ObjectName | None = Field(default=None, description="Ingress class; absent: the cluster's default.")
    annotations: Annotated[Mapping[str, Line], Field(max_length=32)] = Field(
        default_factory=dict, description="Annotations of the Ingress."
    )
    tls_secret_name: ObjectName | None = Field(
        default=None, description="Secret with the certificate, in the job's namespace; the UI is then told as https."
    )


class SparkUI(ApiModel):
    """How a driver's UI is reached: by a Service, and perhaps an Ingress."""

    ingress: SparkIngress | None = Field(default=None, description="Also an Ingress for each.")


class KubernetesSpark(ApiModel):
    """Defaults of Spark applications on Kubernetes."""

    image: Uri | None = Field(default=None, description="Image with Spark.")
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=8)] = Field(
        default=(), description="Names of Secrets to pull it with, in the jobs' namespaces."
    )
    service_account_name: ObjectName | None = Field(default=None, description="Service account of the drivers.")
    ui: SparkUI | None = Field(
        default=None, description="Make a Service for each driver's UI, which becomes the tracking URL; absent: none."
    )


class KubernetesBackend(ApiModel):
    """This cluster, in the job's own namespace."""

    rules: ClassVar[tuple[Rule, ...]] = cel.KUBERNETES

    spark: KubernetesSpark | None = Field(
        default=None, description="What Spark applications need; absent: none may run. Once given it stays."
    )
    start_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = Field(
        default=900,
        description="Seconds that a pod may need to start once it is on a node, to pull its image for instance; then "
        "its job is ended as Failed.",
    )
    failure_log_lines: Annotated[int, Field(ge=0, le=20)] = Field(
        default=0,
        description="Last lines of a failed program's log that are put into its job's message; 0: none. Whoever may "
        "read DurableJobs may read them, also without a right to the pods' logs.",
    )


class PluginBackend(ApiModel):
    """A backend that comes from elsewhere: an entry point of the group durablejob.backends."""

    name: Word = Field(description="Name of the entry point.")
    parameters: Annotated[Mapping[str, Text], Field(max_length=64)] = Field(
        default_factory=dict, description="Parameters; the plugin says which it knows."
    )


class BackendDefaults(ApiModel):
    """What jobs get unless they say otherwise."""

    spark_conf: Annotated[Mapping[str, Text], Field(max_length=256)] = Field(
        default_factory=dict, description="Spark configuration under the job's own."
    )


class JobBackendSpec(ApiModel):
    """One external system."""

    rules: ClassVar[tuple[Rule, ...]] = cel.BACKEND
    TYPES: ClassVar[dict[str, BackendType]] = {
        "spark_standalone": BackendType.SPARK_STANDALONE,
        "yarn": BackendType.YARN,
        "kubernetes": BackendType.KUBERNETES,
        "plugin": BackendType.PLUGIN,
    }

    cluster_id: Word | None = Field(
        default=None,
        description="What stays the same over restarts of that cluster; by default derived from type and endpoints.",
    )
    fence: Fence | None = Field(default=None, description="How a second start is prevented.")
    artifact_schemes: Annotated[tuple[Word, ...], Field(max_length=32)] = Field(
        default=("local", "hdfs", "s3a", "abfss", "gs"), description="URI schemes that jobs may name files by."
    )
    spark_standalone: SparkStandaloneBackend | None = Field(default=None, description="A Spark standalone cluster.")
    yarn: YarnBackend | None = Field(default=None, description="A YARN cluster.")
    kubernetes: KubernetesBackend | None = Field(default=None, description="This Kubernetes cluster.")
    plugin: PluginBackend | None = Field(default=None, description="A backend that comes from elsewhere.")
    defaults: BackendDefaults = Field(default=BackendDefaults(), description="What jobs get unless they say otherwise.")

    @model_validator(mode="after")
    def _one_system(self) -> JobBackendSpec:
        if len([1 for name in self.TYPES if getattr(self, name) is not None]) != 1:
            raise ValueError("give exactly one of sparkStandalone, yarn, kubernetes, plugin")
        return self

    @property
    def type(self) -> BackendType:
        return next(kind for name, kind in self.TYPES.items() if getattr(self, name) is not None)


class NamespaceSelector(ApiModel):
    """Namespaces by their labels."""

    match_labels: Annotated[Mapping[str, Word], Field(min_length=1, max_length=32)] = Field(
        description="Labels that a namespace must have, all of them."
    )


class ClusterJobBackendSpec(JobBackendSpec):
    """One external system, for the namespaces that are named here (none by default)."""

    namespaces: Annotated[tuple[Label, ...], Field(max_length=256)] = Field(
        default=(), description="Namespaces whose jobs may run here."
    )
    namespace_selector: NamespaceSelector | None = Field(
        default=None, description="The same, by the namespaces' labels."
    )


class BackendStatus(ReadModel):
    """What probing found."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec that was probed.")
    type: Word | None = Field(default=None, description="Type of the external system, as a backendRef declares it.")
    guarantee: Guarantee | None = Field(default=None, description="What is promised about starting an attempt once.")
    version: Word | None = Field(default=None, description="Version of the external system.")
    cluster_id: Word | None = Field(default=None, description="Identity of the external cluster.")
    incarnation: Word | None = Field(default=None, description="Which life of the external system was seen last.")
    message: Line | None = Field(default=None, description="The guarantee's assumptions, in words.")
    rolled_back_from: Word | None = Field(
        default=None,
        description="resourceVersion that was seen before the API server's storage went back in time; nothing is "
        "submitted until the annotation durablejob.io/confirm-restore has this value.",
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] = Field(
        default=(),
        description="Ready.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class JobBackend(ReadModel):
    """Where the jobs of one namespace may run."""

    api_version: Annotated[str, Field(max_length=64)] = API_VERSION
    kind: Annotated[str, Field(max_length=63)] = "JobBackend"
    metadata: ObjectMeta = ObjectMeta()
    spec: JobBackendSpec = Field(description="Which system, and how to reach it.")
    status: BackendStatus | None = Field(default=None, description="What probing found.")

    @property
    def ready(self) -> bool:
        conditions = self.status.conditions if self.status else ()
        return any(c.type == "Ready" and c.status == "True" for c in conditions)


class ClusterJobBackend(JobBackend):
    """Where the jobs of several namespaces may run."""

    kind: Annotated[str, Field(max_length=63)] = "ClusterJobBackend"
    spec: ClusterJobBackendSpec = Field(description="Which system, how to reach it, and for whom.")
