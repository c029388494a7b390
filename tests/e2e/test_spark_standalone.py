"""Spark standalone, end to end: real API server, real controller, real Master and Worker."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import SparkSpec
from tests.e2e.desk import Desk
from tests.testbed.controller import Controller
from tests.testbed.spark.standalone import Standalone


@pytest.mark.parametrize("python", [False, True], ids=["jar", "pyspark"])
def test_an_application_with_executors_ends_succeeded(desk: Desk, spark_job: SparkSpec, python: bool) -> None:
    name = f"count-{'py' if python else 'jar'}"
    status = desk.end(desk.submit(spark_job(name, "count", python=python), name))
    assert status["state"] == "Succeeded", status
    assert desk.starts()[name] == 1
    assert status["externalID"].startswith("driver-")


@pytest.mark.parametrize(("how", "python"), [("throw", False), ("exit3", False), ("throw", True), ("exit3", True)])
def test_a_program_that_fails_ends_failed_with_a_reason(
    desk: Desk, spark_job: SparkSpec, how: str, python: bool
) -> None:
    name = f"{how}-{'py' if python else 'jar'}"
    status = desk.end(desk.submit(spark_job(name, how, python=python), name))
    assert (status["state"], status["current"]["reason"]) == ("Failed", "ProgramFailed")
    assert desk.conditions(name)["Finished"] == "True"
    assert desk.starts()[name] == 1


def test_a_driver_killed_on_the_master_by_hand_ends_failed_as_killed(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone
) -> None:
    import httpx

    name = desk.submit(spark_job("killed", seconds=60), "killed")
    status = desk.state(name, "Running")
    httpx.post(f"{standalone.masters[0].rest}/v1/submissions/kill/{status['externalID']}", timeout=10)
    status = desk.end(name)
    assert (status["state"], status["current"]["reason"]) == ("Failed", "Killed")


def test_a_cancel_kills_the_driver_and_ends_cancelled(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(spark_job("cancel", seconds=60), "cancel")
    desk.state(name, "Running")
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert desk.end(name)["state"] == "Cancelled"


def test_a_deletion_ends_the_driver_first(desk: Desk, spark_job: SparkSpec, standalone: Standalone) -> None:
    name = desk.submit(spark_job("deleted", seconds=60), "deleted")
    driver = desk.state(name, "Running")["externalID"]
    desk.delete(name)
    active = [d["id"] for d in standalone.records()["activedrivers"]]
    assert driver not in active


def test_the_next_attempt_runs_the_program_once_more(desk: Desk, spark_job: SparkSpec) -> None:
    spec = spark_job("again", "exit1")
    name = desk.submit(spec, "again")
    assert desk.end(name)["state"] == "Failed"
    arguments = [*spec["spark"]["arguments"][:2], "succeed", "0"]
    desk.patch(name, {"attempt": 2, "spark": {"arguments": arguments}})
    desk.until("durablejobs", name, lambda o: o["status"]["current"]["number"] == 2)
    assert desk.end(name)["state"] == "Succeeded"
    assert desk.starts()["again"] == 2


def test_a_controller_killed_at_once_after_the_submission_starts_the_program_once(
    desk: Desk, spark_job: SparkSpec, controller: Controller
) -> None:
    names = [desk.submit(spark_job(f"crash-{n}", seconds=1), f"crash-{n}") for n in range(3)]
    desk.until("durablejobs", names[0], lambda o: o.get("status", {}).get("current", {}).get("reservation"))
    controller.kill()
    controller.start()
    for name in names:
        assert desk.end(name)["state"] == "Succeeded"
        assert desk.starts()[name] == 1
