"""The cluster that tests get."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.testbed import kube
from tests.testbed.errors import TestbedError
from tests.testbed.kube.builtin import BuiltCluster
from tests.waiting import eventually


@pytest.fixture(scope="module")
def cluster() -> Iterator[kube.Cluster]:
    with kube.running(audit=True) as made:
        yield made


def test_kubectl_is_the_administrator_of_a_real_cluster(cluster: kube.Cluster) -> None:
    assert "default" in cluster.kubectl("get", "namespaces", "--output=name").replace("namespace/", "").split()
    assert json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["major"] == "1"
    assert cluster.url.startswith("https://")


def test_kubectl_tells_what_went_wrong(cluster: kube.Cluster) -> None:
    with pytest.raises(TestbedError, match='namespaces "none" not found'):
        cluster.kubectl("get", "namespace", "none")


def test_another_user_is_known_but_may_do_nothing(cluster: kube.Cluster) -> None:
    user = str(cluster.user_kubeconfig("jane", ["team"]))
    who = json.loads(cluster.kubectl("--kubeconfig", user, "auth", "whoami", "--output=json"))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("jane", ["team", "system:authenticated"])
    with pytest.raises(TestbedError, match='User "jane" cannot list resource "pods"'):
        cluster.kubectl("--kubeconfig", user, "get", "pods")


def test_the_cluster_signs_users_for_clusters_that_are_not_ours(cluster: kube.Cluster, tmp_path: Path) -> None:
    theirs = kube.Cluster(cluster.kubeconfig, tmp_path)
    user = str(theirs.user_kubeconfig("joe", ["team"]))
    assert "joe" in cluster.kubectl("--kubeconfig", user, "auth", "whoami")


def test_what_a_quota_counts_and_is_not_there_is_found_within_seconds(cluster: kube.Cluster) -> None:
    """As a create leaves it that was cut off after the API server's admission had counted it."""
    built = _built(cluster)
    built.kubectl("create", "namespace", "counted")
    built.kubectl("create", "quota", "few", "--namespace=counted", "--hard=count/pods=1")
    quota = ("--namespace=counted", "resourcequota", "few", "--output=jsonpath={.status.used}")
    eventually(lambda: built.kubectl("get", *quota) == '{"count/pods":"0"}', "it is not counted")
    cut_off = json.dumps({"status": {"used": {"count/pods": "1"}}})
    said = built.kubectl("patch", *quota, "--subresource=status", "--type=merge", f"--patch={cut_off}")
    assert said == '{"count/pods":"1"}'
    eventually(lambda: built.kubectl("get", *quota) == '{"count/pods":"0"}', "it is not counted anew")


def test_a_given_cluster_is_used_and_not_stopped(cluster: kube.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLEJOB_KUBECONFIG", str(cluster.kubeconfig))
    with kube.running() as given:
        assert given.kubeconfig == cluster.kubeconfig
        assert given.url == cluster.url
        with pytest.raises(TestbedError, match="cannot be stopped from here"):
            given.stop_apiserver()
        with pytest.raises(TestbedError, match="cannot be stopped from here"):
            given.stop_etcd()
    assert "default" in cluster.kubectl("get", "namespaces")


def test_a_given_kubeconfig_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLEJOB_KUBECONFIG", "/no/such/file")
    with pytest.raises(TestbedError, match="DURABLEJOB_KUBECONFIG names /no/such/file"), kube.running():
        pass


def test_what_was_written_survives_the_end_of_kube_apiserver(cluster: kube.Cluster) -> None:
    built = _built(cluster)
    built.kubectl("create", "configmap", "survivor")
    url = built.url
    built.stop_apiserver()
    with pytest.raises(TestbedError):
        built.kubectl("get", "configmap", "survivor")
    built.start_apiserver()
    assert built.url == url
    assert "survivor" in built.kubectl("get", "configmap", "survivor")


def test_a_restored_backup_takes_everything_back(cluster: kube.Cluster) -> None:
    built = _built(cluster)
    built.kubectl("create", "configmap", "older")
    backup = built.backup("test")
    built.kubectl("create", "configmap", "younger")
    built.restore(backup)
    found = built.kubectl("get", "configmaps", "--output=name")
    assert "configmap/older" in found
    assert "configmap/younger" not in found


def test_what_was_written_survives_the_end_of_etcd(cluster: kube.Cluster) -> None:
    built = _built(cluster)
    built.kubectl("create", "configmap", "kept")
    built.stop_etcd()
    with pytest.raises(TestbedError):
        built.kubectl("get", "configmap", "kept", "--request-timeout=3s")
    built.start_etcd()
    built.start_apiserver()
    assert "kept" in built.kubectl("get", "configmap", "kept")


def test_metrics_and_the_audit_log_can_be_read(cluster: kube.Cluster) -> None:
    built = _built(cluster)
    assert "apiserver_request_total" in built.kubectl("get", "--raw", "/metrics")
    lines = built.audit_log.read_text().splitlines()
    assert "/api/v1/namespaces" in {json.loads(line)["requestURI"].partition("?")[0] for line in lines}


def test_where_kind_fails_although_docker_answers_the_built_cluster_steps_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls"
    _program(tmp_path / "docker", "exit 0")
    _program(tmp_path / "kind", f'echo "$1 $2" >> {calls}; [ "$1" != create ]')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("DURABLEJOB_KUBECONFIG", raising=False)
    with kube.running() as cluster:
        assert isinstance(cluster, BuiltCluster)
        assert httpx.get(f"{cluster.url}/healthz", verify=False).text == "ok"
    assert calls.read_text().splitlines() == ["get clusters", "create cluster", "delete cluster"]
    assert "`kind create cluster` fails here (exit code 1): using the built cluster" in capsys.readouterr().err


def _built(cluster: kube.Cluster) -> BuiltCluster:
    if not isinstance(cluster, BuiltCluster):
        pytest.skip("the cluster is not one that we built")
    return cluster


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
