"""What is sent to the API server for a driver: the inert Pod, and the patch that activates it; pure.

The driver needs no second object. What Spark reads from a file only, the template of its executors' Pods, is an
annotation of the driver's Pod, which the kubelet shows it as a file (a downwardAPI volume).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from durablejob_api import GROUP
from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_api.work import PodVolume, SparkKubernetesSettings
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.kubernetes_objects.objects import HASH, Object, is_owned, name_of
from durablejob_controller.backends.spark_on_kubernetes.conf import EXECUTOR_ACCOUNT, Wishes, complete, for_spark
from durablejob_controller.backends.spark_on_kubernetes.names import PORT, ROLE, SELECTOR, TEMPLATE
from durablejob_controller.backends.spark_rules import in_mebibytes, spark_work

GATE = f"{GROUP}/start"
"""Scheduling gate: as long as it is there, no node takes the Pod."""
CONTAINER = "spark-kubernetes-driver"
ADDRESS = "SPARK_DRIVER_BIND_ADDRESS"
"""Variable from which Spark's entrypoint takes the driver's own address."""
MASTER = "k8s://https://kubernetes.default.svc"
OURS = "durablejob"
"""Name of the volume that shows the executors' template."""
FOLDER = f"/etc/{OURS}"
_SOURCES = {
    "persistent_volume_claim": ("persistentVolumeClaim", "claimName"),
    "secret": ("secret", "secretName"),
    "config_map": ("configMap", "name"),
    "empty_dir": ("emptyDir", "sizeLimit"),
}
"""By the field of a volume: how Kubernetes calls the source, and its one field."""


def body(job: DurableJob, key: str, spec: JobBackendSpec) -> Object:
    """The inert Pod with its hash, for a job that ``validation`` lets pass. The same whoever builds it, whenever."""
    manifest = _manifest(job, key, spec)
    manifest["metadata"]["annotations"][HASH] = objects.hashed(manifest)
    return manifest


def body_hash(job: DurableJob, key: str, spec: JobBackendSpec) -> str:
    """Hash of all that is ever sent for this attempt."""
    return objects.hashed(_manifest(job, key, spec))


def activation(job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
    """JSON patch that takes our gate from ``found``, if it is inert and of this uid and form; those of others stay."""
    gate = [gate.get("name") for gate in found["spec"]["schedulingGates"]].index(GATE)
    return [*objects.activation(job, found, uid, hash_), {"op": "remove", "path": f"/spec/schedulingGates/{gate}"}]


def is_inert(found: Object) -> bool:
    """Not activated: gated, still its owner's, and not held by us."""
    gates = found["spec"].get("schedulingGates") or ()
    return is_owned(found) and any(gate.get("name") == GATE for gate in gates)


def executors_of(found: Object) -> str:
    """Label selector of the executors of this driver."""
    return f"{SELECTOR}={found['metadata']['name']},{ROLE}=executor"


def _manifest(job: DurableJob, key: str, spec: JobBackendSpec) -> Object:
    work = spark_work(job)
    own = work.kubernetes or SparkKubernetesSettings()
    name = name_of(key)
    conf = complete(work, spec)
    wishes = Wishes(conf)
    metadata = objects.metadata(job, key)
    metadata["labels"] = {**wishes.labels, **metadata["labels"], ROLE: "driver", SELECTOR: name}
    template = json.dumps(_executor(own, conf.get(EXECUTOR_ACCOUNT)), sort_keys=True)
    metadata["annotations"] = {**wishes.annotations, **metadata["annotations"], TEMPLATE: template}
    pod: Object = {
        "restartPolicy": "Never",
        "schedulingGates": [{"name": GATE}],
        "enableServiceLinks": False,
        **_shared(own),
        "containers": [_container(job, name, work, own, conf)],
    }
    pod["volumes"] = [*map(_source, own.volumes), *_secrets(wishes), _shown()]
    given: dict[str, Any] = {
        "serviceAccountName": wishes.account,
        "schedulerName": wishes.scheduler,
        "priorityClassName": own.driver.priority_class_name,
        "nodeSelector": wishes.node_selector,
        "imagePullSecrets": [{"name": secret} for secret in wishes.pull_secrets],
    }
    pod |= {field: value for field, value in given.items() if value}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


# --- what driver and executors share ------------------------------------------------------------------------


def _shared(own: SparkKubernetesSettings) -> Object:
    """As whom they run, and where. With a user that is not root it fits the Pod Security Standard "restricted"."""
    user = own.security_context.to_api()
    if own.security_context.run_as_user:
        user["runAsNonRoot"] = True
    shared: Object = {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, **user}}
    if own.tolerations:
        shared["tolerations"] = [toleration.to_api() for toleration in own.tolerations]
    return shared


def _unprivileged() -> Object:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _mounts(own: SparkKubernetesSettings) -> list[Object]:
    return [
        {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only} for volume in own.volumes
    ]


def _source(volume: PodVolume) -> Object:
    for field, (source, part) in _SOURCES.items():
        value = getattr(volume, field)
        if value is not None:
            return {"name": volume.name, source: {part: value}}
    raise ValueError("a volume without a source")


# --- the executors ------------------------------------------------------------------------------------------


def _executor(own: SparkKubernetesSettings, account: str | None) -> Object:
    """The template of their Pods: what Spark has no key for."""
    container: Object = {"name": "spark-kubernetes-executor", "securityContext": _unprivileged()}
    # They ask the API server nothing: the driver does.
    pod: Object = {**_shared(own), "automountServiceAccountToken": False, "containers": [container]}
    if own.volumes:
        pod["volumes"] = [_source(volume) for volume in own.volumes]
        container["volumeMounts"] = _mounts(own)
    if account is not None:
        pod["serviceAccountName"] = account
    if own.executor.priority_class_name is not None:
        pod["priorityClassName"] = own.executor.priority_class_name
    return {"apiVersion": "v1", "kind": "Pod", "spec": pod}


# --- the driver ---------------------------------------------------------------------------------------------


def _container(
    job: DurableJob, name: str, work: SparkWork, own: SparkKubernetesSettings, conf: Mapping[str, str]
) -> Object:
    wishes = Wishes(conf)
    memory = f"{wishes.memory(work.driver.memory, python=work.is_python)}Mi"
    request, limit = wishes.cpu(work.driver.cores)
    mounts = [*_mounts(own), *({"name": _volume_of(one), "mountPath": at} for one, at in wishes.secrets.items())]
    address = {"name": ADDRESS, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container: Object = {
        "name": CONTAINER,
        "image": wishes.image or "",
        "args": list(_arguments(job, name, work, for_spark(conf))),
        "env": [*_environment(work, wishes), address],
        "resources": {
            "requests": {"cpu": request, "memory": memory},
            "limits": {"memory": memory} | ({"cpu": limit} if limit is not None else {}),
        },
        "securityContext": _unprivileged(),
        "volumeMounts": [*mounts, {"name": OURS, "mountPath": FOLDER, "readOnly": True}],
    }
    if wishes.ui_port is not None:
        container["ports"] = [{"name": PORT, "containerPort": wishes.ui_port, "protocol": "TCP"}]
    if wishes.pull_policy is not None:
        container["imagePullPolicy"] = wishes.pull_policy
    return container


def _arguments(job: DurableJob, name: str, work: SparkWork, conf: Mapping[str, str]) -> Iterator[str]:
    yield from ("driver", "--master", MASTER)
    # Kubernetes puts variables in for $(NAME): only our own are meant.
    theirs = {key: _literal(value) for key, value in {"spark.app.name": job.metadata.name, **conf}.items()}
    for key, value in sorted({**theirs, **_ours(job, name, work)}.items()):
        yield from ("--conf", f"{key}={value}")
    if work.main_class is not None:
        yield from ("--class", _literal(work.main_class))
    lists = {"--jars": work.jars, "--py-files": work.py_files, "--files": work.files, "--archives": work.archives}
    for option, uris in lists.items():
        if uris:
            yield from (option, _literal(",".join(uris)))
    yield _literal(work.main_application_file)
    yield from map(_literal, work.arguments)


def _ours(job: DurableJob, name: str, work: SparkWork) -> dict[str, str]:
    return {
        "spark.app.id": name,
        "spark.driver.host": f"$({ADDRESS})",  # Spark 3.5 and 4.0 would tell the Pod's name, which nobody can look up
        "spark.driver.memory": in_mebibytes(work.driver.memory),  # spark-submit gives it to the JVM as it is
        "spark.kubernetes.driver.annotateExitException": "true",
        "spark.kubernetes.driver.pod.name": name,
        "spark.kubernetes.executor.disableConfigMap": "true",  # else the driver needs a right to make ConfigMaps
        "spark.kubernetes.executor.podNamePrefix": name,
        "spark.kubernetes.executor.podTemplateFile": f"{FOLDER}/executor.json",
        "spark.kubernetes.executor.useDriverPodIP": "true",
        "spark.kubernetes.namespace": str(job.metadata.namespace),
    }


def _environment(work: SparkWork, wishes: Wishes) -> Iterator[Object]:
    for variable in work.env:
        if variable.value_from is None:
            yield {"name": variable.name, "value": _literal(variable.value or "")}
        else:
            ref = variable.value_from.secret_key_ref
            yield _from_secret(variable.name, ref.name, ref.key)
    taken = {variable.name for variable in work.env}
    for name, value in sorted(wishes.env.items()):
        if name not in taken:
            yield {"name": name, "value": _literal(value)}
    for name, (secret, key) in sorted(wishes.secret_env.items()):
        if name not in taken:
            yield _from_secret(name, secret, key)


def _from_secret(name: str, secret: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _secrets(wishes: Wishes) -> Iterator[Object]:
    for secret in wishes.secrets:
        yield {"name": _volume_of(secret), "secret": {"secretName": secret}}


def _volume_of(secret: str) -> str:
    """As Spark itself names it."""
    return f"{secret}-volume"


def _shown() -> Object:
    """The executors' template as a file."""
    field = {"fieldPath": f"metadata.annotations['{TEMPLATE}']"}
    return {"name": OURS, "downwardAPI": {"items": [{"path": "executor.json", "fieldRef": field}]}}


def _literal(text: str) -> str:
    return text.replace("$", "$$")
