"""What no Spark job may bring along, on whichever cluster; pure.

A job's author is an attacker. What is refused either cannot work in a cluster or reaches around the start gate: it
would run something in the driver's JVM before the claim is won, run another JVM, or answer in the gate's place. JVM
options are therefore allowed by shape, not forbidden by name.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from durablejob_api.base import SPARK_SIZE
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.errors import InvalidWork

JAVA_OPTIONS = re.compile(r"spark\..*javaoptions", re.IGNORECASE)
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
_ENVIRONMENT = re.compile(
    r"(?:SPARK_|JAVA_|_JAVA|JDK_|IBM_JAVA|OPENJ9_|LD_|DYLD_|HADOOP_|YARN_|GLIBC_).*"
    # The C library's: where it finds code of its own, and which host a name means (the gate's, for instance).
    r"|GCONV_PATH|LOCPATH|NLSPATH|HOSTALIASES|LOCALDOMAIN|RES_OPTIONS|RESOLV_.*"
)
_HARMLESS = frozenset({"HADOOP_USER_NAME", "SPARK_USER"})

STRUCTURE = {
    "spark.master": "the backend decides it",
    "spark.remote": "the backend decides where the program runs",
    "spark.api.mode": "the program runs in its own driver",
    "spark.submit.deployMode": "the driver always runs in the cluster",
    "spark.driver.supervise": "the program is started once for each attempt",
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
ADMIN = {
    "spark.driver.extraClassPath": "it comes before the gate's classes",
    "spark.driver.extraLibraryPath": "native libraries are loaded before the gate",
    "spark.driver.userClassPathFirst": "it changes which classes the gate sees",
}
"""Not in a job; an administrator may."""
SIZES = (
    "spark.executor.memory", "spark.executor.memoryOverhead", "spark.executor.minMemoryOverhead",
    "spark.executor.pyspark.memory", "spark.driver.memoryOverhead", "spark.driver.minMemoryOverhead",
)  # fmt: skip
"""Settings that are amounts of memory, in MiB where no unit is given."""
_SIZE = re.compile(r"([0-9]{1,19})([kmgtp]?b?)", re.IGNORECASE)
_BYTES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
MOST_MEMORY = 2**31 - 1
"""MiB: Spark and YARN count them in 31 bits in places."""


def spark_work(job: DurableJob) -> SparkWork:
    """The Spark part of the job; raises ``InvalidWork`` when it is something else."""
    if job.spec.spark is None:
        raise InvalidWork("WrongWork", "spark", "missing; Spark applications only run here")
    return job.spec.spark


def uris(work: SparkWork) -> Iterator[tuple[str, str]]:
    """(field, URI) of every file that the job names."""
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


def check_uri(field: str, uri: str, schemes: Sequence[str]) -> None:
    """Raise ``InvalidWork`` for a file that the backend does not admit, or that cannot be named to Spark."""
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


def check_conf(name: str, value: str, why: str | None) -> None:
    """Raise ``InvalidWork`` for a setting that no job may bring; ``why``: what this kind of cluster says of it."""
    field = f"spark.conf[{name}]"
    why = why or STRUCTURE.get(name) or ADMIN.get(name)
    if name.startswith("spark.durablejob."):
        why = "durablejob decides it: the claim allows one driver, which the start gate lets pass"
    if not name.startswith("spark."):
        why = "Spark ignores settings that do not begin with spark."
    if not re.fullmatch(r"[\w.\-]+", name):
        why = "is not a name of a setting"
    if why is not None:
        admin = "; an administrator may set it in the backend's defaults.sparkConf" if name in ADMIN else ""
        raise InvalidWork("ForbiddenConf", field, f"may not be set: {why}{admin}")
    if JAVA_OPTIONS.fullmatch(name):
        _check_java_options(field, value)


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


def check_variable(field: str, name: str) -> None:
    """Raise ``InvalidWork`` for a variable that acts on the driver's JVM."""
    if _ENVIRONMENT.fullmatch(name) and name not in _HARMLESS:
        raise InvalidWork(
            "ForbiddenEnvironment", field, f"{name} may not be set: it acts on the JVM before the start gate"
        )


def mebibytes(size: str) -> int:
    """Whole MiB of a size as Spark reads it, where a number alone counts MiB; raises ``ValueError``."""
    found = _SIZE.fullmatch(size.strip())
    count = int(found[1]) * _BYTES[found[2][:1].lower() or "m"] // _BYTES["m"] if found is not None else -1
    if not 0 <= count <= MOST_MEMORY:
        raise ValueError(f"{size[:40]!r} {SPARK_SIZE}")
    return count


def in_mebibytes(size: str) -> str:
    """The same size, which every part of Spark reads alike: of a number alone some count MiB, and some bytes."""
    return f"{mebibytes(size)}m"


def amount(field: str, size: str, least: int = 0) -> int:
    """The same; raises ``InvalidWork``, also for less than ``least``."""
    try:
        found = mebibytes(size)
    except ValueError as error:
        raise InvalidWork("InvalidSpec", field, str(error)) from None
    if found < least:
        raise InvalidWork("InvalidSpec", field, f"{size[:40]!r} is less than {least}m; write 512m or 2g")
    return found


def heap(field: str, size: str) -> int:
    """MiB of a JVM's heap; raises ``InvalidWork``. Less than one would be -Xmx0m, which means another thing."""
    return amount(field, size, least=1)


def check_sizes(conf: Mapping[str, str]) -> None:
    """Raise ``InvalidWork`` for amounts of memory that Spark would refuse once it runs."""
    for name in SIZES:
        if name in conf:
            (heap if name == "spark.executor.memory" else amount)(f"spark.conf[{name}]", conf[name])


def check_heaps(work: SparkWork) -> None:
    """The same of what is not in ``conf``."""
    heap("spark.driver.memory", work.driver.memory)
    if work.executor.memory is not None:
        heap("spark.executor.memory", work.executor.memory)
