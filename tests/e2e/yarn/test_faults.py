"""Who is killed, restarted, repeated or delayed: each program starts once, and its end is the truth."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.desk import Desk
from tests.e2e.proxies import Sent, between
from tests.e2e.yarn.stage import Stage
from tests.testbed import controller as controllers
from tests.testbed import kube, yarn
from tests.testbed.controller import Controller


def test_every_submission_repeated_by_a_proxy_starts_each_program_once(stage: Stage, desk: Desk) -> None:
    names = [f"copied-{n}" for n in range(3)]
    with between(stage.cluster.managers[0].url, copies=3) as proxy:
        stage.backend("copied", through=proxy, clusterID="copied")
        for name in names:
            desk.submit(stage.generic("copied", name), name)
        for name in names:
            assert desk.end(name, timeout=120)["state"] == "Succeeded"
    assert [desk.starts()[name] for name in names] == [1, 1, 1]


def test_eight_submissions_of_one_id_at_once_are_one_application(stage: Stage, desk: Desk) -> None:
    """They race with the controller's own: none is accepted before they are sent."""
    sent: list[Sent] = []
    copies: list[Future[int]] = []
    with ThreadPoolExecutor(8) as pool:

        def burst() -> None:
            if not copies:
                copies.extend(pool.submit(post, stage, sent[0]) for _ in range(8))

        with between(stage.cluster.managers[0].url, seen=sent, on_create=burst) as proxy:
            stage.backend("eight", through=proxy, clusterID="eight")
            desk.submit(stage.generic("eight", "eight", seconds=3), "eight")
            desk.state("eight", "Submitted", "Running", timeout=60)
            assert {copy.result() for copy in copies} <= {202, 400}
            assert len(copies) == 8
            assert desk.end("eight", timeout=120)["state"] == "Succeeded"
            for _ in range(3):  # after its end, too
                post(stage, sent[0])
    time.sleep(2)
    assert desk.starts()["eight"] == 1


def post(stage: Stage, sent: Sent, cluster: yarn.Yarn | None = None) -> int:
    """Send a submission (again), past the controller."""
    manager = (cluster or stage.cluster).managers[0]
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{manager.url}{sent.path}", content=sent.body, headers=headers, timeout=30).status_code


def test_a_controller_killed_while_it_submits_starts_each_program_once(
    stage: Stage, desk: Desk, controller: Controller
) -> None:
    names = [f"cut-{n}" for n in range(6)]
    for name in names:
        desk.submit(stage.generic("yarn", name, seconds=1), name)
    desk.until("durablejobs", names[2], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for name in names:
        assert desk.end(name, timeout=120)["state"] == "Succeeded"
    assert [desk.starts()[name] for name in names] == [1] * 6


def test_a_controller_killed_when_its_submission_has_arrived_and_before_it_hears_of_it_starts_once(
    stage: Stage, desk: Desk, controller: Controller
) -> None:
    cut = threading.Event()

    def kill() -> None:
        if not cut.is_set():
            controller.kill()
            cut.set()

    with between(stage.cluster.managers[0].url, on_create=kill) as proxy:
        stage.backend("cutting", through=proxy, clusterID="cutting")
        for gated in (False, True):
            cut.clear()
            name = f"unheard-{'gated' if gated else 'staged'}"
            if gated:
                stage.backend("cutting-gated", through=proxy, gated=True, clusterID="cutting")
                work = stage.spark("cutting-gated", name, "count")  # without a SparkContext Spark ends it as failed
            else:
                work = stage.generic("cutting", name, seconds=1)
            desk.submit(work, name)
            assert cut.wait(90)
            controller.start()
            status = desk.end(name, timeout=180)
            assert status["state"] == "Succeeded", status
            assert desk.starts()[name] == 1


def test_two_controllers_without_any_lease_start_each_program_once(
    crds: kube.Cluster, stage: Stage, desk: Desk, controller: Controller
) -> None:
    options = ("--no-elect", "--namespaces", "default,yarn", "--poll-interval", "0.5")
    with controllers.running(crds, *options, name="second") as second:
        names = [f"pair-{n}" for n in range(6)]
        for name in names:
            desk.submit(stage.generic("yarn", name, seconds=1), name)
        for name in names:
            assert desk.end(name, timeout=120)["state"] == "Succeeded"
        for replica in (controller, second):  # both have decided
            assert replica.metric("reconcile_total") > 0
    assert [desk.starts()[name] for name in names] == [1] * 6


def test_a_resource_manager_killed_in_mid_submission_and_in_mid_run_loses_nothing(stage: Stage, desk: Desk) -> None:
    running = desk.submit(stage.generic("yarn", "on-the-way", seconds=25), "on-the-way")
    desk.state(running, "Running", timeout=60)
    app = stage.app_of(running)
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            killed.set()
            stage.cluster.kill_manager()

    with between(stage.cluster.managers[0].url, on_create=kill) as proxy:
        stage.backend("dying", through=proxy, clusterID="dying")
        names = [f"amid-{n}" for n in range(4)]
        for name in names:
            desk.submit(stage.generic("dying", name), name)
        assert killed.wait(60)
        time.sleep(1)
        stage.cluster.start_manager()
        stage.cluster.await_nodes()
        for name in names:
            status = desk.end(name, timeout=150)
            assert status["state"] == "Succeeded", (name, status)
    status = desk.end(running, timeout=120)
    assert (status["state"], status["externalID"]) == ("Succeeded", app)
    assert [desk.starts()[name] for name in (*names, running)] == [1] * 5


def test_nothing_is_posted_to_a_resource_manager_that_is_not_active_yet(stage: Stage, desk: Desk) -> None:
    """Restarted again and again while jobs come: a POST of an id that it is about to recover would end it."""
    names = []
    for turn in range(2):
        stage.cluster.kill_manager()
        for number in range(3):
            names.append(desk.submit(stage.generic("yarn", f"again-{turn}-{number}"), f"again-{turn}-{number}"))
        stage.cluster.start_manager()
    stage.cluster.await_nodes()
    for name in names:
        status = desk.end(name, timeout=150)
        assert status["state"] == "Succeeded", (name, status)
    assert [desk.starts()[name] for name in names] == [1] * len(names)
    assert stage.cluster.process("resourcemanager-0").alive


@pytest.mark.parametrize("how", ["safe-mode", "away"])
def test_hdfs_in_safe_mode_or_away_is_waited_for(stage: Stage, desk: Desk, how: str) -> None:
    before = desk.submit(stage.generic("yarn", f"{how}-ends", seconds=6), f"{how}-ends")
    desk.state(before, "Running", timeout=60)
    if how == "away":
        stage.cluster.kill_name_node()
    else:
        stage.cluster.safe_mode(True)
    try:
        during = desk.submit(stage.generic("yarn", f"{how}-waits"), f"{how}-waits")
        for name, state in ((before, "Running"), (during, "Pending")):  # neither closed nor reserved, and both say so
            desk.until("durablejobs", name, unreachable, 90)
            assert desk.get(name)["status"]["state"] == state
    finally:
        if how == "away":
            stage.cluster.start_name_node()
        else:
            stage.cluster.safe_mode(False)
    for name in (before, during):
        assert desk.end(name, timeout=120)["state"] == "Succeeded", desk.get(name)["status"]
    assert (desk.starts()[before], desk.starts()[during]) == (1, 1)


def unreachable(job: dict[str, Any]) -> bool:
    """It says that its system gives no usable answer, or that its backend is not ready for that."""
    reason = (job.get("status") or {}).get("current", {}).get("reason")
    return reason in ("BackendUnreachable", "BackendNotReady")


def test_a_cancel_in_the_queue_and_one_in_the_run_end_cancelled_with_the_fence_closed(stage: Stage, desk: Desk) -> None:
    """Two of the three do not fit on the node together."""
    large = {"memoryMb": 8000}
    running = desk.submit(stage.generic("yarn", "stopped", seconds=600), "stopped")
    fills = desk.submit(stage.generic("yarn", "fills", seconds=600, resource=large), "fills")
    for name in (running, fills):
        desk.state(name, "Running", timeout=60)
    stuck = desk.submit(stage.generic("yarn", "stuck", resource=large), "stuck")
    desk.state(stuck, "Submitted", timeout=60)
    time.sleep(3)
    assert [app["state"] for app in stage.cluster.apps() if app["id"] == stage.app_of(stuck)] == ["ACCEPTED"]
    for name in (stuck, running, fills):
        desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
        status = desk.end(name, timeout=60)
        assert status["state"] == "Cancelled"
        home = f"/staging/{status['current']['key']}"
        assert not stage.cluster.exists(home)
        assert any(stage.cluster.exists(home + tombstone) for tombstone in (".closed", ".seen"))
    assert [desk.starts()[name] for name in (stuck, running, fills)] == [0, 1, 1]


# --- a ResourceManager that forgets --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forgetful(desk: Desk, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Recovery is off, and only two ended applications are remembered."""
    conf = {"yarn.resourcemanager.max-completed-applications": "2"}
    with yarn.running(yarn.Options(recovery=False, conf=conf)) as cluster:
        yield Stage(cluster, desk, tmp_path_factory.mktemp("forgetful"))


def evict(stage: Stage, desk: Desk, app: str, backend: str) -> None:
    """Other jobs end until the ResourceManager knows this one no more; nor does the NodeManager, by a restart."""
    for number in range(8):
        name = f"evicts-{app[-4:]}-{backend}-{number}"
        desk.submit(stage.generic(backend, name), name)
        desk.end(name, timeout=120)
        if app not in [known["id"] for known in stage.cluster.apps()]:
            stage.cluster.restart_node()  # it would refuse the copy by itself, with -107
            return
    raise AssertionError(f"{app} is still known")


def wait_for_end(stage: Stage, app: str) -> dict[str, object]:
    """The application's record once it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = next((known for known in stage.cluster.apps() if known["id"] == app), None)
        if found is not None and found["state"] in ("FINISHED", "FAILED", "KILLED"):
            return found
        time.sleep(0.3)
    raise AssertionError(f"{app} does not end")


def test_a_post_that_comes_after_the_end_the_close_and_the_eviction_starts_nothing(
    forgetful: Stage, desk: Desk
) -> None:
    sent: list[Sent] = []
    with between(forgetful.cluster.managers[0].url, seen=sent) as proxy:
        forgetful.backend("late", through=proxy, clusterID="late")
        assert forgetful.ready("late")["guarantee"] == "None"  # said before the first job
        assert "Recovery is off" in forgetful.ready("late")["message"]
        desk.submit(forgetful.generic("late", "late"), "late")
        assert desk.end("late", timeout=120)["state"] == "Succeeded"
        app = forgetful.app_of("late")
        evict(forgetful, desk, app, "late")
        (copy,) = [one for one in sent if json.loads(one.body)["application-id"] == app]
        assert post(forgetful, copy) == 202
    found = wait_for_end(forgetful, app)
    assert found["state"] == "FAILED"
    assert "-1000" in str(found["diagnostics"])
    assert desk.starts()["late"] == 1
    assert desk.get("late")["status"]["state"] == "Succeeded"


def test_behind_the_gate_a_post_after_the_eviction_starts_nothing_although_nothing_was_closed(
    forgetful: Stage, desk: Desk, controller: Controller
) -> None:
    forgetful.backend("evicting", clusterID="evicting")
    sent: list[Sent] = []
    with between(forgetful.cluster.managers[0].url, seen=sent) as proxy:
        forgetful.backend("late-gated", through=proxy, gated=True, clusterID="late-gated")
        assert forgetful.ready("late-gated")["guarantee"] == "Exact"
        desk.submit(forgetful.spark("late-gated", "late-gated", "halt3"), "late-gated")
        assert desk.end("late-gated", timeout=180)["state"] == "Failed"
        app = forgetful.app_of("late-gated")
        evict(forgetful, desk, app, "evicting")
        (copy,) = sent
        key = desk.get("late-gated")["status"]["current"]["key"]
        assert forgetful.cluster.exists(f"/staging/{key}")  # the copy will find all its files
        assert post(forgetful, copy) == 202
    found = wait_for_end(forgetful, app)
    assert found["state"] == "FAILED"
    assert "exitCode: 75" in str(found["diagnostics"])  # the gate has turned it away
    assert desk.starts()["late-gated"] == 1


def test_a_restart_without_recovery_loses_what_ran_and_behind_the_gate_fails_what_had_not_begun(
    forgetful: Stage, desk: Desk
) -> None:
    """What waits in the queue can no longer begin, and its next attempt may: the gate knows that it never started."""
    forgetful.backend("plain", clusterID="plain")
    forgetful.backend("plain-gated", gated=True, clusterID="plain-gated")
    large = {"memoryMb": 8000}
    desk.submit(forgetful.generic("plain", "forgotten", seconds=600, resource=large), "forgotten")
    desk.state("forgotten", "Running", timeout=60)
    desk.submit(forgetful.spark("plain-gated", "unbegun", "count", driver={"memory": "7g"}), "unbegun")
    app = desk.until("durablejobs", "unbegun", lambda o: accepted(forgetful, o), 60)["status"]["current"]
    forgetful.cluster.kill_manager()
    forgetful.cluster.start_manager()
    lost, failed = (desk.end(name, timeout=120) for name in ("forgotten", "unbegun"))
    assert lost["state"] == "Lost"
    assert "look before you run it again" in lost["current"]["message"]
    assert (failed["state"], failed["current"]["reason"]) == ("Failed", "ForgottenBeforeStart"), app
    assert (desk.starts()["forgotten"], desk.starts()["unbegun"]) == (1, 0)
    forgetful.cluster.await_nodes()
    desk.patch("unbegun", {"attempt": 2})
    desk.until("durablejobs", "unbegun", lambda o: o["status"]["current"]["number"] == 2, 60)
    assert desk.end("unbegun", timeout=180)["state"] == "Succeeded"
    assert desk.starts()["unbegun"] == 1


def accepted(stage: Stage, job: dict[str, Any]) -> bool:
    """The ResourceManager has queued its application."""
    reservation = (job.get("status") or {}).get("current", {}).get("reservation") or {}
    states = [app["state"] for app in stage.cluster.apps() if app["id"] == reservation.get("applicationID")]
    return states == ["ACCEPTED"]
