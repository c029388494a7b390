"""A Spark application on YARN in cluster mode, from the backend's settings and the job's work; pure.

What ``spark-submit`` does with a JVM of its own is done here in Python: the driver runs in Spark's ApplicationMaster,
which reads its settings from an archive of two property files, and hands what is named in the second one on to the
executors. Learnt from Spark 3.5 and 4.x (``org.apache.spark.deploy.yarn.Client``); the version decides
the JVM's options only.

* Everything on HDFS is localized from where it lies, in exactly the version that was found at the reservation. What is
  ``local:`` lies on every node already.
* The settings' archive lies in the staging folder: it is the staging fence.
* Behind the start gate ``--class`` is the gate, whose JAR lies beside the archive; it calls the program when it may.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from durablejob_api.backend import JobBackendSpec, YarnSpark
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.gate_jar import GATE, archive
from durablejob_controller.backends.yarn.java_options import java_options
from durablejob_controller.backends.yarn.launch import Launch, Resource, value, word
from durablejob_controller.errors import InvalidWork

MASTER = "org.apache.spark.deploy.yarn.ApplicationMaster"
PYTHON_RUNNER = "org.apache.spark.deploy.PythonRunner"
SETTINGS = "__spark_conf__"
LIBRARIES = "__spark_libs__"
APPLICATION = "__app__.jar"
GATE_JAR = "__durablejob__.jar"
PYTHON_FILES = "__pyfiles__"
HADOOP_SETTINGS = "{{HADOOP_CONF_DIR}}"
"""The node's own: the controller has none."""
LEAST_OVERHEAD = 384
OVERHEAD = 0.1


@dataclass(frozen=True, slots=True)
class Needed:
    """A file that the application localizes."""

    field: str
    """Of the spec, for messages."""
    uri: str
    type: str = "FILE"
    visibility: str = "APPLICATION"
    master_only: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What the staging folder holds of this application, and where."""

    app_id: str
    folder: str
    """Its URI."""
    files: Mapping[str, Resource]
    """What was found of ``needed``, by name in the container."""
    gate_url: str | None = None
    """The claim's; None: no gate."""
    tags: tuple[str, ...] = ()
    gate_jar: Resource | None = None
    user: str = field(default="")


def needed(work: SparkWork, spark: YarnSpark) -> dict[str, Needed]:
    """What is to be localized, by name in the container; raises ``InvalidWork`` when a name or a file comes twice."""
    found: dict[str, Needed] = {}

    def add(name: str, file: Needed) -> None:
        if urlsplit(file.uri).scheme == "local":
            return
        if name in found and found[name].uri != file.uri:
            raise InvalidWork("NotSupported", file.field, f"two files would both be called {name} in the container")
        twin = next((n for n, f in found.items() if n != name and _bare(f.uri) == _bare(file.uri)), None)
        if twin is not None:  # seen: executors then find it under one of them only
            raise InvalidWork("NotSupported", file.field, f"YARN gives a file one name; it is called {twin} already")
        found[name] = file

    if spark.archive is not None:
        add(LIBRARIES, Needed("backend.yarn.spark.archive", spark.archive, "ARCHIVE", "PUBLIC"))
    if work.is_python:
        for position, uri in enumerate(spark.python_libs):
            add(_name(uri), Needed(f"backend.yarn.spark.pythonLibs[{position}]", uri, visibility="PUBLIC"))
        add(_name(work.main_application_file), Needed("spark.mainApplicationFile", work.main_application_file,
                                                      master_only=True))  # fmt: skip
    else:
        add(APPLICATION, Needed("spark.mainApplicationFile", work.main_application_file))
    for position, uri in enumerate(work.jars):
        add(_name(uri), Needed(f"spark.jars[{position}]", uri))
    for position, uri in enumerate(work.py_files):
        name = _name(uri)
        add(f"{PYTHON_FILES}/{name}" if name.endswith(".py") else name, Needed(f"spark.pyFiles[{position}]", uri))
    for position, uri in enumerate(work.files):
        add(_link(uri), Needed(f"spark.files[{position}]", uri))
    for position, uri in enumerate(work.archives):
        add(_link(uri), Needed(f"spark.archives[{position}]", uri, "ARCHIVE"))
    return found


def settings(job: DurableJob, work: SparkWork, spec: JobBackendSpec, place: Place) -> dict[str, str]:
    """Spark's configuration, as driver and executors read it."""
    spark = yarn_spark(spec)
    base = {**spec.defaults.spark_conf, **work.conf}
    base.setdefault("spark.app.name", job.metadata.name or "durablejob")
    base.setdefault("spark.ui.port", "0")
    base["spark.executor.extraClassPath"] = "<CPS>".join(
        part for part in (base.get("spark.executor.extraClassPath"), HADOOP_SETTINGS) if part
    )
    ours = {
        "spark.master": "yarn",
        "spark.submit.deployMode": "cluster",
        "spark.yarn.maxAppAttempts": "1",
        "spark.driver.cores": str(work.driver.cores),
        "spark.driver.memory": work.driver.memory,
        "spark.yarn.submit.waitAppCompletion": "false",
    }
    for name, given in (("memory", work.executor.memory), ("cores", work.executor.cores),
                        ("instances", work.executor.instances)):  # fmt: skip
        if given is not None:
            ours[f"spark.executor.{name}"] = str(given)
    if spark.archive is not None:
        ours["spark.yarn.archive"] = spark.archive
    elif spark.jars is not None:
        ours["spark.yarn.jars"] = spark.jars.rstrip("/") + "/*"
    if urlsplit(work.main_application_file).scheme == "local" and not work.is_python:
        ours["spark.yarn.user.jar"] = work.main_application_file
    second = [uri if urlsplit(uri).scheme == "local" else _name(uri) for uri in work.jars]
    if place.gate_url is not None:
        second.append(GATE_JAR)
        ours |= {
            "spark.durablejob.tokenURL": place.gate_url,
            "spark.durablejob.mainClass": PYTHON_RUNNER if work.is_python else work.main_class or "",
        }
    if second:
        ours["spark.yarn.secondary.jars"] = ",".join(second)
    if work.is_python:
        ours["spark.yarn.isPython"] = "true"
        ours["spark.executorEnv.PYTHONPATH"] = _python_path(work, spark)
    return {**base, **ours}


def fence(job: DurableJob, work: SparkWork, spec: JobBackendSpec, place: Place) -> bytes:
    """The settings' archive."""
    everything = {**place.files, **({GATE_JAR: place.gate_jar} if place.gate_jar else {})}
    wanted = needed(work, yarn_spark(spec))
    kept = {name: one for name, one in everything.items() if name not in wanted or not wanted[name].master_only}
    shared = {
        "spark.yarn.cache.filenames": ",".join(f"{one.uri}#{name}" for name, one in kept.items()),
        "spark.yarn.cache.sizes": ",".join(str(one.size) for one in kept.values()),
        "spark.yarn.cache.timestamps": ",".join(str(one.modified) for one in kept.values()),
        "spark.yarn.cache.visibilities": ",".join(one.visibility for one in kept.values()),
        "spark.yarn.cache.types": ",".join(one.type for one in kept.values()),
    }
    shared = shared if kept else {}
    shared["spark.yarn.cache.confArchive"] = f"{place.folder}/fence.zip"
    return archive(
        [
            ("__spark_conf__.properties", _properties(settings(job, work, spec, place))),
            ("__spark_dist_cache__.properties", _properties(shared)),
        ]
    )


def launch(job: DurableJob, work: SparkWork, spec: JobBackendSpec, place: Place, fence_file: Resource) -> Launch:
    """The ApplicationMaster's container."""
    spark, conf = yarn_spark(spec), settings(job, work, spec, place)
    heap = _mebibytes(work.driver.memory)
    resources = {**place.files, SETTINGS: fence_file}
    if place.gate_jar is not None:
        resources[GATE_JAR] = place.gate_jar
    own = work.yarn
    return Launch(
        name=conf["spark.app.name"],
        type="SPARK",
        command=_command(work, spark, conf, heap, gated=place.gate_url is not None),
        memory_mb=heap + _overhead(conf, heap),
        vcores=work.driver.cores,
        environment=_environment(work, spark, place, conf),
        resources=resources,
        tags=(*place.tags, *(own.tags if own else ())),
        queue=own.queue if own else None,
        priority=own.priority if own else None,
        node_label=own.node_label if own else None,
    )


def yarn_spark(spec: JobBackendSpec) -> YarnSpark:
    """The backend's Spark; raises ``InvalidWork`` when it has none."""
    spark = spec.yarn.spark if spec.yarn else None
    if spark is None:
        raise InvalidWork("NotSupported", "spark", "this backend has no yarn.spark: it runs no Spark applications")
    return spark


# --- parts ---------------------------------------------------------------------------------------------


def _command(work: SparkWork, spark: YarnSpark, conf: Mapping[str, str], heap: int, *, gated: bool) -> str:
    main = PYTHON_RUNNER if work.is_python else work.main_class or ""
    command = ["{{JAVA_HOME}}/bin/java", "-server", "-Djava.net.preferIPv6Addresses=false"]
    command += [*java_options(spark.version), f"-Xmx{heap}m", "-Djava.io.tmpdir={{PWD}}/tmp"]
    command += [word(option) for key in ("spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions")
                for option in shlex.split(conf.get(key, ""))]  # fmt: skip
    command += ["-Dspark.yarn.app.container.log.dir=<LOG_DIR>", MASTER, "--class", word(GATE if gated else main)]
    if work.is_python:
        uri = work.main_application_file
        path = unquote(urlsplit(uri).path) if urlsplit(uri).scheme == "local" else _name(uri)
        command += ["--primary-py-file", word(path)]
    else:
        command += ["--jar", word(work.main_application_file)]
    for argument in work.arguments:
        command += ["--arg", word(argument)]
    command += ["--properties-file", f"{{{{PWD}}}}/{SETTINGS}/__spark_conf__.properties"]
    command += ["--dist-cache-conf", f"{{{{PWD}}}}/{SETTINGS}/__spark_dist_cache__.properties"]
    return " ".join([*command, "1>", "<LOG_DIR>/stdout", "2>", "<LOG_DIR>/stderr"])


def _environment(work: SparkWork, spark: YarnSpark, place: Place, conf: Mapping[str, str]) -> dict[str, str]:
    libraries = [f"{{{{PWD}}}}/{LIBRARIES}/*"]
    if spark.jars is not None and spark.jars.startswith("local:"):
        libraries.append(unquote(urlsplit(spark.jars).path).rstrip("/") + "/*")
    classes = ["{{PWD}}", f"{{{{PWD}}}}/{SETTINGS}", *libraries, HADOOP_SETTINGS]
    extra = conf.get("spark.driver.extraClassPath")
    values = {variable.name: value(variable.value or "") for variable in work.env if variable.value_from is None}
    values |= {
        "CLASSPATH": "<CPS>".join([*([extra] if extra else []), *classes]),
        "SPARK_USER": place.user,
        "SPARK_YARN_STAGING_DIR": place.folder,
        "SPARK_PREFER_IPV6": "false",
    }
    if work.is_python:
        values["PYTHONPATH"] = _python_path(work, spark)
        values.setdefault("PYTHONHASHSEED", "0")
    return values


def _python_path(work: SparkWork, spark: YarnSpark) -> str:
    parts = []
    if any(_name(uri).endswith(".py") for uri in work.py_files):
        parts.append(f"{{{{PWD}}}}/{PYTHON_FILES}")
    for uri in (*spark.python_libs, *(u for u in work.py_files if not _name(u).endswith(".py"))):
        local = urlsplit(uri).scheme == "local"
        parts.append(unquote(urlsplit(uri).path) if local else f"{{{{PWD}}}}/{_name(uri)}")
    return "<CPS>".join(parts)


def _overhead(conf: Mapping[str, str], heap: int) -> int:
    given = conf.get("spark.driver.memoryOverhead")
    if given is not None:
        return _mebibytes(given)
    factor = float(conf.get("spark.driver.memoryOverheadFactor", OVERHEAD))
    return max(int(heap * factor), _mebibytes(conf.get("spark.driver.minMemoryOverhead", f"{LEAST_OVERHEAD}m")))


def _mebibytes(text: str) -> int:
    """Spark's amounts of memory; a bare number is MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise InvalidWork("InvalidSpec", "spark.driver.memory", f"{text!r} is no amount of memory; write 512m or 2g")
    scale = {"k": 1 / 1024, "": 1, "m": 1, "g": 1024, "t": 1024**2, "p": 1024**3}[match[2]]
    return int(float(match[1]) * scale)


def _bare(uri: str) -> str:
    return uri.partition("#")[0]


def _name(uri: str) -> str:
    return unquote(urlsplit(uri).path).rstrip("/").rpartition("/")[2]


def _link(uri: str) -> str:
    """Name in the container: what stands behind #, else the file's own."""
    return urlsplit(uri).fragment or _name(uri)


def _properties(values: Mapping[str, str]) -> bytes:
    """java.util.Properties' own form."""
    lines = (f"{_escaped(name)}={_escaped(text)}\n" for name, text in sorted(values.items()))
    return "".join(lines).encode("ascii")


def _escaped(text: str) -> str:
    out = []
    for position, c in enumerate(text):
        if c in "\\:=#!" or (c == " " and position == 0):
            out.append("\\" + c)
        elif c in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[c])
        elif " " <= c <= "~":
            out.append(c)
        else:
            units = c.encode("utf-16-be")
            out += [f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2)]
    return "".join(out)
