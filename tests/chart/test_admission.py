"""The admission policy and the aggregated roles, on a real API server, with users who may this and may not that."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kubernetes.client import ApiException

from durablejob_api.names import attempt_key
from tests.api.client import Api, Refused
from tests.chart.conftest import Installed

NAMESPACE = "people"
POD: Any = {"spec": {"containers": [{"name": "main", "image": "example.invalid/etl:1"}]}}
JOB: Any = {"backendRef": {"name": "here", "type": "Kubernetes"}, "kubernetesJob": {"template": {"template": POD}}}
SPARK: Any = {
    "backendRef": {"name": "spark", "type": "SparkStandalone"},
    "spark": {"mainApplicationFile": "local:///etl.py"},
}
SPARK_POD: Any = {**SPARK, "backendRef": {"name": "here", "type": "Kubernetes"}}
PENDING: Any = {"state": "Pending", "current": {"number": 1, "key": attempt_key("uid", 1)}}
ENDED: Any = {"state": "Failed", "current": {"outcome": "Failed", "reason": "Rejected"}}


@pytest.fixture(scope="module")
def admin(installed: Installed) -> Api:
    """May everything; the policy is in force."""
    cluster = installed.cluster
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.kubectl("create", "-f", "-", input=json.dumps(body))
    # Rights on DurableJobs, and none on Jobs; then edit, which has both; then nothing but to look.
    for user, role in (
        ("alice", "dj-durablejob-edit"),
        ("alice", "dj-durablejob-view"),
        ("bob", "edit"),
        ("eve", "view"),
    ):
        name = f"{user}-{role}"
        cluster.kubectl("-n", NAMESPACE, "create", "rolebinding", name, f"--clusterrole={role}", f"--user={user}")
    return Api(cluster.kubeconfig, NAMESPACE)


@pytest.fixture(scope="module")
def bob(installed: Installed, admin: Api) -> Api:
    """May edit: DurableJobs, Jobs, pods."""
    return user(installed, "bob")


@pytest.fixture(scope="module")
def alice(installed: Installed, bob: Api) -> Api:
    """May write DurableJobs, and make neither Jobs nor pods; the policy is in force."""
    made = user(installed, "alice")
    deadline = time.monotonic() + 30
    while allowed(made, JOB):  # it takes the API server a moment to know of a policy
        assert time.monotonic() < deadline, "the policy is not in force"
        time.sleep(0.2)
    return made


def user(installed: Installed, name: str) -> Api:
    api = Api(installed.cluster.user_kubeconfig(name), NAMESPACE)
    deadline = time.monotonic() + 30
    while not allowed(api, SPARK):  # aggregation too takes a moment
        assert time.monotonic() < deadline, f"{name} may not create DurableJobs"
        time.sleep(0.2)
    return api


def allowed(api: Api, spec: Any) -> bool:
    try:
        api.create("DurableJob", "try", spec)
    except (Refused, ApiException):
        return False
    return True


def made(api: Api, name: str, spec: Any) -> str:
    api.create("DurableJob", name, spec, keep=True)
    return name


def end(admin: Api, name: str) -> None:
    """The attempt has ended, so that the next may begin."""
    for status in (PENDING, ENDED):
        admin.patch("DurableJob", name, status, status=True, keep=True)


def test_who_may_not_create_jobs_cannot_have_one_created(alice: Api, bob: Api) -> None:
    words = r"spec\.kubernetesJob: alice may not create jobs\.batch in namespace people, and so may not have one made"
    with pytest.raises(Refused, match=words):
        alice.create("DurableJob", "a", JOB)
    bob.create("DurableJob", "a", JOB)


def test_who_may_not_create_pods_cannot_have_a_spark_driver_created(alice: Api, bob: Api) -> None:
    with pytest.raises(Refused, match=r"spec\.spark: alice may not create pods in namespace people"):
        alice.create("DurableJob", "a", SPARK_POD)
    bob.create("DurableJob", "a", SPARK_POD)


def test_work_that_needs_neither_is_everybodys(alice: Api) -> None:
    alice.create("DurableJob", "a", SPARK)
    alice.create("DurableJob", "a", {"backendRef": {"name": "f", "type": "Plugin"}, "plugin": {}})


def test_what_begins_no_attempt_needs_no_right_on_jobs(alice: Api, bob: Api) -> None:
    name = made(bob, "running", JOB)
    alice.patch("DurableJob", name, {"cancel": {"attempt": 1, "cause": "User"}})
    alice.patch("DurableJob", name, {"suspend": True})
    alice.patch("DurableJob", name, {"ttlSecondsAfterFinished": 5})


def test_the_next_attempt_and_other_work_need_the_right_again(alice: Api, bob: Api, admin: Api) -> None:
    name = made(bob, "ended", JOB)
    end(admin, name)
    other = {"template": {"template": POD, "completions": 2}}
    for change in ({"attempt": 2}, {"attempt": 2, "kubernetesJob": other}):
        with pytest.raises(Refused, match="alice may not create jobs"):
            alice.patch("DurableJob", name, change)
        bob.patch("DurableJob", name, change)


def test_another_kind_of_work_in_the_next_attempt_needs_its_right(alice: Api, admin: Api) -> None:
    name = made(alice, "harmless", SPARK)
    end(admin, name)
    with pytest.raises(Refused, match="alice may not create jobs"):
        alice.patch("DurableJob", name, {**JOB, "spark": None, "attempt": 2})
    with pytest.raises(Refused, match="alice may not create pods"):
        alice.patch("DurableJob", name, {"backendRef": SPARK_POD["backendRef"], "attempt": 2})
    alice.patch("DurableJob", name, {"attempt": 2})


@pytest.mark.parametrize(
    ("replaced", "by"),
    [
        # What the CRD's own rule cannot see: a field of the template in place of another.
        ({"parallelism": None, "completions": 1}, "ValidatingAdmissionPolicy"),
        ({"parallelism": 2}, "Invalid value"),
        ({"parallelism": None}, "Invalid value"),
    ],
    ids=["another field", "another value", "a field less"],
)
def test_the_template_does_not_change_within_an_attempt(bob: Api, admin: Api, replaced: Any, by: str) -> None:
    work = {"template": POD, "parallelism": 1}
    name = made(
        bob, f"fixed-{len(replaced)}-{replaced['parallelism']}".lower(), {**JOB, "kubernetesJob": {"template": work}}
    )
    with pytest.raises(Refused, match=rf"{by}.*the work may change only together with spec\.attempt"):
        bob.patch("DurableJob", name, {"kubernetesJob": {"template": replaced}})
    end(admin, name)
    bob.patch("DurableJob", name, {"kubernetesJob": {"template": replaced}, "attempt": 2})


def test_nobody_who_edits_may_write_a_status(bob: Api, admin: Api) -> None:
    name = made(bob, "status", JOB)
    with pytest.raises(Refused, match='cannot patch resource "durablejobs/status"'):
        bob.patch("DurableJob", name, PENDING, status=True)
    admin.patch("DurableJob", name, PENDING, status=True)


@pytest.mark.parametrize(("user", "verb"), [("eve", "watch"), ("bob", "deletecollection")])
def test_the_clusters_own_roles_have_their_share(installed: Installed, bob: Api, user: str, verb: str) -> None:
    command = ["auth", "can-i", verb, "durablejobs.durablejob.io", "--as", user, "-n", NAMESPACE]
    assert installed.cluster.kubectl(*command).strip() == "yes"  # kubectl fails otherwise


def test_backends_are_written_by_administrators(installed: Installed, bob: Api) -> None:
    spec = {"plugin": {"name": "fake"}}
    with pytest.raises(Refused, match='cannot create resource "jobbackends"'):
        bob.create("JobBackend", "b", spec)
    binding = ["rolebinding", "carol", "--clusterrole=admin", "--user=carol"]
    installed.cluster.kubectl("-n", NAMESPACE, "create", *binding)
    carol = user(installed, "carol")
    carol.create("JobBackend", "b", spec)
