"""What is sent to the Master for one claim; pure.

The driver that Spark starts runs the claim's generated class, hence the gate, hence (when the claim is
won) ``SparkSubmit`` in client mode within the same JVM, for JARs and for PySpark alike. So nothing of
the user's is fetched or loaded before the claim is won: with the user's JARs in ``spark.jars`` Spark's
``DriverWrapper`` would fetch them first, and a missing file would look like a driver that never asked.

Facts, all seen on Spark 4.3:

* the Master turns ``sparkProperties`` into ``-D`` options of the driver; they reach the program, also
  PySpark's, because ``SparkConf`` reads the JVM's properties;
* ``SparkSubmit`` would put the worker's ``spark-defaults.conf`` above them, which standalone's cluster
  mode does not know; an empty ``--properties-file`` (made by the gate, in the driver's own folder)
  prevents that. It must be an ordinary file: /dev/null is refused;
* without ``--master`` PySpark runs local; without ``--name`` the application is called like its file;
* ``local:`` and ``file:`` work in every place. ``local:`` is read by each machine from its own disk,
  ``file:`` by the driver's machine only, which serves it to the executors;
* ``spark.executor.instances`` is not read on standalone: the number follows from ``spark.cores.max``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.spark_rules import in_mebibytes, spark_work
from durablejob_controller.backends.spark_standalone.stub import class_name
from durablejob_controller.errors import InvalidWork

SPARK_SUBMIT = "org.apache.spark.deploy.SparkSubmit"
PROPERTIES_FILE = "durablejob.properties"
"""Name in the driver's folder; Gate.java makes it."""
CLAIM_JAR = "claim.jar"
EXECUTOR_MEMORY = "spark.executor.memory"


@dataclass(frozen=True, slots=True)
class Place:
    """What may differ between two submissions of the same work."""

    claim: int = 1
    claim_url: str = ""
    """The gate's URL with the claim's path; Spark redacts it where it prints properties."""
    master_url: str = ""
    """spark://host:7077[,...] for the application."""
    spark_version: str = ""
    secrets: Mapping[tuple[str, str], str] | None = field(default=None, repr=False)
    """Values by (Secret's name, key); None: name them only (for the hash)."""


def body(job: DurableJob, key: str, spec: JobBackendSpec, place: Place) -> dict[str, Any]:
    """The CreateSubmissionRequest of one claim."""
    work = spark_work(job)
    properties = _properties(job, work, spec, place)
    return {
        "action": "CreateSubmissionRequest",
        "clientSparkVersion": place.spark_version,
        "appResource": f"{place.claim_url}/{CLAIM_JAR}",
        "mainClass": class_name(key, place.claim),
        "appArgs": _arguments(work, properties["spark.app.name"], place.master_url),
        "sparkProperties": properties,
        "environmentVariables": _environment(work, place),
    }


def body_hash(job: DurableJob, key: str, spec: JobBackendSpec) -> str:
    """Hash of the work as it would be submitted: the same for every claim, Master and gate URL."""
    canonical = json.dumps(body(job, key, spec, Place()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def local_path(uri: str) -> str | None:
    """Path on the machine itself for ``local:`` and ``file:``, else None."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme in ("local", "file") else None


def _arguments(work: SparkWork, name: str, master_url: str) -> list[str]:
    arguments = ["--master", master_url, "--deploy-mode", "client"]
    arguments += ["--properties-file", PROPERTIES_FILE, "--name", name]
    if work.main_class is not None:
        arguments += ["--class", work.main_class]
    lists = {"--jars": work.jars, "--py-files": work.py_files, "--files": work.files, "--archives": work.archives}
    for option, uris in lists.items():
        if uris:
            arguments += [option, ",".join(uris)]
    return [*arguments, work.main_application_file, *work.arguments]


def _properties(job: DurableJob, work: SparkWork, spec: JobBackendSpec, place: Place) -> dict[str, str]:
    ours = {
        "spark.driver.cores": str(work.driver.cores),
        "spark.driver.memory": in_mebibytes(work.driver.memory),
        "spark.driver.supervise": "false",
        "spark.durablejob.tokenURL": place.claim_url,
        "spark.durablejob.mainClass": SPARK_SUBMIT,
    }
    if path := local_path(work.main_application_file):
        ours["spark.durablejob.mainFile"] = path
    base = {**spec.defaults.spark_conf, **work.conf}
    base.setdefault("spark.app.name", job.metadata.name or "durablejob")
    if EXECUTOR_MEMORY in base:
        base[EXECUTOR_MEMORY] = in_mebibytes(base[EXECUTOR_MEMORY])
    return {**base, **_executors(work, base), **ours}


def _executors(work: SparkWork, conf: Mapping[str, str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    if work.executor.memory is not None:
        settings[EXECUTOR_MEMORY] = in_mebibytes(work.executor.memory)
    if work.executor.cores is not None:
        settings["spark.executor.cores"] = str(work.executor.cores)
    if work.executor.instances is not None:
        each = settings.get("spark.executor.cores") or conf.get("spark.executor.cores", "1")
        settings["spark.executor.cores"] = each
        settings["spark.executor.instances"] = str(work.executor.instances)
        settings["spark.cores.max"] = str(work.executor.instances * int(each))
    return settings


def _environment(work: SparkWork, place: Place) -> dict[str, str]:
    values: dict[str, str] = {}
    for position, variable in enumerate(work.env):
        if variable.value_from is None:
            values[variable.name] = variable.value or ""
            continue
        ref = variable.value_from.secret_key_ref
        if place.secrets is None:
            values[variable.name] = f"secret {ref.name}/{ref.key}"
        elif (ref.name, ref.key) in place.secrets:
            values[variable.name] = place.secrets[ref.name, ref.key]
        else:
            where = f"spark.env[{position}].valueFrom"
            raise InvalidWork("SecretMissing", where, f"Secret {ref.name} has no key {ref.key}")
    return values
