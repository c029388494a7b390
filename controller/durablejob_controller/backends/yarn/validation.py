"""Which work may run here; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from durablejob_api.backend import JobBackendSpec, YarnBackend
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork, YarnWork
from durablejob_controller.backends.spark_rules import (
    STRUCTURE,
    check_conf,
    check_heaps,
    check_sizes,
    check_uri,
    check_variable,
    uris,
)
from durablejob_controller.backends.yarn import spark as applications
from durablejob_controller.errors import InvalidBackend, InvalidWork

_ALLOWED_YARN = re.compile(
    r"spark\.yarn\.(?:executor\.(?:resource\..+|nodeLabelExpression|failuresValidityInterval|launch\..+)"
    r"|max\.executor\.failures|exclude\.nodes|scheduler\..+|historyServer\..+|am\.waitTime"
    r"|containerLauncherMaxThreads|shuffle\..+|metrics\..+|blacklist\..+|includeDriverLogsLink)"
)
"""Of the settings below spark.yarn those that neither move files nor change how the application is launched."""
_SPARK_FILES = ("hdfs", "local")
_GENERIC_FILES = ("hdfs", "http", "https")
_NAME = re.compile(r"(?!\.)[\w.@+=-]{1,255}")
"""Names in the container: the NodeManager writes them, and the names of the files that they stand for, into a shell
script, between double quotes and otherwise as they are."""
_RESERVED = re.compile(r"__(?!.*\.py$).*", re.DOTALL)
"""Spark's and our own names in the container: __spark_conf__, __durablejob__.jar, ..."""
_SHELL = re.compile(r"BASH.*|ENV|SHELLOPTS|PATH|IFS|PS4|CDPATH|GLOBIGNORE|POSIXLY_CORRECT")
"""Variables that act on the NodeManager's script, which bash runs before the JVM."""
_DECIDED_VARIABLES = {"CLASSPATH": "use spec.spark.jars", "SPARK_USER": "it is the backend's user"}
_YARNS = re.compile(
    r"PWD|HOME|USER|LOGNAME|CONTAINER_ID|NM_(?:HOST|PORT|HTTP_PORT)|LOCAL_(?:USER_)?DIRS|LOG_DIRS|JVM_PID"
    r"|LOCALIZATION_COUNTERS|PRELAUNCH_(?:OUT|ERR)|APPLICATION_WEB_PROXY_BASE|APP_SUBMIT_TIME_ENV"
)
"""Variables that the NodeManager and the ResourceManager set, whatever an application says."""
_TAG = re.compile(r"[ -+\--~]{1,100}")
"""Printable ASCII without a comma."""
_PLAIN = "must be a plain name: letters, digits and . _ - + = @, without a dot at its beginning"
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


def validate_backend(spec: JobBackendSpec, *, gated: bool) -> None:
    """Raise ``InvalidBackend`` for settings that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        why = STRUCTURE.get(name) or _decided(name)
        if why is None and name.startswith("spark.durablejob.") and name != "spark.durablejob.patienceSeconds":
            why = "durablejob decides it"
        if name == "spark.driver.userClassPathFirst" and gated:
            why = "a job's own files would come before the gate's classes"
        if why is not None:
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")
    try:
        check_sizes(spec.defaults.spark_conf)
        applications.check_settings(spec.defaults.spark_conf)
    except InvalidWork as error:
        raise InvalidBackend(f"spec.defaults.sparkConf: {error}") from error
    if spec.yarn is None or not spec.yarn.staging.webhdfs.data_nodes:
        raise InvalidBackend(
            "spec.yarn.staging.webhdfs.dataNodes: missing; the content of files is sent to no host that is not listed"
        )
    for field, uri in _of_the_backend(spec.yarn):
        try:
            _hdfs(field, uri, spec)
        except InvalidWork as error:
            raise InvalidBackend(f"spec.{error}") from error


def _of_the_backend(yarn: YarnBackend) -> Iterator[tuple[str, str]]:
    """(field, URI) of what the backend names on HDFS."""
    yield "yarn.staging.dir", yarn.staging.dir.rstrip("/")
    spark = yarn.spark
    if spark is None:
        return
    if spark.archive is not None:
        yield "yarn.spark.archive", spark.archive
    if spark.jars is not None and spark.jars.startswith("hdfs:"):
        yield "yarn.spark.jars", spark.jars.rstrip("/")
    for position, uri in enumerate(spark.python_libs):
        yield f"yarn.spark.pythonLibs[{position}]", uri


def _decided(name: str) -> str | None:
    if name.startswith("spark.yarn.") and not _ALLOWED_YARN.fullmatch(name):
        return "durablejob decides how the application is launched (queue, priority, tags: spec.spark.yarn; env: env)"
    if name.startswith("spark.driver.resource."):
        return "the ApplicationMaster, in which the driver runs, is given memory and cores only"
    if name.startswith("spark.cores.max"):
        return "YARN does not know it: use spec.spark.executor.instances and cores"
    return None


def _spark(work: SparkWork, spec: JobBackendSpec) -> None:
    settings = applications.yarn_spark(spec)
    for field, uri in uris(work):
        check_uri(field, uri.partition("#")[0], spec.artifact_schemes)
        _file(field, uri, spec, _SPARK_FILES)
        if _RESERVED.fullmatch(applications.name_in_container(uri)):
            raise InvalidWork("InvalidSpec", field, "names that begin with __ are Spark's and ours: rename it")
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
        _variable(f"spark.env[{position}]", variable.name, python=work.is_python)
    _tags("spark.yarn.tags", work.yarn.tags if work.yarn else ())
    applications.needed(work, settings)
    check_heaps(work)
    check_sizes(work.conf)
    applications.container_memory(work, {**spec.defaults.spark_conf, **work.conf})


def _variable(field: str, name: str, *, python: bool) -> None:
    check_variable(field, name)
    why = _DECIDED_VARIABLES.get(name) or ("use spec.spark.pyFiles" if python and name == "PYTHONPATH" else None)
    if _SHELL.fullmatch(name):
        why = "it acts on the script that starts the JVM, and so before the start gate"
    if why is not None:
        raise InvalidWork("ForbiddenEnvironment", field, f"{name} may not be set: {why}")
    _not_yarns(field, name)


def _not_yarns(field: str, name: str) -> None:
    if _YARNS.fullmatch(name):
        raise InvalidWork("ForbiddenEnvironment", field, f"{name} may not be set: YARN sets it itself")


def _generic(work: YarnWork, spec: JobBackendSpec) -> None:
    for position, resource in enumerate(work.local_resources):
        field = f"yarn.localResources[{position}]"
        check_uri(f"{field}.uri", resource.uri, spec.artifact_schemes)
        _file(f"{field}.uri", resource.uri, spec, _GENERIC_FILES)
        if resource.visibility == "PUBLIC" and not resource.uri.startswith("hdfs:"):
            why = "PUBLIC is for files that everybody may read on HDFS; use PRIVATE or APPLICATION"
            raise InvalidWork("NotSupported", f"{field}.visibility", why)
        if not _NAME.fullmatch(resource.name) or resource.name == "durablejob.fence":
            raise InvalidWork("InvalidSpec", f"{field}.name", f"{_PLAIN}, and not one of ours")
    names = [resource.name for resource in work.local_resources]
    if len(set(names)) < len(names):
        raise InvalidWork("InvalidSpec", "yarn.localResources", "two have the same name")
    for name in work.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidWork("InvalidSpec", f"yarn.environment[{name[:80]}]", "is not a name of a variable")
        _not_yarns(f"yarn.environment[{name}]", name)
    if not work.command.strip() or "\0" in work.command:
        raise InvalidWork("InvalidSpec", "yarn.command", "must be a shell command")
    _tags("yarn.tags", work.tags)


def _file(field: str, uri: str, spec: JobBackendSpec, schemes: tuple[str, ...]) -> None:
    parts = _parts(field, uri)
    if parts.scheme not in schemes:
        raise InvalidWork("NotSupported", field, f"on YARN files are taken from {' or '.join(schemes)}")
    if parts.scheme == "local":
        return  # nothing is linked into the container
    if parts.scheme == "hdfs":
        _hdfs(field, uri, spec)
    own = unquote(parts.path).rpartition("/")[2]
    if not _NAME.fullmatch(own):
        raise InvalidWork("InvalidSpec", field, f"the file's own name {_PLAIN}")
    if parts.fragment and not _NAME.fullmatch(parts.fragment):
        raise InvalidWork("InvalidSpec", field, f"what stands behind # {_PLAIN}")


def _hdfs(field: str, uri: str, spec: JobBackendSpec) -> None:
    """The path as HDFS takes it: DFSUtil.isValidName."""
    parts = _parts(field, uri)
    ours = urlsplit(spec.yarn.staging.dir).netloc if spec.yarn else ""
    if parts.netloc not in ("", ours):
        raise InvalidWork("NotSupported", field, f"must lie on the backend's own HDFS: hdfs://{ours}/…")
    root, *names = unquote(parts.path).split("/")
    if root or parts.query or any(name in ("", ".", "..") or ":" in name for name in names):
        raise InvalidWork("InvalidSpec", field, "must be an absolute path, without empty parts, ., .., : and ?")


def _parts(field: str, uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError:  # seen: hdfs://[x/y.jar
        raise InvalidWork("InvalidSpec", field, "is not a URI") from None


def _tags(field: str, tags: tuple[str, ...]) -> None:
    for position, tag in enumerate(tags):
        if not _TAG.fullmatch(tag) or _OURS.match(tag.strip()):  # YARN's own listing is read without the spaces
            why = "must be at most 100 printable ASCII characters, without a comma, and not begin with durablejob"
            raise InvalidWork("InvalidSpec", f"{field}[{position}]", why)
