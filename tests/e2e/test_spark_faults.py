"""Faults on real systems: who is killed, stopped or repeated, the program starts once and the end is the truth."""

from __future__ import annotations

import threading
import time

from durablejob_api.names import attempt_key
from tests.e2e.conftest import SparkSpec, elsewhere, standalone_spec
from tests.e2e.desk import Desk
from tests.e2e.proxies import between
from tests.testbed import controller as controllers
from tests.testbed import kube
from tests.testbed.controller import Controller
from tests.testbed.spark.standalone import Standalone


def behind(desk: Desk, standalone: Standalone, rest: str, name: str) -> None:
    """A backend whose submissions go through ``rest``."""
    spec = standalone_spec(standalone)
    spec["sparkStandalone"]["masters"] = [{"rest": rest, "ui": standalone.masters[0].ui}]
    desk.backend(name, spec)


def test_every_submission_repeated_by_a_proxy_starts_each_program_once(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone
) -> None:
    names = [f"repeated-{n}" for n in range(3)]
    with between(standalone.masters[0].rest, copies=3) as rest:
        behind(desk, standalone, rest, "repeated")
        for name in names:
            desk.submit(elsewhere(spark_job(name), name="repeated"), name)
        for name in names:
            assert desk.end(name, timeout=120)["state"] == "Succeeded"
    records = standalone.records()
    classes = [d["mainclass"] for d in records["completeddrivers"] + records["activedrivers"]]
    for name in names:  # each was truly taken three times
        assert sum(attempt_key(desk.get(name)["metadata"]["uid"], 1) in text for text in classes) >= 3
    assert [desk.starts()[name] for name in names] == [1, 1, 1]


def test_a_submission_held_by_a_stopped_master_with_the_controller_killed_in_between_starts_once(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone, controller: Controller
) -> None:
    held = threading.Event()

    def stop_the_master() -> None:
        if not held.is_set():
            standalone.stop_master()
            held.set()

    with between(standalone.masters[0].rest, on_create=stop_the_master) as rest:
        behind(desk, standalone, rest, "held")
        name = desk.submit(elsewhere(spark_job("held"), name="held"), "held")
        assert held.wait(60)
        try:
            time.sleep(4)
            controller.kill()
            controller.start()
            time.sleep(4)
        finally:
            standalone.continue_master()
        status = desk.end(name, timeout=120)
        assert status["state"] == "Succeeded", status
        time.sleep(5)  # the held one has arrived by now, if it was not the one that ran
    assert desk.starts()["held"] == 1


def test_a_submission_that_is_under_way_when_the_master_stops_starts_once(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone, controller: Controller
) -> None:
    names = [f"frozen-{n}" for n in range(4)]
    for name in names[:2]:
        desk.submit(spark_job(name), name)
    standalone.stop_master()
    for name in names[2:]:
        desk.submit(spark_job(name), name)
    time.sleep(5)
    controller.kill()
    standalone.continue_master()
    controller.start()
    for name in names:
        status = desk.end(name, timeout=150)
        assert status["state"] == "Succeeded", (name, status)
    assert [desk.starts()[name] for name in names] == [1, 1, 1, 1]


def test_a_driver_that_ends_while_the_master_is_down_has_the_right_end_by_the_gate(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone
) -> None:
    good = desk.submit(spark_job("ends-well", seconds=6), "ends-well")
    bad = desk.submit(spark_job("ends-badly", "throw", seconds=6), "ends-badly")
    for name in (good, bad):
        desk.state(name, "Running", timeout=90)
    standalone.kill_master()
    for name in (good, bad):  # the gate knows first
        desk.until("durablejobs", name, lambda o: o["status"]["current"]["claim"]["state"] == "Ended", 60)
    standalone.start_master()
    assert desk.end(good, timeout=120)["state"] == "Succeeded"
    assert desk.end(bad, timeout=120)["state"] == "Failed"


def test_two_controllers_without_any_lease_start_each_program_once(
    crds: kube.Cluster, desk: Desk, spark_job: SparkSpec, controller: Controller
) -> None:
    options = ("--no-elect", "--namespaces", "default", "--poll-interval", "0.5")
    with controllers.running(crds, *options, name="second") as second:
        names = [f"two-{n}" for n in range(3)]
        for name in names:
            desk.submit(spark_job(name, seconds=1), name)
        for name in names:
            assert desk.end(name, timeout=120)["state"] == "Succeeded"
        for replica in (controller, second):  # both have decided
            assert replica.metric("reconcile_total") > 0
    assert [desk.starts()[name] for name in names] == [1, 1, 1]


def test_a_controller_that_is_told_to_end_leaves_the_job_alone_and_its_successor_finds_it(
    desk: Desk, spark_job: SparkSpec, controller: Controller
) -> None:
    name = desk.submit(spark_job("deploy", seconds=8), "deploy")
    driver = desk.state(name, "Running", timeout=90)["externalID"]
    assert controller.stop() == 0
    controller.start()
    status = desk.end(name, timeout=90)
    assert (status["state"], status["externalID"]) == ("Succeeded", driver)
    assert desk.starts()["deploy"] == 1
