"""From KubernetesJobOperator's arguments to a JobSpec, as JSON. Pure; the same arguments give the same spec.

That is why nothing is taken from the provider here: it names objects at random, and labels them with the try, so that
a retry could not tell whether its work is what runs already.

Three layers, the later ones win: the Job's template (``job_template_file``, then ``full_job_spec``), the pod's
(``pod_template_file`` or ``pod_template_dict``, then ``full_pod_spec``), and the single arguments. Lists of variables,
ports, volumes, mounts and init containers are added to those of the layer below, containers are matched by position,
and anything else is replaced: as the provider does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from durablejob_airflow.payload import WrongArguments, as_text

Json = dict[str, Any]

CONTAINER: Mapping[str, str] = {
    "base_container_name": "name",
    "image": "image",
    "cmds": "command",
    "arguments": "args",
    "ports": "ports",
    "image_pull_policy": "imagePullPolicy",
    "container_resources": "resources",
    "volume_mounts": "volumeMounts",
    "container_security_context": "securityContext",
    "termination_message_policy": "terminationMessagePolicy",
}
"""Argument -> field of the program's container."""
POD: Mapping[str, str] = {
    "affinity": "affinity",
    "automount_service_account_token": "automountServiceAccountToken",
    "dns_config": "dnsConfig",
    "dnspolicy": "dnsPolicy",
    "host_aliases": "hostAliases",
    "hostname": "hostname",
    "hostnetwork": "hostNetwork",
    "init_containers": "initContainers",
    "node_selector": "nodeSelector",
    "priority_class_name": "priorityClassName",
    "runtime_class_name": "runtimeClassName",
    "schedulername": "schedulerName",
    "security_context": "securityContext",
    "service_account_name": "serviceAccountName",
    "subdomain": "subdomain",
    "termination_grace_period": "terminationGracePeriodSeconds",
    "tolerations": "tolerations",
    "volumes": "volumes",
}
"""Argument -> field of the pod's spec."""
JOB: Mapping[str, str] = {
    "completion_mode": "completionMode",
    "completions": "completions",
    "parallelism": "parallelism",
}
"""Argument -> field of the Job's spec."""
ARGUMENTS = (
    *CONTAINER, *POD, *JOB,
    "annotations", "configmaps", "env_from", "env_vars", "full_job_spec", "full_pod_spec", "image_pull_secrets",
    "job_template_file", "labels", "pod_runtime_info_envs", "pod_template_dict", "pod_template_file", "secrets",
)  # fmt: skip
"""All arguments that ``job_spec`` reads."""
_ADDED = ("env", "envFrom", "ports", "volumeMounts", "volumeDevices", "initContainers", "volumes")
_MERGED = ("metadata", "labels", "annotations", "spec", "template")
_BASE = "base"
"""The container's name where nobody gives one, as the provider has it."""


def as_json(value: Any) -> Any:
    """A value of the Kubernetes client's classes as the API spells it; JSON stays as it is."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if not hasattr(value, "openapi_types"):
        return value
    from kubernetes.client import ApiClient  # loaded by whoever made the object

    return ApiClient().sanitize_for_serialization(value)


def job_spec(given: Mapping[str, Any]) -> Json:
    """The JobSpec that these arguments mean; what is None or empty is not set.

    :raises WrongArguments: a template cannot be read, or says what cannot be kept
    """
    job = _merge(_template("job_template_file", given), as_json(given.get("full_job_spec")) or {})
    pod = _template("pod_template_file", given) or as_json(given.get("pod_template_dict")) or {}
    pod = _merge(pod, as_json(given.get("full_pod_spec")) or {})
    _check_metadata(job.get("metadata") or {})
    spec: Json = _merge(job.get("spec") or {}, _set(JOB, given))
    template = _merge(spec.get("template") or {}, {key: pod[key] for key in ("metadata", "spec") if pod.get(key)})
    template = _merge(template, _pod(given))
    container = template["spec"]["containers"][0]
    container.setdefault("name", _BASE)
    metadata = {key: template.get("metadata", {}).get(key) for key in ("labels", "annotations")}
    template["metadata"] = {key: value for key, value in metadata.items() if value}
    return {**spec, "template": template}


def namespace_of(given: Mapping[str, Any]) -> str | None:
    """The namespace that a template names."""
    parts = (
        as_json(given.get("full_job_spec")),
        _template("job_template_file", given),
        as_json(given.get("full_pod_spec")),
        as_json(given.get("pod_template_dict")),
        _template("pod_template_file", given),
    )
    found = (((part or {}).get("metadata") or {}).get("namespace") for part in parts)
    return next((namespace for namespace in found if namespace), None)


def _set(fields: Mapping[str, str], given: Mapping[str, Any]) -> Json:
    found = {field: as_json(given.get(name)) for name, field in fields.items()}
    return {field: value for field, value in found.items() if value is not None and value not in ("", [], {})}


def _pod(given: Mapping[str, Any]) -> Json:
    """The pod that the single arguments describe."""
    container = _set(CONTAINER, given)
    spec = _set(POD, given)
    secrets = [_secret(number, secret) for number, secret in enumerate(given.get("secrets") or ())]
    added = {
        "env": _env(given.get("env_vars")) + list(as_json(given.get("pod_runtime_info_envs")) or ()),
        "envFrom": list(as_json(given.get("env_from")) or ())
        + [{"configMapRef": {"name": name}} for name in given.get("configmaps") or ()],
    }
    for part in [added, *(secret["container"] for secret in secrets)]:
        container = _merge(container, {key: value for key, value in part.items() if value})
    for secret in secrets:
        spec = _merge(spec, secret["pod"])
    if pull := _pull_secrets(given.get("image_pull_secrets")):
        spec["imagePullSecrets"] = pull
    labels = {key: as_text(value) if value is not None else "" for key, value in (given.get("labels") or {}).items()}
    annotations = as_json(given.get("annotations")) or {}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": {**spec, "containers": [container]}}


def _env(given: object) -> list[Json]:
    if isinstance(given, Mapping):
        texts = {str(name): None if value is None else as_text(value) for name, value in given.items()}
        return [{"name": name} if text is None else {"name": name, "value": text} for name, text in texts.items()]
    return list(as_json(given) or ())


def _pull_secrets(given: object) -> list[Json]:
    if isinstance(given, str):
        return [{"name": name.strip()} for name in given.split(",") if name.strip()]
    return list(as_json(given) or ())


def _secret(number: int, secret: Any) -> dict[str, Json]:
    """One of the provider's Secrets: a variable, all its keys as variables, or a volume."""
    name = {"name": secret.secret}
    if secret.deploy_type == "volume":
        volume = f"secret-{number}"
        source = {"secretName": secret.secret} | ({"items": as_json(secret.items)} if secret.items else {})
        mount = {"name": volume, "mountPath": secret.deploy_target, "readOnly": True}
        return {"container": {"volumeMounts": [mount]}, "pod": {"volumes": [{"name": volume, "secret": source}]}}
    if secret.key is None:
        return {"container": {"envFrom": [{"secretRef": name}]}, "pod": {}}
    source = {"secretKeyRef": name | {"key": secret.key}}
    return {"container": {"env": [{"name": secret.deploy_target, "valueFrom": source}]}, "pod": {}}


def _template(argument: str, given: Mapping[str, Any]) -> Json:
    """The object in a file on the worker."""
    path = given.get(argument)
    if not path:
        return {}
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise WrongArguments(f"{argument}: {error}") from error
    if not isinstance(found, dict):
        raise WrongArguments(f"{argument}: {path} holds no object")
    return found


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """A Job's labels and annotations have no place in a DurableJob."""
    if metadata.get("labels") or metadata.get("annotations"):
        raise WrongArguments(
            "full_job_spec and job_template_file: the Job's own labels and annotations are durablejob's. Give 'labels' "
            "(of the DurableJob and its pods; Kueue's are passed on to the Job) and 'annotations' (of its pods)"
        )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """``over`` over ``base``; see the head of this module."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if not old:
            merged[key] = value
        elif key == "containers":
            pairs = [_merge(one, other) for one, other in zip(old, value, strict=False)]
            merged[key] = pairs + list(old[len(pairs) :]) + list(value[len(pairs) :])
        elif key in _ADDED:
            merged[key] = [*old, *value]
        elif key in _MERGED:
            merged[key] = _merge(old, value or {})
        elif value is not None:
            merged[key] = value
    return merged
