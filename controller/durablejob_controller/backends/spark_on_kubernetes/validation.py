"""Which work may run here; pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from durablejob_api import GROUP
from durablejob_api.backend import JobBackendSpec
from durablejob_api.base import DNS_SUBDOMAIN
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.spark_on_kubernetes.conf import Wishes, complete, typed, why_refused
from durablejob_controller.backends.spark_on_kubernetes.manifest import FOLDER, OURS
from durablejob_controller.backends.spark_rules import check_heaps, check_sizes, check_uri, spark_work, uris
from durablejob_controller.errors import InvalidBackend, InvalidWork

_NAME = re.compile(r"spark\.[\w.\-/]+")
_SECRET = re.compile(DNS_SUBDOMAIN)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPARKS = re.compile(r"SPARK_(?!USER$).*|JAVA_HOME")
"""What Spark's entrypoint reads."""


def validate(job: DurableJob, spec: JobBackendSpec) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    work = spark_work(job)
    wishes = Wishes(complete(work, spec))
    if wishes.image is None:
        raise InvalidWork("InvalidSpec", "spark.kubernetes.image", "missing, and the backend names no default")
    for field, uri in uris(work):
        check_uri(field, uri, spec.artifact_schemes)
    for name in work.conf:
        if why := _wrong(name, work.conf):
            raise InvalidWork("ForbiddenConf", f"spark.conf[{name}]", f"may not be set: {why}")
    for name in sorted(typed(work).keys() & work.conf.keys()):
        raise InvalidWork("ConflictingSettings", f"spark.conf[{name}]", "is set by a field of spec.spark too")
    if both := _twice(wishes):
        words = "is set by spark.kubernetes.driverEnv and by spark.kubernetes.driver.secretKeyRef"
        raise InvalidWork("ConflictingSettings", "spark.conf", f"{both} {words} (in the backend's defaults, perhaps)")
    _check_typed(work)
    _check_environment(work)
    _check_volumes(work)
    for secret, folder in wishes.secrets.items():
        if _is_ours(folder):
            field = f"spark.conf[spark.kubernetes.driver.secrets.{secret}]"
            raise InvalidWork("InvalidSpec", field, f"{FOLDER} is taken: mount it elsewhere")
    check_heaps(work)
    check_sizes(work.conf)
    try:
        wishes.memory(work.driver.memory, python=work.is_python)
    except ValueError as error:
        raise InvalidWork("InvalidSpec", "spark.driver.memory", str(error)) from None


def validate_defaults(spec: JobBackendSpec) -> None:
    """Raise ``InvalidBackend`` for defaults that cannot work on any job."""
    for name in spec.defaults.spark_conf:
        if why := _wrong(name, spec.defaults.spark_conf):
            raise InvalidBackend(f"spec.defaults.sparkConf[{name}]: not possible here: {why}")
    try:
        check_sizes(spec.defaults.spark_conf)
    except InvalidWork as error:
        raise InvalidBackend(f"spec.defaults.sparkConf: {error}") from error
    if both := _twice(Wishes(spec.defaults.spark_conf)):
        raise InvalidBackend(f"spec.defaults.sparkConf: {both} is set as a value and from a Secret")


def _twice(wishes: Wishes) -> str | None:
    """A variable that is set as a value and from a Secret."""
    return min(wishes.env.keys() & wishes.secret_env.keys(), default=None)


def _wrong(name: str, conf: Mapping[str, str]) -> str | None:
    if not _NAME.fullmatch(name):
        return "is not a name of a setting of Spark"
    if why := why_refused(name):
        return why
    one = Wishes({name: conf[name]})
    if any(key.startswith(f"{GROUP}/") for key in one.labels):
        return f"labels of {GROUP} are durablejob's own"
    for variable in [*one.env, *one.secret_env]:
        if not _VARIABLE.fullmatch(variable) or _SPARKS.fullmatch(variable):
            return f"{variable} is no variable of yours"
    if any(not secret or not key for secret, key in one.secret_env.values()):
        return "must be the name of a Secret and a key in it, with a colon between"
    for secret in one.all_secrets:
        if not _SECRET.fullmatch(secret):
            return f"{secret[:80]!r} is no name of a Secret"
    try:
        one.memory("1g", python=False)
    except ValueError as error:
        return str(error)
    return None


def _check_typed(work: SparkWork) -> None:
    """Names that the typed settings bring, which are conf's keys from here on."""
    own = work.kubernetes
    if own is None:
        return
    for name in own.driver.labels:
        if name.startswith(f"{GROUP}/"):
            words = f"labels of {GROUP} are durablejob's own"
            raise InvalidWork("InvalidSpec", f"spark.kubernetes.driver.labels[{name}]", words)
    for name in own.executor.secret_env:
        if not _VARIABLE.fullmatch(name) or _SPARKS.fullmatch(name):
            field = f"spark.kubernetes.executor.secretEnv[{name}]"
            raise InvalidWork("ForbiddenEnvironment", field, f"{name} is no variable of yours")


def _check_environment(work: SparkWork) -> None:
    wishes = Wishes(work.conf)
    for position, variable in enumerate(work.env):
        if _SPARKS.fullmatch(variable.name):
            raise InvalidWork("ForbiddenEnvironment", f"spark.env[{position}]", f"{variable.name} is Spark's own")
        if variable.name in wishes.env or variable.name in wishes.secret_env:
            words = f"{variable.name} is set in spark.conf too"
            raise InvalidWork("ConflictingSettings", f"spark.env[{position}]", words)


def _check_volumes(work: SparkWork) -> None:
    volumes = work.kubernetes.volumes if work.kubernetes is not None else ()
    for position, volume in enumerate(volumes):
        field = f"spark.kubernetes.volumes[{position}]"
        if volume.name == OURS or volume.name in {other.name for other in volumes[:position]}:
            raise InvalidWork("InvalidSpec", f"{field}.name", f"{volume.name} is taken: give it another name")
        if _is_ours(volume.mount_path):
            raise InvalidWork("InvalidSpec", f"{field}.mountPath", f"{FOLDER} is taken: mount it elsewhere")


def _is_ours(folder: str) -> bool:
    """However its path is written; two slashes at the beginning are one."""
    return posixpath.normpath("/" + folder.lstrip("/")) == FOLDER
