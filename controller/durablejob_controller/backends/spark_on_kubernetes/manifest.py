"""What is sent to the API server for a driver: the inert Pod, and the patch that activates it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from durablejob_api import GROUP
from durablejob_api.backend import JobBackendSpec, KubernetesSpark
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.kubernetes_objects.objects import HASH, Object, is_owned, name_of
from durablejob_controller.backends.spark_on_kubernetes import conf as settings
from durablejob_controller.errors import InvalidWork

GATE = f"{GROUP}/start"
"""Scheduling gate: as long as it is there, no node takes the Pod."""
ROLE, SELECTOR = "spark-role", "spark-app-selector"
"""Labels that Spark gives to executors: their role, and the application's id."""
CONTAINER = "spark-kubernetes-driver"
ADDRESS = "SPARK_DRIVER_BIND_ADDRESS"
"""Variable from which Spark's entrypoint takes the driver's own address."""
MASTER = "k8s://https://kubernetes.default.svc"


def body(job: DurableJob, key: str, spec: JobBackendSpec) -> Object:
    """The inert Pod with its hash, for a job that ``validation`` lets pass. The same whoever builds it, whenever."""
    manifest = _manifest(job, key, spec)
    manifest["metadata"]["annotations"][HASH] = objects.hashed(manifest)
    return manifest


def body_hash(job: DurableJob, key: str, spec: JobBackendSpec) -> str:
    """Hash of all that is ever sent for this attempt."""
    return objects.hashed(_manifest(job, key, spec))


def activation(job: DurableJob, uid: str, hash_: str) -> list[Object]:
    """JSON patch that takes the gate from the Pod of this uid, if it is inert and of this form."""
    return [*objects.activation(job, uid, hash_), {"op": "remove", "path": "/spec/schedulingGates"}]


def is_inert(found: Object) -> bool:
    """Not activated: gated, still its owner's, and not held by us."""
    gates = found["spec"].get("schedulingGates") or ()
    return is_owned(found) and any(gate.get("name") == GATE for gate in gates)


def executors_of(found: Object) -> str:
    """Label selector of the executors of this driver."""
    return f"{SELECTOR}={found['metadata']['name']},{ROLE}=executor"


def spark_work(job: DurableJob) -> SparkWork:
    """The Spark part of the job; raises ``InvalidWork`` when it is something else."""
    if job.spec.spark is None:
        raise InvalidWork("WrongWork", "spark", "missing")
    return job.spec.spark


def image_of(work: SparkWork, spec: JobBackendSpec) -> str | None:
    """The job's image, else the backend's."""
    own = work.kubernetes.image if work.kubernetes is not None else None
    return own or _defaults(spec).image


def conf_of(work: SparkWork, spec: JobBackendSpec) -> dict[str, str]:
    """The user's settings over the backend's."""
    return {**spec.defaults.spark_conf, **work.conf}


def _defaults(spec: JobBackendSpec) -> KubernetesSpark:
    here = spec.kubernetes
    return here.spark if here is not None and here.spark is not None else KubernetesSpark()


def _manifest(job: DurableJob, key: str, spec: JobBackendSpec) -> Object:
    work = spark_work(job)
    name = name_of(key)
    metadata = objects.metadata(job, key)
    pod: Object = {
        "restartPolicy": "Never",
        "schedulingGates": [{"name": GATE}],
        "enableServiceLinks": False,
        "containers": [_container(job, name, work, spec)],
    }
    own = work.kubernetes
    account = (own.service_account_name if own else None) or _defaults(spec).service_account_name
    if account is not None:
        pod["serviceAccountName"] = account
    if own is not None:
        metadata["labels"] = {**own.driver.labels, **metadata["labels"]}
        metadata["annotations"] = {**own.driver.annotations, **metadata["annotations"]}
        if own.driver.node_selector:
            pod["nodeSelector"] = dict(own.driver.node_selector)
        if own.driver.priority_class_name is not None:
            pod["priorityClassName"] = own.driver.priority_class_name
    metadata["labels"] |= {ROLE: "driver", SELECTOR: name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


def _container(job: DurableJob, name: str, work: SparkWork, spec: JobBackendSpec) -> Object:
    image, conf = image_of(work, spec) or "", conf_of(work, spec)
    memory = f"{settings.driver_memory(work.driver.memory, conf, python=work.is_python)}Mi"
    requests = {"cpu": conf.get("spark.kubernetes.driver.request.cores", str(work.driver.cores)), "memory": memory}
    limits = {"memory": memory}
    if "spark.kubernetes.driver.limit.cores" in conf:
        limits["cpu"] = conf["spark.kubernetes.driver.limit.cores"]
    address = {"name": ADDRESS, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {
        "name": CONTAINER,
        "image": image,
        "args": list(_arguments(job, name, work, {k: v for k, v in conf.items() if k not in settings.POD}, image)),
        "env": [*_environment(work), address],
        "resources": {"requests": requests, "limits": limits},
        # What Spark says of a class or a file that is not there stands in the log only.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _arguments(job: DurableJob, name: str, work: SparkWork, conf: Mapping[str, str], image: str) -> Iterator[str]:
    yield from ("driver", "--master", MASTER)
    # Kubernetes puts variables in for $(NAME): only our own are meant.
    theirs = {key: _literal(value) for key, value in {"spark.app.name": job.metadata.name, **conf}.items()}
    for key, value in sorted({**theirs, **_executors(work), **_ours(job, name, work, image)}.items()):
        yield from ("--conf", f"{key}={value}")
    if work.main_class is not None:
        yield from ("--class", _literal(work.main_class))
    lists = {"--jars": work.jars, "--py-files": work.py_files, "--files": work.files, "--archives": work.archives}
    for option, uris in lists.items():
        if uris:
            yield from (option, _literal(",".join(uris)))
    yield _literal(work.main_application_file)
    yield from map(_literal, work.arguments)


def _ours(job: DurableJob, name: str, work: SparkWork, image: str) -> dict[str, str]:
    return {
        "spark.app.id": name,
        "spark.driver.host": f"$({ADDRESS})",  # Spark 3.5 and 4.0 would tell the Pod's name, which nobody can look up
        "spark.driver.memory": work.driver.memory,
        "spark.kubernetes.container.image": _literal(image),
        "spark.kubernetes.driver.annotateExitException": "true",
        "spark.kubernetes.driver.pod.name": name,
        "spark.kubernetes.executor.disableConfigMap": "true",  # else the driver needs a right to make ConfigMaps
        "spark.kubernetes.executor.podNamePrefix": name,
        "spark.kubernetes.executor.useDriverPodIP": "true",
        "spark.kubernetes.namespace": str(job.metadata.namespace),
    }


def _executors(work: SparkWork) -> dict[str, str]:
    given: dict[str, Any] = {
        "spark.executor.instances": work.executor.instances,
        "spark.executor.cores": work.executor.cores,
        "spark.executor.memory": work.executor.memory,
    }
    found = {key: str(value) for key, value in given.items() if value is not None}
    pods = work.kubernetes.executor if work.kubernetes is not None else None
    if pods is not None:
        for kind, values in (
            ("label", pods.labels), ("annotation", pods.annotations), ("node.selector", pods.node_selector),
        ):  # fmt: skip
            found |= {f"spark.kubernetes.executor.{kind}.{key}": _literal(value) for key, value in values.items()}
    return found


def _environment(work: SparkWork) -> Iterator[Object]:
    for variable in work.env:
        if variable.value_from is None:
            yield {"name": variable.name, "value": _literal(variable.value or "")}
        else:
            ref = variable.value_from.secret_key_ref
            yield {"name": variable.name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def _literal(text: str) -> str:
    return text.replace("$", "$$")
