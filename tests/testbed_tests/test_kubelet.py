"""The fake kubelet: what it says of pods, and what stands in its ledger."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.testbed.kube import Cluster, kubelet
from tests.testbed.kube.builtin import BuiltCluster
from tests.testbed.kube.kubelet import END, KEY, SECONDS, FakeKubelet
from tests.testbed.kube.kubelet_logs import LAST

PATIENCE = 40.0


class Jobs:
    """Plain Jobs in a namespace of the tests' own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def kubectl(self, *args: str, body: object = None) -> str:
        text = json.dumps(body) if body is not None else None
        return self._cluster.kubectl("--namespace", self._namespace, *args, input=text)

    def create(self, **notes: str) -> str:
        """A Job whose pods have these annotations; returns its name, which is also their key."""
        name = f"job-{secrets.token_hex(3)}"
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}
        meta = {"labels": {KEY: name}, "annotations": notes}
        spec = {"backoffLimit": 0, "template": {"metadata": meta, "spec": pod}}
        self.kubectl("create", "-f", "-", body={
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})  # fmt: skip
        return name

    def pods(self, name: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-l", f"{KEY}={name}", "-o", "json"))[
            "items"
        ]
        return items

    def until(self, name: str, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until its only pod is so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pods = self.pods(name)
            if pods and true(pods[0]):
                return pods[0]
            assert time.monotonic() < deadline, pods
            time.sleep(0.2)


def exit_code(pod: dict[str, Any]) -> int | None:
    states = [status["state"] for status in pod["status"].get("containerStatuses", ())]
    found: int | None = states[0].get("terminated", {}).get("exitCode") if states else None
    return found


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> Iterator[Jobs]:
    namespace = f"kubelet-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    yield Jobs(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def fake(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubelet]:
    with kubelet.running(cluster, tmp_path_factory.mktemp("kubelet"), "test-node") as running:
        yield running


@pytest.mark.parametrize(
    ("end", "phase", "code"), [("succeed", "Succeeded", 0), ("fail:7", "Failed", 7), ("oom", "Failed", 137)]
)
def test_a_pod_ends_as_its_annotation_says(fake: FakeKubelet, jobs: Jobs, end: str, phase: str, code: int) -> None:
    name = jobs.create(**{END: end, SECONDS: "0.3"})
    pod = jobs.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    assert (pod["status"]["phase"], exit_code(pod)) == (phase, code)
    jobs.kubectl("wait", "job", name, "--timeout=20s", f"--for=condition={'Failed' if code else 'Complete'}")


def test_the_ledger_has_one_line_for_each_start_also_over_a_restart(fake: FakeKubelet, jobs: Jobs) -> None:
    name = jobs.create(**{END: "hold"})
    pod = jobs.until(name, lambda pod: pod["status"]["phase"] == "Running")
    fake.stop()
    fake.start()
    jobs.until(jobs.create(), lambda pod: pod["status"]["phase"] == "Succeeded")
    (start,) = [start for start in fake.starts() if start.key == name]
    assert (start.pod, start.job) == (pod["metadata"]["uid"], pod["metadata"]["ownerReferences"][0]["uid"])
    assert fake.count(name) == 1


def test_what_the_api_server_did_not_take_is_told_again_and_nothing_is_started_again(
    fake: FakeKubelet, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = fake._api.patch_namespaced_pod_status
    refused: list[str] = []

    def refuse_once(name: str, *args: Any, **more: Any) -> Any:
        if not refused:
            refused.append(name)
            raise ApiException(status=500)
        return write(name, *args, **more)

    monkeypatch.setattr(fake._api, "patch_namespaced_pod_status", refuse_once)
    name = jobs.create(**{END: "hold"})
    pod = jobs.until(name, lambda pod: pod["status"]["phase"] == "Running")
    assert refused == [pod["metadata"]["name"]]
    assert fake.count(name) == 1


def test_a_deleted_pod_is_told_to_end_and_then_gone(fake: FakeKubelet, jobs: Jobs) -> None:
    name = jobs.create(**{END: "hold"})
    pod = jobs.until(name, lambda pod: pod["status"]["phase"] == "Running")
    jobs.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=30s")
    assert jobs.pods(name) == []
    jobs.kubectl("wait", "job", name, "--timeout=20s", "--for=condition=Failed")
    assert fake.count(name) == 1


def test_the_log_of_a_container_is_told_line_by_line(cluster: Cluster, fake: FakeKubelet, jobs: Jobs) -> None:
    if not isinstance(cluster, BuiltCluster):
        pytest.skip("the API server is on another machine than the kubelet, and cannot ask it")
    name = jobs.create()
    pod = jobs.until(name, lambda pod: pod["status"]["phase"] == "Succeeded")["metadata"]["name"]
    assert jobs.kubectl("logs", pod, "--tail=1") == f"{LAST}\n"
    assert jobs.kubectl("logs", pod).splitlines()[1:] == [LAST]


def test_nothing_is_started_that_is_on_no_node(cluster: Cluster, jobs: Jobs, fake: FakeKubelet) -> None:
    name = jobs.create()
    jobs.until(name, lambda pod: pod["status"]["phase"] == "Succeeded")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gated", "labels": {KEY: "gated"}}}
    spec = {"schedulingGates": [{"name": "durablejob.io/start"}], "containers": [{"name": "main", "image": "i"}]}
    jobs.kubectl("create", "-f", "-", body={**pod, "spec": spec})
    jobs.until(jobs.create(), lambda pod: pod["status"]["phase"] == "Succeeded")
    assert fake.count("gated") == 0


def test_what_is_pulled_for_ever_is_never_started(fake: FakeKubelet, jobs: Jobs) -> None:
    name = jobs.create(**{END: "stuck"})
    pod = jobs.until(name, lambda pod: pod["status"].get("containerStatuses"))
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert fake.count(name) == 0


def test_its_node_goes_with_it(cluster: Cluster, tmp_path: Path) -> None:
    with kubelet.running(cluster, tmp_path, "short-lived"):
        assert "short-lived" in cluster.kubectl("get", "nodes", "--output=name")
    assert "short-lived" not in cluster.kubectl("get", "nodes", "--output=name")
