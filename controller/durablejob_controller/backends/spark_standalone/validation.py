"""Which work may run here; pure.

A job's author is an attacker. What is refused by name either cannot work on a standalone cluster or
reaches around the start gate: it would run something in the driver's JVM before the claim is won, run
another JVM, or answer in the gate's place. JVM options are therefore allowed by shape, not forbidden
by name. An administrator may set most of it in the backend's ``defaults.sparkConf``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.spark_standalone.submission import spark_work
from durablejob_controller.errors import InvalidBackend, InvalidWork

_OURS = "durablejob decides it: the claim allows one driver, which the start gate lets pass"
_STRUCTURE = {
    "spark.master": "the backend decides it",
    "spark.remote": "the backend decides where the program runs",
    "spark.api.mode": "the program runs in its own driver",
    "spark.submit.deployMode": _OURS,
    "spark.driver.supervise": _OURS,
    "spark.jars": "use spec.spark.jars",
    "spark.files": "use spec.spark.files",
    "spark.archives": "use spec.spark.archives",
    "spark.submit.pyFiles": "use spec.spark.pyFiles",
    "spark.jars.packages": "put the JARs into spec.spark.jars",
    "spark.jars.excludes": "put the JARs into spec.spark.jars",
    "spark.jars.repositories": "put the JARs into spec.spark.jars",
    "spark.jars.ivy": "put the JARs into spec.spark.jars",
    "spark.jars.ivySettings": "put the JARs into spec.spark.jars",
    "spark.driver.cores": "use spec.spark.driver.cores",
    "spark.driver.memory": "use spec.spark.driver.memory",
}
"""Not in a job, nor in a backend's defaults."""
_ADMIN = {
    "spark.driver.extraClassPath": "it comes before the gate's classes",
    "spark.driver.extraLibraryPath": "native libraries are loaded before the gate",
    "spark.driver.userClassPathFirst": "it changes which classes the gate sees",
}
"""Not in a job; an administrator may."""
_TYPED_EXECUTOR = {
    "spark.executor.memory": "memory",
    "spark.executor.cores": "cores",
    "spark.executor.instances": "instances",
    "spark.cores.max": "instances",
}
_JAVA_OPTIONS = re.compile(r"spark\..*javaoptions", re.IGNORECASE)
_OPTION = re.compile(
    r"-(?:D[A-Za-z_][\w.\-]*(?:=.*)?"
    r"|X(?:ms|mx|ss|mn)\d+[kKmMgG]?"
    r"|XX:[+-][A-Z]\w*"
    r"|XX:[A-Z]\w*=[\w.:%/+,\-]*"
    r"|Xlog:[\w.:%/+,=*\-]*"
    r"|(?:ea|da|esa|dsa|server|verbose:(?:gc|class|module))"
    r"|-(?:add-opens|add-exports|add-modules|enable-native-access|sun-misc-unsafe-memory-access)=[\w.,/=\-]+)",
    re.DOTALL,
)
_DANGEROUS = re.compile(
    r"-D(?:spark\.|sun\.|jdk\.|java\.(?:class|ext|endorsed|library|protocol|security|system|rmi|net\.)|"
    r"javax\.|log4j(?!2?\.configurationFile=file:)|org\.apache\.|io\.netty\.|https?\.proxy|socksProxy|com\.sun\.management)"
    r"|-XX:(?:On|Flags=|VMOptionsFile=|Shared|ArchiveClasses|\+(?:ShowMessageBox|EnableJVMCI|UseJVMCI|Upgradeable))"
)
_ENVIRONMENT = re.compile(r"(?:SPARK_|JAVA_|_JAVA|JDK_|IBM_JAVA|OPENJ9_|LD_|DYLD_|HADOOP_|YARN_|GLIBC_).*")
_HARMLESS = frozenset({"HADOOP_USER_NAME", "SPARK_USER"})
_PLACEHOLDER = re.compile(r"\{\{.*\}\}", re.DOTALL)


def validate(job: DurableJob, spec: JobBackendSpec) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    work = spark_work(job)
    _check_files(work, spec.artifact_schemes)
    for name, value in work.conf.items():
        _check_conf(name, value)
    _check_executors(work, spec)
    _check_values(work)


def validate_defaults(spec: JobBackendSpec) -> None:
    """Raise ``InvalidBackend`` for defaults that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        if why := _STRUCTURE.get(name):
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")
        if name.startswith("spark.durablejob.") and name != "spark.durablejob.patienceSeconds":
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: {_OURS}")


def _uris(work: SparkWork) -> Iterator[tuple[str, str]]:
    yield "spark.mainApplicationFile", work.main_application_file
    lists: dict[str, Sequence[str]] = {
        "jars": work.jars,
        "pyFiles": work.py_files,
        "files": work.files,
        "archives": work.archives,
    }
    for name, uris in lists.items():
        for position, uri in enumerate(uris):
            yield f"spark.{name}[{position}]", uri


def _check_files(work: SparkWork, schemes: Sequence[str]) -> None:
    for field, uri in _uris(work):
        _check_uri(field, uri, schemes)
    main = work.main_application_file
    if not main.endswith((".jar", ".py")):
        raise InvalidWork(
            "NotSupported", "spark.mainApplicationFile", "must end in .jar or .py, without query or fragment"
        )


def _check_uri(field: str, uri: str, schemes: Sequence[str]) -> None:
    allowed = ", ".join(schemes) or "none"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    if scheme is None:
        hint = f"local://{uri}" if uri.startswith("/") else "local:///path/on/every/machine"
        raise InvalidWork("SchemeNotAllowed", field, f"needs a scheme, as in {hint}; this backend allows: {allowed}")
    if scheme[1] not in schemes:
        raise InvalidWork(
            "SchemeNotAllowed", field, f"scheme {scheme[1]} is not allowed; this backend allows: {allowed}"
        )
    if any(c in uri for c in ",\\") or any(c.isspace() or not c.isprintable() for c in uri):
        raise InvalidWork("NotSupported", field, "commas, spaces and backslashes cannot be passed to Spark in a URI")
    if scheme[1] in ("local", "file"):
        try:
            parts = urlsplit(uri)
        except ValueError:
            raise InvalidWork("NotSupported", field, "is not a URI") from None
        if parts.netloc or not parts.path.startswith("/"):
            raise InvalidWork("NotSupported", field, f"write it as {scheme[1]}:///absolute/path")


def _check_conf(name: str, value: str) -> None:
    field = f"spark.conf[{name}]"
    why = _STRUCTURE.get(name) or _ADMIN.get(name)
    if name.startswith("spark.durablejob."):
        why = _OURS
    if not name.startswith("spark."):
        why = "Spark ignores settings that do not begin with spark."
    if not re.fullmatch(r"[\w.\-]+", name):
        why = "is not a name of a setting"
    if why is not None:
        admin = "; an administrator may set it in the backend's defaults.sparkConf" if name in _ADMIN else ""
        raise InvalidWork("ForbiddenConf", field, f"may not be set: {why}{admin}")
    if _JAVA_OPTIONS.fullmatch(name):
        _check_java_options(field, value)
    _check_placeholder(field, value)


def _check_java_options(field: str, value: str) -> None:
    try:
        options = shlex.split(value)
    except ValueError:
        raise InvalidWork("ForbiddenConf", field, "quotes do not match") from None
    # A second look without quoting, in case Spark splits at another place than we do.
    bare = re.split(r"\s+", re.sub(r"[\"'\\]", "", value).strip()) if value.strip() else []
    for option in [*options, *(o for o in bare if o.startswith(("-", "@")))]:
        if not _OPTION.fullmatch(option) or _DANGEROUS.match(option):
            raise InvalidWork(
                "ForbiddenConf",
                field,
                f"option {option[:80]} may not be set by a job: it could run code before the start gate "
                "(an administrator may set it in the backend's defaults.sparkConf)",
            )


def _check_executors(work: SparkWork, spec: JobBackendSpec) -> None:
    for name, part in _TYPED_EXECUTOR.items():
        if name in work.conf and getattr(work.executor, part) is not None:
            raise InvalidWork("ConflictingSettings", f"spark.conf[{name}]", f"spark.executor.{part} is set too")
    if work.executor.instances is None:
        return
    if work.executor.instances == 0:
        raise InvalidWork("NotSupported", "spark.executor.instances", "a standalone application needs one or more")
    conf: Mapping[str, str] = {**spec.defaults.spark_conf, **work.conf}
    cores = conf.get("spark.executor.cores", "1")
    if work.executor.cores is None and not re.fullmatch(r"[1-9][0-9]{0,3}", cores):
        raise InvalidWork("InvalidSpec", "spark.conf[spark.executor.cores]", "must be a whole number")


def _check_values(work: SparkWork) -> None:
    for position, argument in enumerate(work.arguments):
        if argument in ("{{WORKER_URL}}", "{{USER_JAR}}"):
            raise InvalidWork("NotSupported", f"spark.arguments[{position}]", "Spark's worker would replace it")
    for position, variable in enumerate(work.env):
        field = f"spark.env[{position}]"
        if _ENVIRONMENT.fullmatch(variable.name) and variable.name not in _HARMLESS:
            raise InvalidWork(
                "ForbiddenEnvironment",
                field,
                f"{variable.name} may not be set: it acts on the JVM before the start gate",
            )
        _check_placeholder(field, variable.value or "")


def _check_placeholder(field: str, value: str) -> None:
    # StandaloneSubmitRequestServlet.replacePlaceHolder: {{NAME}} becomes the Master's own environment variable.
    if _PLACEHOLDER.fullmatch(value):
        raise InvalidWork("NotSupported", field, "a value {{…}} would be replaced from the Master's own environment")
