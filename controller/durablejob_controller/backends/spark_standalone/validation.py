"""Which work may run here; pure.

A job's author is an attacker. What is refused by name either cannot work on a standalone cluster or
reaches around the start gate: it would run something in the driver's JVM before the claim is won, run
another JVM, or answer in the gate's place. JVM options are therefore allowed by shape, not forbidden
by name. An administrator may set most of it in the backend's ``defaults.sparkConf``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.spark_rules import (
    STRUCTURE,
    check_conf,
    check_heaps,
    check_sizes,
    check_uri,
    check_variable,
    spark_work,
    uris,
)
from durablejob_controller.errors import InvalidBackend, InvalidWork

_OURS = "durablejob decides it: the claim allows one driver, which the start gate lets pass"
_TYPED_EXECUTOR = {
    "spark.executor.memory": "memory",
    "spark.executor.cores": "cores",
    "spark.executor.instances": "instances",
    "spark.cores.max": "instances",
}
_PLACEHOLDER = re.compile(r"\{\{.*\}\}", re.DOTALL)


def validate(job: DurableJob, spec: JobBackendSpec) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    work = spark_work(job)
    _check_files(work, spec.artifact_schemes)
    for name, value in work.conf.items():
        _check_conf(name, value)
    check_heaps(work)
    check_sizes(work.conf)
    _check_executors(work, spec)
    _check_values(work)


def validate_defaults(spec: JobBackendSpec) -> None:
    """Raise ``InvalidBackend`` for defaults that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        if why := STRUCTURE.get(name):
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")
        if name.startswith("spark.durablejob.") and name != "spark.durablejob.patienceSeconds":
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: {_OURS}")
    try:
        check_sizes(spec.defaults.spark_conf)
    except InvalidWork as error:
        raise InvalidBackend(f"spec.defaults.sparkConf: {error}") from error


def _check_files(work: SparkWork, schemes: Sequence[str]) -> None:
    for field, uri in uris(work):
        check_uri(field, uri, schemes)
    main = work.main_application_file
    if not main.endswith((".jar", ".py")):
        raise InvalidWork(
            "NotSupported", "spark.mainApplicationFile", "must end in .jar or .py, without query or fragment"
        )


def _check_conf(name: str, value: str) -> None:
    check_conf(name, value, None)
    _check_placeholder(f"spark.conf[{name}]", value)


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
        check_variable(field, variable.name)
        _check_placeholder(field, variable.value or "")


def _check_placeholder(field: str, value: str) -> None:
    # StandaloneSubmitRequestServlet.replacePlaceHolder: {{NAME}} becomes the Master's own environment variable.
    if _PLACEHOLDER.fullmatch(value):
        raise InvalidWork("NotSupported", field, "a value {{…}} would be replaced from the Master's own environment")
