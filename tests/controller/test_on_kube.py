"""What the fake API server of the other tests takes for granted, on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from durablejob_controller import metrics
from durablejob_controller.errors import Conflict, Forbidden, NotFound, NotServed, Refused
from durablejob_controller.kube import BACKENDS, JOBS, NAMESPACES, Kube, Object, Resource, load_configuration
from tests.controller.fake_kube import job_object
from tests.testbed.kube import Cluster


@pytest.fixture
async def kube(crds: Cluster) -> AsyncIterator[Kube]:
    client = Kube(load_configuration(str(crds.kubeconfig), None))
    yield client
    await client.aclose()


@pytest.fixture
async def job(kube: Kube) -> AsyncIterator[Object]:
    body = job_object("on-kube", "default")
    del body["metadata"]["finalizers"]
    raw = await kube.create(JOBS, "default", body)
    yield raw
    newest = await kube.get(JOBS, "default", "on-kube")
    await kube.delete(JOBS, newest["metadata"])


async def test_only_the_absence_of_an_object_is_not_found(kube: Kube) -> None:
    with pytest.raises(NotFound):
        await kube.get(JOBS, "default", "nobody")
    with pytest.raises(NotFound):
        await kube.get(NAMESPACES, None, "nobody")
    with pytest.raises(NotServed):
        await kube.get(Resource("/apis/durablejob.io/v9", "durablejobs"), "default", "nobody")
    with pytest.raises(NotServed):
        async for _ in kube.pages(Resource("/apis/nobody.io/v1", "things"), None):
            pass


async def test_every_write_of_an_old_version_is_a_conflict(kube: Kube, job: Object) -> None:
    await kube.patch_metadata(JOBS, job["metadata"], {"labels": {"a": "b"}})
    with pytest.raises(Conflict):
        await kube.patch_metadata(JOBS, job["metadata"], {"labels": {"a": "c"}})
    with pytest.raises(Conflict):
        await kube.replace(JOBS, {**job, "status": {"state": "Pending"}}, "status")
    with pytest.raises(Conflict):
        await kube.delete(JOBS, job["metadata"])
    with pytest.raises(Conflict):
        await kube.create(JOBS, "default", job_object("on-kube", "default"))


async def test_what_is_invalid_is_refused_with_the_field(kube: Kube, job: Object) -> None:
    with pytest.raises(Refused, match=r"status\.state"):
        await kube.replace(JOBS, {**job, "status": {"state": "Strange"}}, "status")
    with pytest.raises(NotFound):
        await kube.replace(BACKENDS, {**job, "kind": "JobBackend"}, "status")


async def test_a_missing_right_is_told_from_what_admission_refuses(crds: Cluster, kube: Kube) -> None:
    counted = metrics.MISSING_RIGHTS.labels(method="GET")._value
    before = counted.get()
    nobody = Kube(load_configuration(str(crds.user_kubeconfig("nobody")), None))
    try:
        with pytest.raises(Forbidden) as caught:
            await nobody.get(JOBS, "default", "on-kube")
    finally:
        await nobody.aclose()
    assert caught.value.missing_right == "get durablejobs"
    assert counted.get() == before + 1
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-kube"}}
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "a", "image": "example.invalid/a:1"}]}
    with pytest.raises(Forbidden, match="nobody") as caught:
        await kube.call("POST", "/api/v1/namespaces/default/pods", body={**pod, "spec": spec})
    assert caught.value.missing_right is None
