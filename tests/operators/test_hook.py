"""The connection type, against a real API server."""

from __future__ import annotations

import secrets
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException

from durablejob_airflow.hooks import DurableJobHook
from durablejob_api import API_VERSION, GROUP
from tests.operators.conftest import connection
from tests.operators.scripted import Controller
from tests.testbed.kube import Cluster


@pytest.fixture
def hook_with(crds: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch):
    """A hook by a connection with further fields."""

    def made(**extra: str) -> DurableJobHook:
        monkeypatch.setenv("AIRFLOW_CONN_HOOKED", connection(crds.kubeconfig, namespace, **extra))
        return DurableJobHook("hooked")

    return made


@pytest.fixture(scope="module")
def backends(crds: Cluster, namespace: str) -> None:
    """A namespaced backend that was never probed, and a cluster's one."""
    for kind, name in (("JobBackend", "near"), ("ClusterJobBackend", f"far-{namespace}")):
        text = (
            f"apiVersion: {API_VERSION}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{plugin: {{name: fake}}}}\n"
        )
        crds.kubectl("-n", namespace, "apply", "-f", "-", input=text)


def test_the_deployment_id_has_no_default(hook_with):
    with pytest.raises(AirflowFailException, match="Deployment id"):
        _ = hook_with(deployment_id="").deployment_id


def test_a_missing_connection_is_told_as_that(hook_with):
    with pytest.raises(AirflowFailException, match="There is no connection 'nowhere'"):
        _ = DurableJobHook("nowhere").deployment_id


def test_a_working_connection_passes_its_test(hook_with):
    good, message = hook_with().test_connection()
    assert good, message
    assert "DurableJobs can be read and written" in message


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"deployment_id": ""}, "Deployment id"),
        ({"backend": "missing"}, "there is no JobBackend or ClusterJobBackend 'missing'"),
        ({"backend": "JobBackend/near"}, "not Ready: it was not probed yet"),
    ],
)
def test_what_is_wrong_with_a_connection_is_said(hook_with, backends, extra, text):
    good, message = hook_with(**extra).test_connection()
    assert not good
    assert text in message


def grant(crds: Cluster, namespace: str, user: str, verbs: str) -> None:
    """Give a user these rights on DurableJobs, and wait until RBAC knows of it."""
    resource = f"durablejobs.{GROUP}"
    crds.kubectl("-n", namespace, "create", "role", user, f"--verb={verbs}", f"--resource={resource}")
    crds.kubectl("-n", namespace, "create", "rolebinding", user, f"--role={user}", f"--user={user}")
    deadline = time.monotonic() + 30
    while resource not in crds.kubectl("-n", namespace, "auth", "can-i", "--list", f"--as={user}"):
        assert time.monotonic() < deadline, "RBAC does not know of the role"


@pytest.mark.parametrize(
    ("verbs", "lacking"),
    [
        ("", "may not get, list, watch, create, update durablejobs in namespace"),
        ("get,list", "may not watch, create, update durablejobs"),
        ("get,list,create,update", "may not watch durablejobs"),
        ("get,list,watch,update", "may not create durablejobs"),
        ("get,list,watch,create,update", None),
    ],
)
def test_an_account_is_told_which_rights_it_lacks(crds, namespace, monkeypatch, verbs, lacking):
    user = f"user-{secrets.token_hex(3)}"
    if verbs:
        grant(crds, namespace, user, verbs)
    monkeypatch.setenv("AIRFLOW_CONN_SOMEBODY", connection(crds.user_kubeconfig(user), namespace))
    good, message = DurableJobHook("somebody").test_connection()
    assert good is (lacking is None), message
    assert (lacking or "can be read and written") in message


def test_a_backend_is_looked_up_where_kind_or_type_is_left_out(hook_with, backends, namespace):
    hook = hook_with(backend=f"far-{namespace}")
    assert hook.backend_ref("near") == {"kind": "JobBackend", "name": "near", "type": "Plugin"}
    assert hook.backend_ref(None) == {"kind": "ClusterJobBackend", "name": f"far-{namespace}", "type": "Plugin"}
    assert hook.backend_ref("JobBackend/x:Yarn")["type"] == "Yarn"
    with pytest.raises(ValueError, match="there is no"):
        hook.backend_ref("nowhere")


def test_the_resources_page_is_the_dashboards_or_the_api_servers(hook_with, crds):
    assert hook_with().resource_url("data", "job") == (
        f"{crds.url}/apis/durablejob.io/v1alpha1/namespaces/data/durablejobs/job"
    )
    dashboard = hook_with(resource_url="https://headlamp.example/{namespace}/{name}")
    assert dashboard.resource_url("data", "job") == "https://headlamp.example/data/job"


async def test_a_trigger_reads_the_same_connection(hook_with, controller: Controller, namespace: str):
    from durablejob_airflow.triggers import connected

    hook_with(disable_verify_ssl="true")
    async with connected("hooked", namespace) as jobs:
        assert await jobs.get("nothing") is None
        versions = [version async for version, _ in jobs.pages()]
        assert versions[0].isdigit()
