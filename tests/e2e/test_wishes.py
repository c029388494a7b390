"""What people wish, on the real API server with the real controller process: the next attempt, an end, a deletion.

The external system is the fake backend, which lives in the controller: killing that loses its jobs, at once.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.desk import Desk, Object
from tests.testbed.controller import Controller
from tests.testbed.errors import TestbedError

HOLDER = {"incarnation": "run-1", "id": "try-1", "tryNumber": 1}


@pytest.fixture(scope="module", autouse=True)
def trial(controller: Controller, desk: Desk) -> None:
    desk.backend("trial", {"plugin": {"name": "fake"}, "clusterID": "wishes"})


def spec(seconds: float = 0, outcome: str = "succeed", backend: str = "trial", **more: Any) -> Object:
    work = {"plugin": {"parameters": {"seconds": str(seconds), "outcome": outcome}}}
    return {"backendRef": {"name": backend, "type": "Plugin"}, **work, **more}


def again(desk: Desk, name: str, **more: Any) -> Object:
    """Ask for attempt 2, which succeeds; its status."""
    desk.patch(name, {"attempt": 2, "plugin": {"parameters": {"seconds": "0", "outcome": "succeed"}}, **more})
    desk.until("durablejobs", name, lambda o: o["status"]["current"]["number"] == 2)
    return desk.end(name)


def gone(desk: Desk, name: str) -> bool:
    return name not in [job["metadata"]["name"] for job in desk.jobs()]


def kubectl(desk: Desk, *arguments: str) -> str:
    return desk.cluster.kubectl("-n", desk.namespace, *arguments)


@pytest.mark.parametrize("first", ["Succeeded", "Failed", "Cancelled"])
def test_the_next_attempt_runs_after_each_end(desk: Desk, first: str) -> None:
    name = desk.submit(spec(60 if first == "Cancelled" else 0, "fail" if first == "Failed" else "succeed"))
    if first == "Cancelled":
        desk.state(name, "Running")
        desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert desk.end(name)["state"] == first
    with pytest.raises(TestbedError, match=r"spec\.attempt: may only grow by one"):
        desk.patch(name, {"attempt": 3})
    status = again(desk, name)
    assert status["state"] == "Succeeded"
    assert [past["outcome"] for past in status["history"]] == [first]


def test_an_attempt_that_goes_on_is_not_followed_by_another(desk: Desk) -> None:
    name = desk.submit(spec(60))
    desk.state(name, "Running")
    with pytest.raises(TestbedError, match=r"spec\.attempt: may only grow by one, from a finished attempt"):
        desk.patch(name, {"attempt": 2})
    desk.delete(name)


def test_a_lost_attempt_is_followed_only_by_who_takes_the_risk(desk: Desk, controller: Controller) -> None:
    name = desk.submit(spec(600))
    desk.state(name, "Running")
    controller.kill()
    controller.start()
    assert desk.end(name)["state"] == "Lost"
    with pytest.raises(TestbedError, match=r"spec\.acceptLost: must be 1 before the next attempt"):
        desk.patch(name, {"attempt": 2})
    status = again(desk, name, acceptLost=1)
    assert status["state"] == "Succeeded"
    assert [past["outcome"] for past in status["history"]] == ["Lost"]


def test_only_the_holders_cancel_of_this_attempt_is_taken_and_then_it_stands(desk: Desk) -> None:
    name = desk.submit(spec(60, holder=HOLDER))
    desk.state(name, "Running")
    for wish, words in (
        (
            {"attempt": 1, "holderID": "try-0", "cause": "Cleared"},
            r"spec\.cancel\.holderID: must be the current holder",
        ),
        (
            {"attempt": 2, "holderID": "try-1", "cause": "Cleared"},
            r"spec\.cancel\.attempt: must be the current attempt",
        ),
    ):
        with pytest.raises(TestbedError, match=words):
            desk.patch(name, {"cancel": wish})
    assert desk.get(name)["status"]["state"] == "Running"
    desk.patch(name, {"cancel": {"attempt": 1, "holderID": "try-1", "cause": "Cleared"}})
    with pytest.raises(TestbedError, match=r"spec\.cancel: once given for an attempt it stands"):
        desk.patch(name, {"cancel": None})
    desk.patch(name, {"holder": {**HOLDER, "id": "try-2", "tryNumber": 2}})  # whoever holds later
    assert desk.end(name)["state"] == "Cancelled"


def test_a_deadline_ends_what_runs(desk: Desk) -> None:
    name = desk.submit(spec(60, activeDeadlineSeconds=2))
    status = desk.end(name)
    assert (status["state"], status["current"]["reason"]) == ("Failed", "DeadlineExceeded")


def test_with_orphan_it_is_let_go_at_once(desk: Desk) -> None:
    name = desk.submit(spec(60, deletionPolicy="Orphan"))
    desk.state(name, "Running")
    desk.delete(name)
    assert gone(desk, name)


def test_a_result_is_kept_until_its_holder_has_taken_it(desk: Desk) -> None:
    kept = desk.submit(spec(holder=HOLDER, ttlSecondsAfterFinished=1))
    nobodys = desk.submit(spec(ttlSecondsAfterFinished=1))
    assert desk.end(kept)["state"] == "Succeeded"
    deadline = time.monotonic() + 30
    while not gone(desk, nobodys):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(3)
    assert not gone(desk, kept)
    desk.patch(kept, {"holder": {**HOLDER, "acknowledged": 1}})
    while not gone(desk, kept):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_job_whose_backend_is_gone_for_good_is_let_go_by_an_annotation(desk: Desk) -> None:
    desk.backend("leaving", {"plugin": {"name": "fake"}, "clusterID": "leaving"})
    name = desk.submit(spec(600, backend="leaving"))
    desk.state(name, "Running")
    kubectl(
        desk, "patch", "jobbackend", "leaving", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}})
    )
    kubectl(desk, "delete", "jobbackend", "leaving", "--wait=false")
    deadline = time.monotonic() + 30
    while "leaving" in kubectl(desk, "get", "jobbackends", "-o", "name"):
        # Our finalizer comes back with the next probe: whoever forces it removes it again.
        kubectl(desk, "patch", "jobbackend", "leaving", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert time.monotonic() < deadline
    kubectl(desk, "delete", "dj", name, "--wait=false")
    desk.until("durablejobs", name, lambda o: o["status"]["current"]["reason"] == "BackendNotFound")
    time.sleep(2)
    assert desk.get(name)["metadata"]["deletionTimestamp"]
    kubectl(desk, "annotate", "dj", name, "durablejob.io/release=true")
    while not gone(desk, name):
        assert time.monotonic() < deadline + 30
        time.sleep(0.2)
