"""The YARN that tests get."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.testbed import yarn
from tests.testbed.errors import TestbedError
from tests.testbed.yarn import distribution


@pytest.fixture(scope="module")
def cluster() -> Iterator[yarn.Yarn]:
    with yarn.running() as made:
        yield made


def new_application(cluster: yarn.Yarn) -> str:
    url = f"{cluster.managers[0].url}/ws/v1/cluster/apps/new-application"
    answer = httpx.post(url, params={"user.name": yarn.USER}, timeout=30, trust_env=False)
    return str(answer.json()["application-id"])


def submit(cluster: yarn.Yarn, app: str) -> None:
    body = {
        "application-id": app, "application-name": "sleep", "resource": {"memory": 128, "vCores": 1},
        "max-app-attempts": 1, "am-container-spec": {"commands": {"command": "sleep 600"}},
    }  # fmt: skip
    url = f"{cluster.managers[0].url}/ws/v1/cluster/apps"
    httpx.post(url, params={"user.name": yarn.USER}, json=body, timeout=30, trust_env=False).raise_for_status()


def test_it_runs_containers_and_a_restarted_resource_manager_remembers_them(cluster: yarn.Yarn) -> None:
    app = new_application(cluster)
    submit(cluster, app)
    known = [one["id"] for one in cluster.apps()]
    assert known == [app]
    cluster.kill_manager()
    cluster.start_manager()
    cluster.await_nodes()
    assert [one["id"] for one in cluster.apps(states="ACCEPTED,RUNNING")] == [app]
    cluster.kill_app(app)


def test_hdfs_takes_files_and_says_who_they_belong_to(cluster: yarn.Yarn) -> None:
    cluster.mkdirs("/mine", mode="700", owner=yarn.USER)
    assert cluster.upload("/mine/a.txt", b"hello").endswith("/mine/a.txt")
    status = cluster.webhdfs("GET", "/mine", "GETFILESTATUS", user=yarn.USER).json()["FileStatus"]
    assert (status["owner"], status["permission"]) == (yarn.USER, "700")
    assert cluster.exists("/mine/a.txt")
    assert not cluster.exists("/mine/b.txt")


def test_a_restarted_name_node_has_kept_its_files(cluster: yarn.Yarn) -> None:
    cluster.upload("/kept.txt", b"kept")
    cluster.kill_name_node()
    cluster.start_name_node()
    assert cluster.exists("/kept.txt")


def test_in_safe_mode_it_reads_and_takes_no_file(cluster: yarn.Yarn) -> None:
    cluster.upload("/safe.txt", b"kept")
    cluster.safe_mode(True)
    try:
        assert cluster.exists("/safe.txt")
        refusal = cluster.webhdfs("PUT", "/other", "MKDIRS").json()["RemoteException"]
        assert refusal["exception"] == "SafeModeException"
    finally:
        cluster.safe_mode(False)
    cluster.upload("/other.txt", b"taken")


def test_without_maven_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DURABLEJOB_CACHE", str(tmp_path))
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mvn" else found(name))
    with pytest.raises(TestbedError, match="Debian package maven"):
        distribution.build()
