"""The admission policy and the aggregated roles, on a real API server, with users who may this and may not that."""

from __future__ import annotations

import json
import re
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
INGRESS: Any = {"host": "{name}.example.invalid"}
PENDING: Any = {"state": "Pending", "current": {"number": 1, "key": attempt_key("uid", 1)}}
ENDED: Any = {"state": "Failed", "current": {"outcome": "Failed", "reason": "Rejected"}}


def reading(*names: str, type_: str = "SparkStandalone") -> Any:
    """Spark's work with a variable of each of these Secrets."""
    env = [
        {"name": f"V{number}", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}
        for number, name in enumerate(names)
    ]
    return {"backendRef": {"name": "spark", "type": type_}, "spark": {**SPARK["spark"], "env": env}}


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


def allowed(api: Api, spec: Any, kind: str = "DurableJob") -> bool:
    try:
        api.create(kind, "try", spec)
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


# --- the Secrets of the environment -------------------------------------------------------------------------

NAMED = [f"s{number}" for number in range(9)]


@pytest.fixture(scope="module")
def harry(installed: Installed, alice: Api) -> Api:
    """As alice, and may get some Secrets by their names: as the chart's own role for Airflow."""
    kubectl = ["-n", NAMESPACE, "create"]
    names = [f"--resource-name={name}" for name in NAMED]
    installed.cluster.kubectl(*kubectl, "role", "harry", "--verb=get", "--resource=secrets", *names)
    for kind, role in (("role", "harry"), ("clusterrole", "dj-durablejob-edit"), ("clusterrole", "dj-durablejob-view")):
        installed.cluster.kubectl(*kubectl, "rolebinding", f"harry-{role}", f"--{kind}={role}", "--user=harry")
    return user(installed, "harry")


@pytest.mark.parametrize("type_", ["SparkStandalone", "Yarn"])
def test_who_may_not_get_a_secret_cannot_have_it_read(alice: Api, harry: Api, bob: Api, type_: str) -> None:
    words = r"spec\.spark\.env: alice may not get Secret s0 in namespace people, and so may not have it read"
    with pytest.raises(Refused, match=words):
        alice.create("DurableJob", "a", reading("s0", type_=type_))
    with pytest.raises(Refused, match="harry may not get Secret theirs"):
        harry.create("DurableJob", "a", reading("s1", "s0", "s1", "theirs", type_=type_))
    harry.create("DurableJob", "a", reading("s1", "s0", "s1", type_=type_))
    bob.create("DurableJob", "a", reading("theirs", type_=type_))


def test_so_many_secrets_are_asked_for_by_name(harry: Api, bob: Api) -> None:
    harry.create("DurableJob", "a", reading(*NAMED[:8] * 10))
    with pytest.raises(Refused, match="more than 8 Secrets needs the right to get every Secret"):
        harry.create("DurableJob", "a", reading(*NAMED))
    bob.create("DurableJob", "a", reading(*NAMED, *(f"t{number}" for number in range(100))))


def test_a_pods_own_secrets_are_the_right_to_make_pods(alice: Api, bob: Api) -> None:
    bob.create("DurableJob", "a", reading("s0", type_="Kubernetes"))
    with pytest.raises(Refused, match="alice may not create pods"):
        alice.create("DurableJob", "a", reading("s0", type_="Kubernetes"))


def test_only_what_begins_an_attempt_needs_the_right_on_secrets(alice: Api, bob: Api, admin: Api) -> None:
    name = made(bob, "with-secrets", reading("s0"))
    alice.patch("DurableJob", name, {"suspend": True})
    end(admin, name)
    with pytest.raises(Refused, match="alice may not get Secret s0"):
        alice.patch("DurableJob", name, {"attempt": 2})
    bob.patch("DurableJob", name, {"attempt": 2})


# --- what begins an attempt, and what does not --------------------------------------------------------------


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


# --- backends -----------------------------------------------------------------------------------------------


def backend(**kubernetes: Any) -> Any:
    return {"kubernetes": kubernetes}


@pytest.fixture(scope="module")
def authors(installed: Installed, bob: Api) -> dict[str, Api]:
    """Who may write JobBackends: carol and everything else in the namespace; dan, erin and frank more and more."""
    cluster = installed.cluster
    more = {"erin": "pods", "frank": "pods,services"}
    for name, resources in more.items():
        cluster.kubectl("-n", NAMESPACE, "create", "role", name, "--verb=create", f"--resource={resources}")
        cluster.kubectl("-n", NAMESPACE, "create", "rolebinding", name, f"--role={name}", f"--user={name}")
    for name, role in (("carol", "admin"), *((name, f"dj-durablejob-{part}") for name in ("dan", "erin", "frank")
                                             for part in ("view", "edit", "admin"))):  # fmt: skip
        binding = ["rolebinding", f"{name}-{role}", f"--clusterrole={role}", f"--user={name}"]
        cluster.kubectl("-n", NAMESPACE, "create", *binding)
    found = {name: user(installed, name) for name in ("carol", "dan", "erin", "frank")}
    deadline = time.monotonic() + 30
    while allowed(found["dan"], backend(failureLogLines=1), "JobBackend"):
        assert time.monotonic() < deadline, "the policy is not in force"
        time.sleep(0.2)
    return found


@pytest.mark.parametrize(
    ("name", "kubernetes", "words"),
    [
        ("dan", {"failureLogLines": 1}, "spec.kubernetes.failureLogLines: dan may not get pods/log"),
        ("dan", {"spark": {}}, "spec.kubernetes.spark: dan may not create pods"),
        ("erin", {"spark": {"ui": {}}}, "spec.kubernetes.spark.ui: erin may not create services"),
        (
            "frank",
            {"spark": {"ui": {"ingress": INGRESS}}},
            "spec.kubernetes.spark.ui.ingress: frank may not create ingresses.networking.k8s.io",
        ),
    ],
    ids=["logs", "pods", "services", "ingresses"],
)
def test_a_backend_does_nothing_that_its_author_may_not_do(
    authors: dict[str, Api], name: str, kubernetes: Any, words: str
) -> None:
    made = f"{name}-{len(json.dumps(kubernetes))}"
    with pytest.raises(Refused, match=f"{re.escape(words)} in namespace people, and so may not"):
        authors[name].create("JobBackend", made, backend(**kubernetes))
    authors["carol"].create("JobBackend", made, backend(**kubernetes), keep=True)
    with pytest.raises(Refused, match=re.escape(words)):
        authors[name].patch("JobBackend", made, backend(startDeadlineSeconds=60))
    authors["carol"].patch("JobBackend", made, backend(startDeadlineSeconds=60))


def test_a_backend_that_adds_nothing_to_the_jobs_own_is_every_authors(authors: dict[str, Api]) -> None:
    authors["dan"].create("JobBackend", "plain", backend(), keep=True)
    authors["dan"].patch("JobBackend", "plain", backend(startDeadlineSeconds=60))
    authors["dan"].create("JobBackend", "elsewhere", {"plugin": {"name": "fake"}})


def test_what_changes_nothing_of_what_jobs_get_needs_no_further_right(
    installed: Installed, authors: dict[str, Api]
) -> None:
    authors["carol"].create("JobBackend", "noted", backend(failureLogLines=1), keep=True)
    note = ["annotate", "jobbackend", "noted", "durablejob.io/confirm-restore=1", "--as=dan"]
    assert "annotated" in installed.cluster.kubectl("-n", NAMESPACE, *note)


def test_for_all_namespaces_the_right_is_needed_in_all(installed: Installed, authors: dict[str, Api]) -> None:
    cluster = installed.cluster
    cluster.kubectl("create", "clusterrole", "gina", "--verb=create", "--resource=clusterjobbackends.durablejob.io")
    cluster.kubectl("create", "clusterrolebinding", "gina", "--clusterrole=gina", "--user=gina")
    cluster.kubectl("-n", NAMESPACE, "create", "rolebinding", "gina", "--clusterrole=admin", "--user=gina")
    gina = user(installed, "gina")
    with pytest.raises(Refused, match="gina may not get pods/log in all namespaces"):
        gina.create("ClusterJobBackend", "wide", backend(failureLogLines=1))
    gina.create("ClusterJobBackend", "wide", backend())
    cluster.kubectl("create", "clusterrolebinding", "gina-view", "--clusterrole=view", "--user=gina")
    deadline = time.monotonic() + 30
    while not allowed(gina, backend(failureLogLines=1), "ClusterJobBackend"):
        assert time.monotonic() < deadline, "the right in all namespaces is not enough"
        time.sleep(0.2)


@pytest.mark.parametrize(("user", "verb"), [("eve", "watch"), ("bob", "deletecollection")])
def test_the_clusters_own_roles_have_their_share(installed: Installed, bob: Api, user: str, verb: str) -> None:
    command = ["auth", "can-i", verb, "durablejobs.durablejob.io", "--as", user, "-n", NAMESPACE]
    assert installed.cluster.kubectl(*command).strip() == "yes"  # kubectl fails otherwise


def test_backends_are_written_by_administrators(authors: dict[str, Api], bob: Api) -> None:
    spec = {"plugin": {"name": "fake"}}
    with pytest.raises(Refused, match='cannot create resource "jobbackends"'):
        bob.create("JobBackend", "b", spec)
    authors["carol"].create("JobBackend", "b", spec)
