"""The rights that the chart gives to Airflow's account: all that the operators' own clients need, and no more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kubernetes import config
from kubernetes_asyncio import config as async_config

from durablejob_airflow.client import JobsClient
from durablejob_airflow.client_async import AsyncJobsClient
from durablejob_airflow.resource import Refused
from tests.chart.audit import granted, now, refused, used
from tests.chart.conftest import Installed
from tests.testbed.kube import Cluster

NAMESPACE, ACCOUNT = "dags", "airflow-worker"
VALUES = (
    "airflow.enabled=true",
    "airflow.subjects[0].kind=ServiceAccount",
    f"airflow.subjects[0].name={ACCOUNT}",
    f"airflow.subjects[0].namespace={NAMESPACE}",
    f"airflow.namespaces={{{NAMESPACE}}}",
    "airflow.kubernetesJobs=true",
)
POD: Any = {"spec": {"containers": [{"name": "main", "image": "example.invalid/etl:1"}]}}
SPEC: Any = {"backendRef": {"name": "here", "type": "Kubernetes"}, "kubernetesJob": {"template": {"template": POD}}}


def body(name: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob", "metadata": meta, "spec": SPEC}


async def _watched(kubeconfig: str, name: str) -> str:
    """The name that the triggerer's watch tells of first, listed and then changed."""
    async with await async_config.new_client_from_config(kubeconfig) as api:
        jobs = AsyncJobsClient(api, NAMESPACE, "tests")
        version = [version async for version, _ in jobs.pages()][-1]
        raw = await jobs.get(name)
        assert raw is not None
        await jobs.replace({**raw, "spec": {**raw["spec"], "suspend": True}})
        _, found = await anext(jobs.watch(version))
        return str(found["metadata"]["name"])


def test_airflows_rights_suffice_and_none_is_superfluous(installed: Installed, audit: Cluster) -> None:
    since = now(audit)
    audit.kubectl("create", "namespace", NAMESPACE)
    audit.kubectl("-n", NAMESPACE, "create", "serviceaccount", ACCOUNT)
    objects = [o for o in installed.helm.render(*VALUES) if o["metadata"]["name"].endswith("-airflow")]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    audit.kubectl("apply", "--server-side", "-f", "-", input=text)
    kubeconfig = str(audit.account_kubeconfig(NAMESPACE, ACCOUNT))
    jobs = JobsClient(config.new_client_from_config(kubeconfig), NAMESPACE)
    jobs.create(body("one"))  # the admission policy asks for the right to create Jobs
    assert jobs.count() == 1
    assert jobs.backend("JobBackend", "none") is None
    assert jobs.backend("ClusterJobBackend", "none") is None
    assert asyncio.run(_watched(kubeconfig, "one")) == "one"

    user = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    rights = granted(objects, ACCOUNT)
    assert refused(audit, user, since) == set()
    # The policy's question is no call.
    left = rights - used(audit, user, rights, since)
    assert {(right.resource, right.verb) for right in left} == {("jobs", "create")}

    audit.kubectl(
        "-n", NAMESPACE, "patch", "role", "dj-durablejob-airflow", "--type=json", "-p", _without("jobs", objects)
    )
    with pytest.raises(Refused, match=r"may not create jobs\.batch in namespace dags"):
        _until_refused(jobs)


def _without(resource: str, objects: list[Any]) -> str:
    (role,) = [o for o in objects if o["kind"] == "Role"]
    index = next(number for number, rule in enumerate(role["rules"]) if rule["resources"] == [resource])
    return json.dumps([{"op": "remove", "path": f"/rules/{index}"}])


def _until_refused(jobs: JobsClient) -> None:
    """RBAC takes a moment to know of a change."""
    for number in range(100):
        jobs.create(body(f"more-{number}"))
