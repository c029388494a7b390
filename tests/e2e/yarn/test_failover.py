"""Two ResourceManagers and a real ZooKeeper: when the active one dies the other takes over; each program runs once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import Stage
from tests.testbed import yarn
from tests.testbed.controller import Controller


@pytest.fixture(scope="module")
def pair(controller: Controller, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with yarn.running(yarn.Options(managers=2)) as cluster:
        yield Stage(cluster, desk, tmp_path_factory.mktemp("pair"))


def test_jobs_outlive_the_active_resource_manager_and_new_ones_find_the_other(pair: Stage, desk: Desk) -> None:
    pair.backend("pair")
    active = pair.cluster.active()
    assert active is not None
    status = pair.ready("pair")
    assert f"active at {pair.cluster.managers[active].url}" in status["message"]
    assert "is STANDBY" in status["message"]
    assert status["guarantee"] == "Conditional"

    running = desk.submit(pair.generic("pair", "over", seconds=30), "over")
    app = desk.state(running, "Running", timeout=90)["externalID"]
    pair.cluster.kill_manager(active)
    names = [desk.submit(pair.generic("pair", f"between-{n}"), f"between-{n}") for n in range(3)]
    ends = {name: desk.end(name, timeout=150) for name in (running, *names)}

    assert {name: end["state"] for name, end in ends.items()} == dict.fromkeys(ends, "Succeeded"), ends
    assert ends[running]["externalID"] == app
    assert pair.cluster.active() == 1 - active
    assert [desk.starts()[name] for name in ends] == [1] * 4


def test_while_no_resource_manager_is_active_jobs_wait_and_say_so(pair: Stage, desk: Desk) -> None:
    desk.submit(pair.generic("pair", "patient", seconds=1), "patient-before")
    desk.end("patient-before", timeout=120)
    for number, manager in enumerate(pair.cluster.managers):
        if pair.cluster.process(manager.name).alive:
            pair.cluster.kill_manager(number)
    desk.submit(pair.generic("pair", "waits"), "waits")
    desk.until("jobbackends", "pair", lambda o: told(o, "ResourceManagerUnreachable"), 90)
    assert desk.get("waits")["status"]["state"] == "Pending"
    time.sleep(1)
    for number in range(2):
        pair.cluster.start_manager(number, wait=False)
    pair.cluster.await_active()
    assert desk.end("waits", timeout=150)["state"] == "Succeeded"
    assert desk.starts()["waits"] == 1


def told(backend: dict[str, object], reason: str) -> bool:
    """The backend's Ready condition has this reason."""
    status = backend.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(condition["type"] == "Ready" and condition["reason"] == reason for condition in conditions)
