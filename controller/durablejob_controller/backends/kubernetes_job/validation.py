"""Which work may run here; pure.

What is refused by name would let the Job controller, the kubelet or somebody else start the program a second
time, or take the Job out of the Job controller's hands. Everything else of a JobSpec is the API server's to
judge, with its own words (``KubernetesObjects.reserve``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from durablejob_api.job import DurableJob
from durablejob_controller.backends.kubernetes_job.manifest import FORCED, RESTART_POLICY
from durablejob_controller.errors import InvalidWork

_OURS = "leave it out: durablejob decides it, so that the program starts once"
_REFUSED = {
    "suspend": "leave it out, and use spec.suspend of the DurableJob: it holds for the time before the start",
    "managedBy": "leave it out: only Kubernetes' own Job controller keeps what is promised here",
    "manualSelector": "leave it out: a selector of its own could count the pods of other Jobs",
    "selector": "leave it out: a selector of its own could count the pods of other Jobs",
    "backoffLimitPerIndex": "leave it out: it starts the program of a failed index again",
    "maxFailedIndexes": "leave it out: it needs backoffLimitPerIndex, which starts programs again",
}
_INDEXED = "Indexed"


def validate(job: DurableJob) -> None:
    """Raise ``InvalidWork`` when this work can never run here."""
    if job.spec.kubernetes_job is None:
        given = "spark" if job.spec.spark is not None else "kubernetesJob"
        raise InvalidWork("WrongWork", given, "a backend of type Kubernetes runs spec.kubernetesJob only")
    spec = job.spec.kubernetes_job.template
    for name, why in _REFUSED.items():
        if spec.get(name) is not None:
            raise _invalid(name, why)
    for name, value in FORCED.items():
        if name in spec and not _same(spec[name], value):
            raise _invalid(name, f"must be {value}, not {spec[name]!r}; {_OURS}")
    _check_failure_policy(spec)
    _check_count(spec)
    _check_pod(_part(spec, "template", "template"))


def _check_failure_policy(spec: Mapping[str, Any]) -> None:
    policy = spec.get("podFailurePolicy")
    rules = policy.get("rules") if isinstance(policy, Mapping) else None
    for position, rule in enumerate(rules if isinstance(rules, list) else ()):
        action = rule.get("action") if isinstance(rule, Mapping) else None
        if action in ("Ignore", "FailIndex"):
            where = f"podFailurePolicy.rules[{position}].action"
            raise _invalid(where, f"must be FailJob or Count, not {action}: the program would be started again")


def _check_count(spec: Mapping[str, Any]) -> None:
    """Indexed: once for each index. Else there is one program, hence one pod."""
    indexed = spec.get("completionMode") == _INDEXED
    for name in ("completions", "parallelism"):
        value = spec.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _invalid(name, f"must be a number from 1, not {value!r}")
        if value > 1 and not indexed:
            raise _invalid(name, f"must be 1, not {value}: only with completionMode: Indexed has each start its index")


def _check_pod(template: Mapping[str, Any]) -> None:
    pod = _part(template, "spec", "template.spec")
    if pod.get("restartPolicy", RESTART_POLICY) != RESTART_POLICY:
        raise _invalid("template.spec.restartPolicy", f"must be Never, not {pod['restartPolicy']!r}; {_OURS}")
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers:
        raise _invalid("template.spec.containers", "give at least one container")
    for where, container in _containers(pod):
        if container.get("restartPolicyRules"):
            raise _invalid(f"{where}.restartPolicyRules", _OURS)
        # An init container that is restarted always is a sidecar: it is not the program.
        sidecar = where.startswith("template.spec.initContainers") and container.get("restartPolicy") == "Always"
        if container.get("restartPolicy", RESTART_POLICY) != RESTART_POLICY and not sidecar:
            raise _invalid(f"{where}.restartPolicy", f"must be Never; {_OURS}")
    metadata = template.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise _invalid("template.metadata", "must be an object")
    if metadata and not isinstance(metadata.get("labels") or {}, Mapping):
        raise _invalid("template.metadata.labels", "must be an object")


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("containers", "initContainers"):
        found = pod.get(kind)
        for position, container in enumerate(found if isinstance(found, list) else ()):
            if isinstance(container, Mapping):
                yield f"template.spec.{kind}[{position}]", container


def _part(of: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    part = of.get(name)
    if not isinstance(part, Mapping):
        raise _invalid(where, "missing" if part is None else "must be an object")
    return part


def _same(given: object, value: object) -> bool:
    return given == value and isinstance(given, bool) == isinstance(value, bool)


def _invalid(field: str, message: str) -> InvalidWork:
    return InvalidWork("InvalidSpec", f"kubernetesJob.template.{field}", message)
