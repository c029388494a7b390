"""Which work may run here; pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork, YarnWork
from durablejob_controller.backends.spark_rules import STRUCTURE, check_conf, check_uri, check_variable, uris
from durablejob_controller.backends.yarn import spark as applications
from durablejob_controller.errors import InvalidBackend, InvalidWork

_ALLOWED_YARN = re.compile(
    r"spark\.yarn\.(?:executor\.(?:resource\..+|nodeLabelExpression|failuresValidityInterval|launch\..+)"
    r"|max\.executor\.failures|exclude\.nodes|scheduler\..+|historyServer\..+|am\.(?:waitTime|resource\..+)"
    r"|containerLauncherMaxThreads|shuffle\..+|metrics\..+|blacklist\..+|includeDriverLogsLink|priority\.none)"
)
"""Of the settings below spark.yarn those that neither move files nor change how the application is launched."""
_SPARK_FILES = ("hdfs", "local")
_GENERIC_FILES = ("hdfs", "http", "https")
_PYTHON_LINK = re.compile(r"[\w.@%+=-]{1,255}")
_TAG = re.compile(r"[ -+\--~]{1,100}")
"""Printable ASCII without a comma."""
_OURS = re.compile(r"durablejob[.-]", re.IGNORECASE)


def validate(job: DurableJob, spec: JobBackendSpec, *, gated: bool) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    if job.spec.spark is not None:
        _spark(job.spec.spark, spec)
    elif job.spec.yarn is not None:
        if gated:
            why = "the backend's fence is the start gate, which only Spark applications ask; use one with mode Staging"
            raise InvalidWork("NotSupported", "yarn", why)
        _generic(job.spec.yarn, spec)
    else:
        raise InvalidWork("WrongWork", "spark", "missing; a Yarn backend runs spec.spark or spec.yarn")


def validate_backend(spec: JobBackendSpec) -> None:
    """Raise ``InvalidBackend`` for settings that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        why = STRUCTURE.get(name) or _decided(name)
        if why is None and name.startswith("spark.durablejob.") and name != "spark.durablejob.patienceSeconds":
            why = "durablejob decides it"
        if why is not None:
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")
    if spec.yarn is None or not spec.yarn.staging.webhdfs.data_nodes:
        raise InvalidBackend(
            "spec.yarn.staging.webhdfs.dataNodes: missing; the content of files is sent to no host that is not listed"
        )


def _decided(name: str) -> str | None:
    if name.startswith("spark.yarn.") and not _ALLOWED_YARN.fullmatch(name):
        return "durablejob decides how the application is launched (queue, priority, tags: spec.spark.yarn; env: env)"
    if name.startswith("spark.cores.max"):
        return "YARN does not know it: use spec.spark.executor.instances and cores"
    return None


def _spark(work: SparkWork, spec: JobBackendSpec) -> None:
    settings = applications.yarn_spark(spec)
    for field, uri in uris(work):
        check_uri(field, uri.partition("#")[0], spec.artifact_schemes)
        _file(field, uri, spec, _SPARK_FILES)
    if not work.main_application_file.endswith((".jar", ".py")):
        raise InvalidWork(
            "NotSupported", "spark.mainApplicationFile", "must end in .jar or .py, without query or fragment"
        )
    for name, value in work.conf.items():
        check_conf(name, value, _decided(name))
    for name, part in (("memory", work.executor.memory), ("cores", work.executor.cores),
                       ("instances", work.executor.instances)):  # fmt: skip
        if part is not None and f"spark.executor.{name}" in work.conf:
            field = f"spark.conf[spark.executor.{name}]"
            raise InvalidWork("ConflictingSettings", field, f"spark.executor.{name} is set too")
    for position, variable in enumerate(work.env):
        check_variable(f"spark.env[{position}]", variable.name)
    _tags("spark.yarn.tags", work.yarn.tags if work.yarn else ())
    applications.needed(work, settings)


def _generic(work: YarnWork, spec: JobBackendSpec) -> None:
    for position, resource in enumerate(work.local_resources):
        field = f"yarn.localResources[{position}]"
        check_uri(f"{field}.uri", resource.uri, spec.artifact_schemes)
        _file(f"{field}.uri", resource.uri, spec, _GENERIC_FILES)
        if resource.visibility == "PUBLIC" and not resource.uri.startswith("hdfs:"):
            why = "PUBLIC is for files that everybody may read on HDFS; use PRIVATE or APPLICATION"
            raise InvalidWork("NotSupported", f"{field}.visibility", why)
        if "/" in resource.name or resource.name.startswith(".") or resource.name == "durablejob.fence":
            raise InvalidWork("InvalidSpec", f"{field}.name", "must be the plain name of a file, not one of ours")
    names = [resource.name for resource in work.local_resources]
    if len(set(names)) < len(names):
        raise InvalidWork("InvalidSpec", "yarn.localResources", "two have the same name")
    for name in work.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidWork("InvalidSpec", f"yarn.environment[{name[:80]}]", "is not a name of a variable")
    if not work.command.strip() or "\0" in work.command:
        raise InvalidWork("InvalidSpec", "yarn.command", "must be a shell command")
    _tags("yarn.tags", work.tags)


def _file(field: str, uri: str, spec: JobBackendSpec, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in schemes:
        raise InvalidWork("NotSupported", field, f"on YARN files are taken from {' or '.join(schemes)}")
    if parts.scheme != "hdfs":
        return
    ours = urlsplit(spec.yarn.staging.dir).netloc if spec.yarn else ""
    if parts.netloc not in ("", ours):
        raise InvalidWork("NotSupported", field, f"must lie on the backend's own HDFS: hdfs://{ours}/…")
    if parts.fragment and not _PYTHON_LINK.fullmatch(parts.fragment):
        raise InvalidWork("InvalidSpec", field, "what stands behind # must be the plain name of a file")
    if not parts.path.startswith("/") or "/../" in f"{parts.path}/" or parts.path.endswith("/"):
        raise InvalidWork("InvalidSpec", field, "must be an absolute path of a file")


def _tags(field: str, tags: tuple[str, ...]) -> None:
    for position, tag in enumerate(tags):
        if not _TAG.fullmatch(tag) or _OURS.match(tag):
            why = "must be at most 100 printable ASCII characters, without a comma, and not begin with durablejob"
            raise InvalidWork("InvalidSpec", f"{field}[{position}]", why)
