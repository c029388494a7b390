"""A Spark application on YARN in cluster mode, from the backend's settings and the job's work; pure.

What ``spark-submit`` does with a JVM of its own is done here in Python: the driver runs in Spark's ApplicationMaster,
which reads its settings from an archive of two property files, and hands what is named in the second one on to the
executors. Learnt from Spark 3.5 and 4.x (``org.apache.spark.deploy.yarn.Client``); the version decides
the JVM's options only.

* Everything on HDFS is localized from where it lies, in exactly the version that was found at the reservation. What is
  ``local:`` lies on every node already.
* The settings' archive lies in the staging folder: it is the staging fence.
* Behind the start gate ``--class`` is the gate, whose JAR lies beside the archive; it calls the program when it may.
  Nothing that a job brings is on the class path of the ApplicationMaster then: what Hadoop, log4j or a ServiceLoader
  find there runs before the gate. Its JARs, and its files as resources, are the program's own class loader's.
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
from durablejob_controller.backends.spark_rules import amount, heap
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
PATIENCE = "spark.durablejob.patienceSeconds"
DEFAULT_PATIENCE = 480
"""Less than Gate.java's own: the ResourceManager ends an ApplicationMaster that has not registered 600 s after its
launch (``yarn.am.liveness-monitor.expiry-interval-ms``), and Spark's registers once there is a SparkContext."""
_GATES_OWN = 600
"""What Gate.java takes where it is given no number."""
WAIT_FOR_CONTEXT = 100
"""Seconds for which Spark's ApplicationMaster waits by default until the program has a SparkContext."""
_OVERHEAD, _FACTOR = "spark.driver.memoryOverhead", "spark.driver.memoryOverheadFactor"
_LEAST = "spark.driver.minMemoryOverhead"
_OPTIONS = ("spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions")


@dataclass(frozen=True, slots=True)
class Needed:
    """A file that the application localizes."""

    field: str
    """Of the job's spec, or of the ``backend``'s, for messages."""
    uri: str
    type: str = "FILE"
    visibility: str = "APPLICATION"
    master_only: bool = False

    @property
    def of_backend(self) -> bool:
        """An administrator named it, not the job."""
        return self.field.startswith("backend.")


@dataclass(frozen=True, slots=True)
class Place:
    """What the staging folder holds of this application, and where."""

    app_id: str
    folder: str
    """Its URI."""
    files: Mapping[str, Resource]
    """All that is localized but the settings' archive, by name in the container."""
    gate_url: str | None = None
    """The claim's; None: no gate."""
    tags: tuple[str, ...] = ()
    user: str = field(default="")
    master_only: frozenset[str] = frozenset()
    """Names of files that executors do not get."""


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
        add(name_in_container(uri), Needed(f"spark.files[{position}]", uri))
    for position, uri in enumerate(work.archives):
        add(name_in_container(uri), Needed(f"spark.archives[{position}]", uri, "ARCHIVE"))
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
        second.append(".")  # files as resources: see the module
        patience = _seconds(base.setdefault(PATIENCE, str(DEFAULT_PATIENCE)))
        # It waits while the gate does: else it ends the driver, as one without a SparkContext.
        base.setdefault("spark.yarn.am.waitTime", f"{patience + WAIT_FOR_CONTEXT}s")
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


def fence(conf: Mapping[str, str], place: Place) -> bytes:
    """The archive of these settings, and of what executors localize."""
    kept = {name: one for name, one in place.files.items() if name not in place.master_only}
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
            ("__spark_conf__.properties", _properties(conf)),
            ("__spark_dist_cache__.properties", _properties(shared)),
        ]
    )


def launch(work: SparkWork, spark: YarnSpark, conf: Mapping[str, str], place: Place, fence_file: Resource) -> Launch:
    """The ApplicationMaster's container, with these settings."""
    own = work.yarn
    return Launch(
        name=conf["spark.app.name"],
        type="SPARK",
        command=_command(work, spark, conf, gated=place.gate_url is not None),
        memory_mb=container_memory(work, conf),
        vcores=work.driver.cores,
        environment=_environment(work, spark, place, conf),
        resources={**place.files, SETTINGS: fence_file},
        tags=(*place.tags, *(own.tags if own else ())),
        queue=own.queue if own else None,
        priority=own.priority if own else None,
        node_label=own.node_label if own else None,
    )


def container_memory(work: SparkWork, conf: Mapping[str, str]) -> int:
    """MiB of heap and overhead; raises ``InvalidWork`` for what is no amount."""
    size = heap("spark.driver.memory", work.driver.memory)
    if _OVERHEAD in conf:
        return size + amount(f"spark.conf[{_OVERHEAD}]", conf[_OVERHEAD])
    least = amount(f"spark.conf[{_LEAST}]", conf.get(_LEAST, str(LEAST_OVERHEAD)))
    return size + max(int(size * _factor(conf)), least)


def check_settings(conf: Mapping[str, str]) -> None:
    """Raise ``InvalidWork`` for settings that are read here and cannot be."""
    _factor(conf)
    for name in _OPTIONS:
        _words(conf, name)


def yarn_spark(spec: JobBackendSpec) -> YarnSpark:
    """The backend's Spark; raises ``InvalidWork`` when it has none."""
    spark = spec.yarn.spark if spec.yarn else None
    if spark is None:
        raise InvalidWork("NotSupported", "spark", "this backend has no yarn.spark: it runs no Spark applications")
    return spark


# --- parts ---------------------------------------------------------------------------------------------


def _command(work: SparkWork, spark: YarnSpark, conf: Mapping[str, str], *, gated: bool) -> str:
    memory = heap("spark.driver.memory", work.driver.memory)
    main = PYTHON_RUNNER if work.is_python else work.main_class or ""
    command = ["{{JAVA_HOME}}/bin/java", "-server", "-Djava.net.preferIPv6Addresses=false"]
    command += [*java_options(spark.version), f"-Xmx{memory}m", "-Djava.io.tmpdir={{PWD}}/tmp"]
    command += [word(option) for name in _OPTIONS for option in _words(conf, name)]
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
    gated = place.gate_url is not None
    first = [] if gated else ["{{PWD}}"]
    classes = [*first, f"{{{{PWD}}}}/{SETTINGS}", *libraries, HADOOP_SETTINGS]
    extra = conf.get("spark.driver.extraClassPath")
    before = [f"{{{{PWD}}}}/{GATE_JAR}"] if gated else []
    values = {variable.name: value(variable.value or "") for variable in work.env if variable.value_from is None}
    values |= {
        "CLASSPATH": "<CPS>".join([*before, *([extra] if extra else []), *classes]),
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


def _factor(conf: Mapping[str, str]) -> float:
    text = conf.get(_FACTOR, str(OVERHEAD)).strip()
    if not re.fullmatch(r"\d{1,6}(?:\.\d{0,9})?|\.\d{1,9}", text) or float(text) <= 0:
        raise InvalidWork("InvalidSpec", f"spark.conf[{_FACTOR}]", f"{text[:80]!r} is no such factor; write 0.1")
    return float(text)


def _words(conf: Mapping[str, str], name: str) -> list[str]:
    try:
        return shlex.split(conf.get(name, ""))
    except ValueError:
        raise InvalidWork("InvalidSpec", f"spark.conf[{name}]", "quotes do not match") from None


def _seconds(text: str) -> int:
    """As Gate.java reads its patience."""
    return int(text) if re.fullmatch(r"\d{1,9}", text) else _GATES_OWN


def _bare(uri: str) -> str:
    return uri.partition("#")[0]


def _name(uri: str) -> str:
    return unquote(urlsplit(uri).path).rstrip("/").rpartition("/")[2]


def name_in_container(uri: str) -> str:
    """What stands behind #, else the file's own name."""
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
