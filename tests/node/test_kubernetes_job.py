"""Kubernetes Jobs on real pods, the controller as a process of the machine; judged by the programs' own ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.desk import Desk
from tests.node.programs import HOLD, Programs
from tests.testbed import controller as controllers
from tests.testbed import node
from tests.testbed.controller import Controller
from tests.testbed.images import busybox
from tests.testbed.kube import Cluster
from tests.testbed.node import Node


@pytest.fixture(scope="module", autouse=True)
def controller(crds: Cluster, here: Node, desk: Desk) -> Iterator[Controller]:
    with controllers.running(crds, "--namespaces", "default", "--poll-interval", "0.5") as running:
        running.wait_leading()
        desk.backend("here", {"kubernetes": {}})
        desk.backend("telling", {"kubernetes": {"failureLogLines": 3}})
        yield running


def ends(desk: Desk, name: str) -> tuple[str, str]:
    status = desk.end(name)
    return status["state"], status["current"]["reason"]


def message(desk: Desk, name: str) -> str:
    return str(desk.get(name)["status"]["current"]["message"])


def job_of(desk: Desk, name: str) -> str:
    """``job/<name>``, as kubectl takes it."""
    return str(desk.get(name)["status"]["externalID"]).lower()


def test_a_program_that_ends_well_has_succeeded(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job())
    assert ends(desk, name) == ("Succeeded", "Succeeded")
    assert programs.starts(name) == 1


def test_a_program_that_fails_is_failed_with_its_exit_code_and_its_log_is_not_told(
    desk: Desk, programs: Programs
) -> None:
    name = desk.submit(programs.job("echo a secret; exit 3"))
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    assert desk.get(name)["status"]["current"]["exitCode"] == 3
    assert "ended with exit code 3 (Error)" in message(desk, name)
    assert "secret" not in message(desk, name)
    assert programs.starts(name) == 1


def test_the_last_lines_are_told_where_the_administrator_wants_that(desk: Desk, programs: Programs) -> None:
    # All in one stream: which of two pipes a runtime reads first is left to chance.
    script = 'exec >&2; i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo "line $i"; done; echo "no such table"; exit 4'
    name = desk.submit(programs.job(script, backend="telling"))
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    assert message(desk, name).endswith("Its last lines:\nline 499\nline 500\nno such table")


def test_a_program_that_takes_too_much_memory_is_failed_as_such(desk: Desk, programs: Programs) -> None:
    limit = {"resources": {"limits": {"memory": "32Mi"}}}
    # The shell stays pid 1, and must not swallow what became of its child.
    name = desk.submit(programs.job(template=programs.template("exec tail /dev/zero", container=limit)))
    assert ends(desk, name) == ("Failed", "OOMKilled")
    assert desk.get(name)["status"]["current"]["exitCode"] == 137
    assert programs.starts(name) == 1


def test_an_image_that_is_nowhere_is_said_while_the_job_waits(desk: Desk, programs: Programs) -> None:
    template = programs.template(container={"image": "lab.local/none:1"})
    name = desk.submit(programs.job(template=template, activeDeadlineSeconds=20))
    told = desk.until("durablejobs", name, lambda o: "ImagePull" in str(o.get("status", {}).get("current")))["status"]
    assert (told["state"], told["current"]["reason"]) == ("Submitted", "ImagePullBackOff")
    assert "lab.local/none:1" in told["current"]["message"]
    assert ends(desk, name) == ("Failed", "DeadlineExceeded")
    assert programs.starts(name) == 0
    desk.nothing_is_left(programs.key(name))


def test_a_deadline_ends_the_program_first(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(HOLD, activeDeadlineSeconds=5))
    assert ends(desk, name) == ("Failed", "DeadlineExceeded")
    desk.nothing_is_left(programs.key(name))
    assert programs.starts(name) == 1


def test_the_jobs_own_deadline_counts_too(desk: Desk, programs: Programs) -> None:
    template = programs.template(HOLD, activeDeadlineSeconds=3)
    name = desk.submit(programs.job(template=template))
    assert ends(desk, name) == ("Failed", "DeadlineExceeded")
    assert programs.starts(name) == 1


def test_suspended_it_starts_nothing_until_it_is_released(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(suspend=True))
    desk.until("durablejobs", name, lambda o: o.get("status", {}).get("current", {}).get("reason") == "Suspended")
    assert programs.starts(name) == 0
    desk.patch(name, {"suspend": False})
    assert ends(desk, name) == ("Succeeded", "Succeeded")
    assert programs.starts(name) == 1


def test_of_an_indexed_job_each_index_starts_once(desk: Desk, programs: Programs) -> None:
    script = 'echo "$KEY/$JOB_COMPLETION_INDEX" >> /ledger/ledger'
    template = programs.template(script, completionMode="Indexed", completions=3, parallelism=2)
    name = desk.submit(programs.job(template=template))
    assert ends(desk, name) == ("Succeeded", "Succeeded")
    key, starts = programs.key(name), desk.starts()
    assert [starts[f"{key}/{index}"] for index in range(3)] == [1, 1, 1]
    assert programs.starts(name) == 3


def test_a_failed_index_fails_the_job_and_is_not_tried_again(desk: Desk, programs: Programs) -> None:
    script = 'echo "$KEY/$JOB_COMPLETION_INDEX" >> /ledger/ledger; exit $JOB_COMPLETION_INDEX'
    template = programs.template(script, completionMode="Indexed", completions=2, parallelism=1)
    name = desk.submit(programs.job(template=template))
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    assert desk.get(name)["status"]["current"]["exitCode"] == 1
    key, starts = programs.key(name), desk.starts()
    assert [starts[f"{key}/{index}"] for index in range(2)] == [1, 1]


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_job_deleted_by_hand_ends_its_program_and_is_failed_as_deleted(
    desk: Desk, programs: Programs, cascade: str
) -> None:
    name = desk.submit(programs.job(HOLD))
    desk.state(name, "Running")
    desk.cluster.kubectl("-n", "default", "delete", job_of(desk, name), "--wait=false", f"--cascade={cascade}")
    assert ends(desk, name) == ("Failed", "DeletedExternally")
    desk.nothing_is_left(programs.key(name))
    assert programs.starts(name) == 1


def test_a_pod_deleted_by_hand_is_not_started_again(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(HOLD))
    desk.state(name, "Running")
    key = programs.key(name)
    desk.cluster.kubectl("-n", "default", "delete", "pod", "-l", f"durablejob.io/attempt-key={key}", "--wait=false")
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    assert programs.starts(name) == 1


def test_an_evicted_pod_is_not_started_again(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(HOLD))
    desk.state(name, "Running")
    (pod,) = [path.partition("/")[2] for path in desk.objects(programs.key(name)) if path.startswith("pod/")]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
    path = f"/api/v1/namespaces/default/pods/{pod}/eviction"
    desk.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    assert ends(desk, name) == ("Failed", "BackoffLimitExceeded")
    assert programs.starts(name) == 1


def test_of_a_node_that_is_gone_for_good_the_program_is_failed_and_not_started_elsewhere(
    desk: Desk, programs: Programs, crds: Cluster
) -> None:
    with node.running(crds, "doomed") as doomed:
        doomed.load(busybox.build())
        template = programs.template(HOLD)
        template["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "doomed"}
        name = desk.submit(programs.job(template=template))
        desk.state(name, "Running")
        doomed.power_off()
        crds.kubectl("wait", "--for=condition=Ready=Unknown", "node/doomed", "--timeout=90s")
        assert desk.get(name)["status"]["state"] == "Running"  # nobody can say more
        crds.kubectl("delete", "node", "doomed")
        # The pod garbage collector looks every 20 seconds, and once more before it believes that the node is gone.
        assert desk.end(name, 150)["state"] == "Failed"
    assert programs.starts(name) == 1


def test_a_cancel_tells_the_program_and_waits_until_it_has_ended(desk: Desk, programs: Programs) -> None:
    farewell = 'echo "$KEY/bye" >> /ledger/ledger'
    name = desk.submit(programs.job(f"trap 'sleep 2; {farewell}; exit 0' TERM; sleep 600 & wait"))
    desk.state(name, "Running")
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert ends(desk, name) == ("Cancelled", "Cancelled")
    key = programs.key(name)
    assert desk.starts()[f"{key}/bye"] == 1  # written before the end was
    desk.nothing_is_left(key)
    assert programs.starts(name) == 1


def test_a_deletion_leaves_nothing(desk: Desk, programs: Programs) -> None:
    name = desk.submit(programs.job(HOLD))
    desk.state(name, "Running")
    key = programs.key(name)
    desk.delete(name)
    desk.nothing_is_left(key)
    assert desk.starts()[key] == 1


def test_a_controller_killed_in_the_middle_starts_each_program_once(
    desk: Desk, programs: Programs, controller: Controller
) -> None:
    names = [desk.submit(programs.job("sleep 2")) for _ in range(8)]
    desk.until("durablejobs", names[4], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for name in names:
        assert ends(desk, name) == ("Succeeded", "Succeeded")
        assert programs.starts(name) == 1
