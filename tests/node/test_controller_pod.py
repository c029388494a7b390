"""The controller at home: as a pod of its own image, under restricted pod security, with the rights it needs."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.node.conftest import manifest
from tests.node.programs import Programs
from tests.testbed.errors import TestbedError
from tests.testbed.images import controller as image
from tests.testbed.node import Node
from tests.testbed.process import Identity

NAMESPACE = "durablejob-system"
DEPLOYMENT = "deployment/durablejob-controller"


@pytest.fixture(scope="module", autouse=True)
def deployed(here: Node, desk: Desk) -> Iterator[None]:
    here.load(image.build())
    kubectl, file = desk.cluster.kubectl, str(manifest("controller.yaml"))
    kubectl("apply", "-f", file)
    try:
        try:
            kubectl("-n", NAMESPACE, "rollout", "status", DEPLOYMENT, "--timeout=120s")
        except TestbedError as error:
            raise TestbedError(f"{error}\n{kubectl('-n', NAMESPACE, 'logs', '--tail=20', DEPLOYMENT)}") from error
        desk.backend("in-cluster", {"kubernetes": {"failureLogLines": 1}})
        yield
    finally:
        kubectl("delete", "-f", file, "--timeout=60s")


def pod(desk: Desk) -> str:
    selector = "app=durablejob-controller"
    found = desk.cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "json")
    (one,) = [item for item in json.loads(found)["items"] if not item["metadata"].get("deletionTimestamp")]
    return str(one["metadata"]["name"])


def test_it_runs_a_kubernetes_job_to_its_end(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(backend="in-cluster"))
    assert desk.end(name)["state"] == "Succeeded"
    assert programs.starts(name) == 1


def test_its_account_may_read_the_logs_that_it_is_to_tell(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job("echo no such table; exit 2", backend="in-cluster"))
    assert desk.end(name)["state"] == "Failed"
    assert desk.get(name)["status"]["current"]["message"].endswith("no such table")


def test_its_pod_deleted_by_force_in_the_middle_each_program_starts_once(desk: Desk, programs: Programs) -> None:
    names = [desk.submit(programs.job("sleep 2", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    desk.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod(desk), "--force", "--grace-period=0")
    for name in names:
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_its_process_killed_in_the_middle_each_program_starts_once(desk: Desk, programs: Programs) -> None:
    names = [desk.submit(programs.job("sleep 2", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    process_of(pod(desk)).send(signal.SIGKILL)  # its kubelet starts another one in the same pod
    for name in names:
        assert desk.end(name, 120)["state"] == "Succeeded"
        assert programs.starts(name) == 1


def test_with_two_replicas_and_the_leader_frozen_the_other_goes_on_and_nothing_starts_twice(
    desk: Desk, programs: Programs
) -> None:
    kubectl = desk.cluster.kubectl
    kubectl("-n", NAMESPACE, "scale", DEPLOYMENT, "--replicas=2")
    kubectl("-n", NAMESPACE, "rollout", "status", DEPLOYMENT, "--timeout=120s")
    names = [desk.submit(programs.job("sleep 3", backend="in-cluster")) for _ in range(6)]
    desk.until("durablejobs", names[3], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    first = leader(desk)
    frozen = process_of(first)
    frozen.send(signal.SIGSTOP)
    try:
        for name in names:
            assert desk.end(name, 120)["state"] == "Succeeded"
        assert leader(desk) != first
    finally:
        frozen.send(signal.SIGCONT)
    last = desk.submit(programs.job(backend="in-cluster"))  # both are awake now
    assert desk.end(last)["state"] == "Succeeded"
    assert [programs.starts(name) for name in [*names, last]] == [1] * 7


def leader(desk: Desk) -> str:
    """Name of the pod that holds the lease."""
    path = "jsonpath={.items[0].spec.holderIdentity}"
    return desk.cluster.kubectl("-n", NAMESPACE, "get", "leases", "-o", path).rpartition("-")[0]


def process_of(name: str) -> Identity:
    """The controller's process in this pod, as the machine sees it."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            is_it = b"durablejob_controller" in (entry / "cmdline").read_bytes()
            if is_it and f"HOSTNAME={name}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return Identity.of(pid)
    raise AssertionError(f"no process of {name}")


def test_it_can_write_nowhere_and_is_not_root(here: Node, desk: Desk) -> None:
    look = "import os, pathlib; print(os.getuid()); pathlib.Path('/app/x').touch()"
    command = ["-n", NAMESPACE, "exec", DEPLOYMENT, "--", "python3", "-c"]
    assert desk.cluster.kubectl(*command, "import os; print(os.getuid(), os.getgid())").split() == ["65532", "65532"]
    with pytest.raises(TestbedError, match="Read-only file system"):
        desk.cluster.kubectl(*command, look)
