"""Which work may run here; pure."""

from __future__ import annotations

import re

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.spark_on_kubernetes import conf as settings
from durablejob_controller.backends.spark_on_kubernetes.manifest import conf_of, image_of, spark_work
from durablejob_controller.errors import InvalidBackend, InvalidWork

_NAME = re.compile(r"spark\.[\w.\-/]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ENVIRONMENT = re.compile(r"SPARK_(?!USER$).*|JAVA_HOME")
"""What Spark's entrypoint reads."""


def validate(job: DurableJob, spec: JobBackendSpec) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    work = spark_work(job)
    if image_of(work, spec) is None:
        raise InvalidWork("InvalidSpec", "spark.kubernetes.image", "missing, and the backend names no default")
    _check_files(work, spec)
    for name in work.conf:
        if why := _wrong(name):
            raise InvalidWork("ForbiddenConf", f"spark.conf[{name}]", f"may not be set: {why}")
    _check_executors(work)
    for position, variable in enumerate(work.env):
        if _ENVIRONMENT.fullmatch(variable.name):
            raise InvalidWork("ForbiddenEnvironment", f"spark.env[{position}]", f"{variable.name} is Spark's own")
    try:
        settings.driver_memory(work.driver.memory, conf_of(work, spec), python=work.is_python)
    except ValueError as error:
        raise InvalidWork("InvalidSpec", "spark.driver.memory", str(error)) from None


def validate_defaults(spec: JobBackendSpec) -> None:
    """Raise ``InvalidBackend`` for defaults that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        if why := _wrong(name):
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")


def _wrong(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return "is not a name of a setting of Spark"
    return settings.why_refused(name)


def _check_files(work: SparkWork, spec: JobBackendSpec) -> None:
    fields = {
        "spark.mainApplicationFile": (work.main_application_file,),
        "spark.jars": work.jars,
        "spark.pyFiles": work.py_files,
        "spark.files": work.files,
        "spark.archives": work.archives,
    }
    allowed = ", ".join(spec.artifact_schemes) or "none"
    for field, uris in fields.items():
        for uri in uris:
            scheme = _SCHEME.match(uri)
            if scheme is None or scheme[1] not in spec.artifact_schemes:
                words = f"{uri[:80]} must begin with a scheme that this backend allows: {allowed}"
                raise InvalidWork("SchemeNotAllowed", field, words)
            if "," in uri or any(c.isspace() or not c.isprintable() for c in uri):
                raise InvalidWork("NotSupported", field, "commas and spaces cannot be passed to Spark in a URI")


def _check_executors(work: SparkWork) -> None:
    for part in ("memory", "cores", "instances"):
        name = f"spark.executor.{part}"
        if name in work.conf and getattr(work.executor, part) is not None:
            raise InvalidWork("ConflictingSettings", f"spark.conf[{name}]", f"spark.executor.{part} is set too")
    if work.kubernetes is not None and work.kubernetes.executor.priority_class_name is not None:
        field = "spark.kubernetes.executor.priorityClassName"
        raise InvalidWork("NotSupported", field, "Spark has no setting for it but a pod template")
