"""Whose Secrets a DurableJob can name, on a real API server: those of its own namespace, in whatever field.

Another namespace has the Secret that everybody here is after. The judge is what there is afterwards.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from durablejob_api.backend import JobBackend, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_controller.backends.contract import Offer, Rejected
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.credentials import backend_token, job_secrets
from durablejob_controller.errors import InvalidBackend, InvalidWork, KubernetesError, NotFound
from durablejob_controller.kube import BACKENDS, JOBS, Kube, Object, load_configuration
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.testbed.kube import Cluster

MINE, OTHER = (f"secrets-{who}-{secrets.token_hex(2)}" for who in ("mine", "other"))
THEIRS = "theirs"
"""The Secret's name; there is none of it in our own namespace."""
SPEC = JobBackendSpec.model_validate({"kubernetes": {"spark": {"image": "example.invalid/spark:4"}}})


def spark(**more: Any) -> Object:
    work = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", **more}
    return {"backendRef": {"name": "here", "type": "Kubernetes"}, "spark": work}


def conf(key: str, value: str) -> Object:
    return spark(conf={f"spark.kubernetes.{key}": value})


def settings(**kubernetes: Any) -> Object:
    return spark(kubernetes=kubernetes)


def pod(container: Object | None = None, **more: Any) -> Object:
    """A Kubernetes Job with this in its pod."""
    main = {"name": "main", "image": "example.invalid/etl:1", **(container or {})}
    template = {"template": {"spec": {"containers": [main], **more}}}
    return {"backendRef": {"name": "here", "type": "Kubernetes"}, "kubernetesJob": {"template": template}}


def ref(name: str, **more: str) -> Object:
    return {"name": name, "key": "k", **more}


def fields(name: str, **more: str) -> dict[str, Object]:
    """A DurableJob's spec for every field in which a Secret is named; ``more`` goes beside the name, where it can."""
    env = [{"name": "W", "valueFrom": {"secretKeyRef": ref(name, **more)}}]
    volume = {"name": "v", "mountPath": "/v", "secret": name}
    csi = {"driver": "csi.example.com", "nodePublishSecretRef": {"name": name, **more}}
    return {
        "spark.env": spark(env=env),
        "spark.kubernetes.imagePullSecrets": settings(imagePullSecrets=[name]),
        "spark.kubernetes.volumes": settings(volumes=[volume]),
        "spark.kubernetes.executor.secretEnv": settings(executor={"secretEnv": {"W": ref(name, **more)}}),
        "conf, pull secrets": conf("container.image.pullSecrets", name),
        "conf, driver's variable": conf("driver.secretKeyRef.W", f"{name}:k"),
        "conf, driver's folder": conf(f"driver.secrets.{name}", "/v"),
        "conf, executors' variable": conf("executor.secretKeyRef.W", f"{name}:k"),
        "conf, executors' folder": conf(f"executor.secrets.{name}", "/v"),
        "Job, variable": pod({"env": env}),
        "Job, all variables": pod({"envFrom": [{"secretRef": {"name": name, **more}}]}),
        "Job, volume": pod(volumes=[{"name": "v", "secret": {"secretName": name, **more}}]),
        "Job, projected": pod(volumes=[{"name": "v", "projected": {"sources": [{"secret": {"name": name, **more}}]}}]),
        "Job, volume of a driver": pod(volumes=[{"name": "v", "csi": csi}]),
        "Job, pull secret": pod(imagePullSecrets=[{"name": name, **more}]),
    }


EVERY = tuple(fields(THEIRS))
KUBELETS = {"Job, volume", "Job, projected", "Job, volume of a driver", "Job, pull secret"}
"""Where the API server itself takes any text for a name; the kubelet looks for it in the pod's own namespace."""


@pytest.fixture(scope="module")
def namespaces(crds: Cluster) -> Iterator[Cluster]:
    for name in (MINE, OTHER):
        crds.kubectl("create", "namespace", name)
        crds.kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    crds.kubectl("-n", OTHER, "create", "secret", "generic", THEIRS, "--from-literal=k=v", "--from-literal=token=t")
    yield crds
    crds.kubectl("delete", "namespace", MINE, OTHER, "--wait=false")


@pytest.fixture
async def kube(namespaces: Cluster) -> AsyncIterator[Kube]:
    client = Kube(load_configuration(str(namespaces.kubeconfig), None))
    yield client
    await client.aclose()


async def created(kube: Kube, spec: Object) -> DurableJob:
    body = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob", "spec": spec}
    meta = {"name": f"job-{secrets.token_hex(4)}", "namespace": MINE}
    return DurableJob.model_validate(await kube.create(JOBS, MINE, {**body, "metadata": meta}))


async def made(kube: Kube, spec: Object) -> Object | None:
    """What is made of a DurableJob with this spec; None: it is refused, and nothing is made in either namespace."""
    try:
        job = await created(kube, spec)
    except KubernetesError:
        return None
    backend = plugin.make(SPEC, Surroundings("c", "", Paths(), kubernetes=kube, namespace=MINE))
    key = attempt_key(job.metadata.uid, 1)
    try:
        backend.validate(job)
        answer = await backend.reserve(job, key)
    except InvalidWork:
        answer = Rejected("InvalidSpec", "")
    found = await objects(kube, f"dj-{key}")
    assert [one["metadata"]["namespace"] for one in found] == [MINE] * isinstance(answer, Offer)
    return found[0] if found else None


async def objects(kube: Kube, name: str) -> list[Object]:
    """Pods and Jobs of this name, wherever they are."""
    found = []
    for namespace in (MINE, OTHER):
        for prefix, plural in (("/api/v1", "pods"), ("/apis/batch/v1", "jobs")):
            try:
                found.append(await kube.call("GET", f"{prefix}/namespaces/{namespace}/{plural}/{name}"))
            except NotFound:
                continue
    return found


@pytest.mark.parametrize("field", EVERY)
async def test_a_secrets_name_is_one_of_the_jobs_own_namespace(kube: Kube, field: str) -> None:
    found = await made(kube, fields(THEIRS)[field])
    assert found is not None
    text = json.dumps(found)
    assert THEIRS in text  # it is asked for, and by its name alone
    assert OTHER not in text
    if found["kind"] == "Pod":  # its executors are made where it is
        arguments = found["spec"]["containers"][0]["args"]
        told = [one for one in arguments if one.startswith("spark.kubernetes.namespace=")]
        assert told == [f"spark.kubernetes.namespace={MINE}"]


@pytest.mark.parametrize("form", ["{0}/{1}", "../{0}/secrets/{1}", "..%2F{0}%2Fsecrets%2F{1}"])
@pytest.mark.parametrize("field", EVERY)
async def test_a_name_that_leads_out_of_it_is_refused(kube: Kube, field: str, form: str) -> None:
    found = await made(kube, fields(form.format(OTHER, THEIRS))[field])
    if field not in KUBELETS:
        assert found is None


@pytest.mark.parametrize("field", EVERY)
async def test_no_field_takes_a_namespace_beside_the_name(kube: Kube, field: str) -> None:
    plain, given = fields(THEIRS)[field], fields(THEIRS, namespace=OTHER)[field]
    found = await made(kube, given)
    if plain == given:  # there is nothing beside the name
        return
    assert found is None or OTHER not in json.dumps(found)


@pytest.mark.parametrize("key", ["spark.kubernetes.namespace", "spark.kubernetes.executor.podTemplateFile"])
async def test_executors_cannot_be_sent_into_another_namespace(kube: Kube, key: str) -> None:
    assert await made(kube, spark(conf={key: OTHER})) is None


async def test_what_the_controller_reads_itself_it_reads_in_the_jobs_namespace(kube: Kube) -> None:
    """For the environment of Spark's standalone drivers and YARN's; the controller's account may read both."""
    env = [{"name": "W", "valueFrom": {"secretKeyRef": ref(THEIRS)}}]
    job = await created(kube, {**spark(env=env), "backendRef": {"name": "s", "type": "SparkStandalone"}})
    answer = await job_secrets(kube, job)
    assert isinstance(answer, Rejected)
    assert "no Secret theirs in this namespace" in answer.message


async def test_a_jobbackend_reads_no_token_of_the_controllers_own_namespace(kube: Kube) -> None:
    masters = [{"rest": "http://m:6066", "ui": "http://m:8080"}]
    spec = {"sparkStandalone": {"masters": masters, "tokenSecretRef": {"name": THEIRS}}}
    body = {"apiVersion": "durablejob.io/v1alpha1", "kind": "JobBackend", "spec": spec}
    raw = await kube.create(BACKENDS, MINE, {**body, "metadata": {"name": "b", "namespace": MINE}})
    with pytest.raises(InvalidBackend, match=f"no Secret theirs in namespace {MINE}"):
        await backend_token(kube, JobBackend.model_validate(raw), own_namespace=OTHER)
