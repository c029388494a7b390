"""From operator arguments to a DurableJob's spec, and what changed between two of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pydantic import ValidationError

from durablejob_api import API_VERSION, FINALIZER
from durablejob_api.backend import JobBackendSpec
from durablejob_api.base import kubernetes_case
from durablejob_api.spec import WORK_FIELDS, BackendKind, BackendType, DurableJobSpec

OPERATORS_OWN = ("attempt", "acceptLost", "holder", "cancel", "suspend")
"""Fields of the spec that the operator writes by itself."""
_WORK_NAMES = tuple(kubernetes_case(name) for name in WORK_FIELDS)
_LINEAGE = re.compile(r"spark\.openlineage\.(parent|rootParent)(Run|Job)")
"""Names the try that submitted: another one for each, and no part of the work."""
_SENSITIVE = re.compile(r"(?i)secret|passw|token|credential|access[._-]?key|private")


class WrongArguments(ValueError):
    """What the author gave cannot be submitted; the message names the field and what would be right."""


@dataclass(frozen=True)
class BackendChoice:
    """A backend as an operator's argument names it; what is empty is looked up."""

    name: str
    kind: str = ""
    type: str = ""


def backend_choice(value: str | Mapping[str, Any] | None) -> BackendChoice:
    """``[Kind/]name[:Type]``, or a mapping with name, kind and type.

    :raises WrongArguments: no name, or a kind or type that does not exist
    """
    if not value:
        raise WrongArguments("backend: name a JobBackend or ClusterJobBackend, in the operator or in the connection")
    if isinstance(value, str):
        rest, _, kind_of_system = value.partition(":")
        kind, _, name = rest.rpartition("/")
        choice = BackendChoice(name=name, kind=kind, type=kind_of_system)
    else:
        extra = sorted(set(value) - {"name", "kind", "type"})
        if extra:
            raise WrongArguments(f"backend: unknown {', '.join(extra)}; it has name, kind and type")
        choice = BackendChoice(*(str(value.get(key) or "") for key in ("name", "kind", "type")))
    for field, given, allowed in (("kind", choice.kind, BackendKind), ("type", choice.type, BackendType)):
        if given and given not in list(allowed):
            raise WrongArguments(f"backend: {field} {given!r} does not exist; it is one of {', '.join(allowed)}")
    if not choice.name:
        raise WrongArguments(f"backend: {value!r} has no name; write [Kind/]name[:Type]")
    return choice


def type_of_backend(raw: Mapping[str, Any]) -> str:
    """The type of a backend, as read from the API server."""
    spec = raw.get("spec") or {}
    for name, kind in JobBackendSpec.TYPES.items():
        if spec.get(kubernetes_case(name)) is not None:
            return kind.value
    raise WrongArguments("backend: its spec names no system")


def as_text(value: object) -> str:
    """A value as Spark reads it: ``true`` for True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_list(value: str | Iterable[str] | None) -> list[str]:
    """Comma-separated text, or a list, as a list without empty parts."""
    parts = value.split(",") if isinstance(value, str) else list(value or ())
    return [text for part in parts if (text := str(part).strip())]


def spark_work(
    *,
    application: str,
    java_class: str | None = None,
    application_args: Iterable[object] | None = None,
    conf: Mapping[str, object] | None = None,
    name: str | None = None,
    jars: str | Iterable[str] | None = None,
    py_files: str | Iterable[str] | None = None,
    files: str | Iterable[str] | None = None,
    archives: str | Iterable[str] | None = None,
    env_vars: Mapping[str, object] | None = None,
    num_executors: int | None = None,
    executor_cores: int | None = None,
    executor_memory: str | None = None,
    total_executor_cores: int | None = None,
    driver_cores: int | None = None,
    driver_memory: str | None = None,
    yarn_queue: str | None = None,
) -> dict[str, Any]:
    """SparkSubmitOperator's arguments as ``spec.spark``."""
    settings = {str(key): as_text(value) for key, value in (conf or {}).items()}
    if name:
        settings["spark.app.name"] = name
    if total_executor_cores is not None:
        settings["spark.cores.max"] = str(total_executor_cores)
    work: dict[str, Any] = {
        "mainApplicationFile": application,
        "mainClass": java_class,
        "arguments": [as_text(argument) for argument in application_args or ()],
        "conf": settings,
        "driver": _set(cores=driver_cores, memory=driver_memory),
        "executor": _set(instances=num_executors, cores=executor_cores, memory=executor_memory),
        "jars": as_list(jars),
        "pyFiles": as_list(py_files),
        "files": as_list(files),
        "archives": as_list(archives),
        "env": [{"name": key, "value": as_text(value)} for key, value in (env_vars or {}).items()],
        "yarn": {"queue": yarn_queue} if yarn_queue else None,
    }
    return _set(**work)


def _set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def spec_mapping(spec: Mapping[str, Any] | DurableJobSpec) -> dict[str, Any]:
    """What an author gave as ``spec``, as the API spells it, without what the operator writes.

    :raises WrongArguments: it holds a field that is the operator's
    """
    if isinstance(spec, DurableJobSpec):
        raw = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        return {key: value for key, value in raw.items() if key not in (*OPERATORS_OWN, "backendRef")}
    raw = {kubernetes_case(str(key)): value for key, value in spec.items()}
    own = [key for key in raw if key in OPERATORS_OWN]
    if own:
        raise WrongArguments(f"spec: leave out {', '.join(own)}: the operator writes it")
    if "backendRef" in raw:
        raise WrongArguments("spec: leave out backendRef: name the backend in the operator's argument 'backend'")
    return raw


def check_shape(spec: Mapping[str, Any] | DurableJobSpec) -> None:
    """What can be said of a spec before its templates are rendered.

    :raises WrongArguments: a field is the operator's, or not exactly one kind of work is given
    """
    work = [key for key in spec_mapping(spec) if key in _WORK_NAMES]
    if len(work) != 1:
        raise WrongArguments(f"spec: give exactly one of {', '.join(_WORK_NAMES)}; found {', '.join(work) or 'none'}")


def build_spec(spec: Mapping[str, Any] | DurableJobSpec, backend_ref: Mapping[str, str], **settings: Any) -> Any:
    """The whole spec, checked by the API's own models.

    :param settings: further fields of the spec; those that are None are left to ``spec``
    :raises WrongArguments: with each field that is wrong, and what would be right
    """
    raw = spec_mapping(spec) | {"backendRef": dict(backend_ref)} | _set(**settings)
    try:
        return DurableJobSpec.model_validate(raw)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']) or 'spec'}: {e['msg']}" for e in error.errors()]
        raise WrongArguments("the job's spec is wrong: " + "; ".join(lines)) from error


def manifest(
    name: str,
    namespace: str,
    spec: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """The resource to create; the finalizer is there from the first moment (protocol rule 2)."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DurableJob",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "annotations": dict(annotations),
            "finalizers": [FINALIZER],
        },
        "spec": dict(spec),
    }


def work_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Only the work of a spec, with the API's defaults filled in: what two specs are compared by."""
    work = {key: spec[key] for key in _WORK_NAMES if spec.get(key) is not None}
    backend = {"backendRef": {"name": "x", "type": "Plugin"}}
    try:
        whole = DurableJobSpec.model_validate(work | backend).to_api()
    except ValidationError:  # written by a newer version: compare it as it is
        return work
    if "spark" in whole:
        conf = whole["spark"]["conf"]
        whole["spark"]["conf"] = {key: value for key, value in conf.items() if not _LINEAGE.match(key)}
    return {key: whole[key] for key in _WORK_NAMES if key in whole}


def _flat(value: object, path: str) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            yield from _flat({k: v for k, v in item.items() if k != "name"}, f"{path}[{item['name']}]")
    else:
        yield path, value


def _is_sensitive(path: str, value: object) -> bool:
    return bool(_SENSITIVE.search(path) or _SENSITIVE.search(str(value)))


def _shown(path: str, value: object) -> str:
    if value is None:
        return "unset"
    text = "***" if _is_sensitive(path, value) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _by_item(path: str, then: object, now: object) -> list[tuple[str, object, object]]:
    """A list's items one by one, so that what differs is not lost in what does not; ``--password`` hides them all."""
    if not isinstance(then, list) or not isinstance(now, list) or _is_sensitive(path, [*then, *now]):
        return [(path, then, now)]
    return [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip_longest(then, now))]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the work of two specs, one line per field; values that look secret are hidden."""
    old, new = dict(_flat(work_of(then), "")), dict(_flat(work_of(now), ""))
    paths = [*old, *(path for path in new if path not in old)]
    return [
        f"{part}: was {_shown(part, was)}, would be {_shown(part, would_be)}"
        for path in paths
        for part, was, would_be in _by_item(path, old.get(path), new.get(path))
        if was != would_be
    ]
