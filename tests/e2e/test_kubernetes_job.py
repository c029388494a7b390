"""Kubernetes Jobs, end to end: real API server, Job controller and controller process; the kubelet is a fake.

The judge is the fake kubelet's ledger, by the attempt's key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.desk import Desk, Object
from tests.testbed.controller import Controller
from tests.testbed.kube import Cluster, kubelet
from tests.testbed.kube.kubelet import END, GRACE, SECONDS, FakeKubelet

HOLD = {END: "hold"}


@pytest.fixture(scope="module")
def fake(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubelet]:
    with kubelet.running(crds, tmp_path_factory.mktemp("kubelet")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def here(controller: Controller, desk: Desk, fake: FakeKubelet) -> None:
    desk.backend("here", {"kubernetes": {}})


def work(notes: dict[str, str] | None = None, **template: Any) -> Object:
    """A Job whose pod does what its annotations say."""
    container = {"name": "main", "image": "example.invalid/etl:1"}
    pod = {"metadata": {"annotations": notes or {}}, "spec": {"containers": [container]}}
    return {"kubernetesJob": {"template": {"template": pod, **template}}}


def spec(notes: dict[str, str] | None = None, **more: Any) -> Object:
    return {"backendRef": {"name": "here", "type": "Kubernetes"}, **work(notes), **more}


def ends(desk: Desk, name: str) -> tuple[str, str]:
    status = desk.end(name)
    return status["state"], status["current"]["reason"]


def starts(desk: Desk, fake: FakeKubelet, name: str) -> int:
    return fake.count(desk.get(name)["status"]["current"]["key"])


def job_of(desk: Desk, name: str) -> str:
    """``job/<name>``, as kubectl takes it."""
    return str(desk.get(name)["status"]["externalID"]).lower()


def test_the_backend_says_what_it_promises(desk: Desk) -> None:
    status = desk.get("here", "jobbackends")["status"]
    (ready,) = status["conditions"]
    assert (ready["status"], status["guarantee"]) == ("True", "Conditional")
    assert status["version"].startswith("v1.")


def test_a_job_that_ends_well_has_succeeded_and_is_let_go(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec({SECONDS: "1"}))
    status = desk.end(name)
    assert (status["state"], status["current"]["exitCode"]) == ("Succeeded", 0)
    assert status["externalID"] == f"Job/dj-{status['current']['key']}"
    assert starts(desk, fake, name) == 1
    desk.cluster.kubectl("-n", "default", "delete", job_of(desk, name), "--timeout=30s")  # nothing of ours holds it


def test_a_cluster_backend_runs_jobs_in_the_namespace_of_each(desk: Desk, fake: FakeKubelet) -> None:
    everywhere = {"kubernetes": {}, "namespaces": [desk.namespace]}
    desk.apply({"kind": "ClusterJobBackend", "metadata": {"name": "everywhere"}, "spec": everywhere})
    ref = {"kind": "ClusterJobBackend", "name": "everywhere", "type": "Kubernetes"}
    name = desk.submit({**spec(), "backendRef": ref})
    assert desk.end(name)["state"] == "Succeeded"
    assert starts(desk, fake, name) == 1


def test_a_program_that_fails_ends_failed_with_its_exit_code(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec({END: "fail:3"}))
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    current = desk.get(name)["status"]["current"]
    assert current["exitCode"] == 3
    assert "ended with exit code 3" in current["message"]
    assert starts(desk, fake, name) == 1


def test_a_deadline_ends_it(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec(HOLD, activeDeadlineSeconds=3))
    assert ends(desk, name) == ("Failed", "DeadlineExceeded")
    desk.nothing_is_left(desk.get(name)["status"]["current"]["key"])


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_job_deleted_by_hand_ends_failed_as_deleted(desk: Desk, fake: FakeKubelet, cascade: str) -> None:
    name = desk.submit(spec(HOLD))
    desk.state(name, "Running")
    desk.cluster.kubectl("-n", "default", "delete", job_of(desk, name), "--wait=false", f"--cascade={cascade}")
    assert ends(desk, name) == ("Failed", "DeletedExternally")
    assert starts(desk, fake, name) == 1
    desk.nothing_is_left(desk.get(name)["status"]["current"]["key"])


def test_a_job_suspended_by_hand_after_its_start_ends_failed_as_preempted(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec(HOLD))
    desk.state(name, "Running")
    suspend = json.dumps({"spec": {"suspend": True}})
    desk.cluster.kubectl("-n", "default", "patch", job_of(desk, name), "--type=merge", "-p", suspend)
    assert ends(desk, name) == ("Failed", "Preempted")
    assert starts(desk, fake, name) == 1


def test_a_job_suspended_before_its_start_runs_when_it_is_released(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec(suspend=True))
    desk.until("durablejobs", name, lambda o: o.get("status", {}).get("current", {}).get("reason") == "Suspended")
    assert desk.get(name)["status"]["state"] == "Pending"
    desk.patch(name, {"suspend": False})
    assert desk.end(name)["state"] == "Succeeded"
    assert starts(desk, fake, name) == 1


def test_a_cancel_ends_the_pods_first(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec({**HOLD, GRACE: "2"}))
    desk.state(name, "Running")
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert ends(desk, name) == ("Cancelled", "Cancelled")
    desk.nothing_is_left(desk.get(name)["status"]["current"]["key"])
    assert starts(desk, fake, name) == 1


def test_a_deletion_ends_the_pods_first_and_leaves_nothing(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec({**HOLD, GRACE: "1"}))
    key = desk.state(name, "Running")["current"]["key"]
    desk.delete(name)
    desk.nothing_is_left(key)
    assert fake.count(key) == 1


def test_a_job_of_the_same_name_is_another_job(desk: Desk, fake: FakeKubelet) -> None:
    keys = []
    for _ in range(2):
        desk.submit(spec(), "same-name")
        status = desk.end("same-name")
        assert status["state"] == "Succeeded"
        keys.append(status["current"]["key"])
        desk.delete("same-name")
    assert keys[0] != keys[1]
    assert [fake.count(key) for key in keys] == [1, 1]


def test_orphaned_it_runs_on_without_us(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec(HOLD, deletionPolicy="Orphan"))
    desk.state(name, "Running")
    job = job_of(desk, name)
    desk.delete(name)
    found = json.loads(desk.cluster.kubectl("-n", "default", "get", job, "-o", "json"))
    assert found["status"]["active"] == 1
    assert not {"finalizers", "ownerReferences", "deletionTimestamp"} & found["metadata"].keys()
    desk.cluster.kubectl("-n", "default", "delete", job, "--timeout=30s")


def test_the_next_attempt_runs_the_program_once_more(desk: Desk, fake: FakeKubelet) -> None:
    name = desk.submit(spec({END: "fail:1"}))
    assert desk.end(name)["state"] == "Failed"
    first = desk.get(name)["status"]["current"]["key"]
    desk.patch(name, {"attempt": 2, **work({END: "succeed"})})
    desk.until("durablejobs", name, lambda o: o["status"]["current"]["number"] == 2)
    assert desk.end(name)["state"] == "Succeeded"
    assert (fake.count(first), starts(desk, fake, name)) == (1, 1)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"backoffLimit": 4}, "kubernetesJob.template.backoffLimit: must be 0"),
        ({"complitions": 1}, 'unknown field "spec.complitions"'),
        ({"activeDeadlineSeconds": -1}, "spec.activeDeadlineSeconds"),
    ],
    ids=["refused by us", "unknown", "refused by the API server"],
)
def test_an_invalid_job_fails_at_once_and_names_the_field(desk: Desk, template: Object, words: str) -> None:
    name = desk.submit({**spec(), **work(**template)})
    assert ends(desk, name) == ("Failed", "InvalidSpec")
    assert words in desk.get(name)["status"]["current"]["message"]


def test_a_controller_killed_in_the_middle_starts_each_program_once(
    desk: Desk, fake: FakeKubelet, controller: Controller
) -> None:
    names = [desk.submit(spec({SECONDS: "2"})) for _ in range(10)]
    desk.until("durablejobs", names[4], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for name in names:
        assert desk.end(name)["state"] == "Succeeded"
        assert starts(desk, fake, name) == 1
