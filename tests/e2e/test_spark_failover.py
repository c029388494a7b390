"""Two Masters and a real ZooKeeper: when the active one dies the other takes over, and each program runs once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import SparkSpec, elsewhere, standalone_spec
from tests.e2e.desk import Desk
from tests.testbed import spark
from tests.testbed.spark.standalone import Standalone


@pytest.fixture(scope="module")
def pair() -> Iterator[Standalone]:
    with spark.running(recovery="ZOOKEEPER", masters=2) as running:
        yield running


def test_jobs_outlive_the_active_master_and_new_ones_find_the_other(
    desk: Desk, spark_job: SparkSpec, pair: Standalone
) -> None:
    desk.backend("pair", standalone_spec(pair))
    active = pair.active()
    assert active is not None
    ready = next(c for c in desk.get("pair", "jobbackends")["status"]["conditions"] if c["type"] == "Ready")
    assert f"active Master {pair.masters[active].spark_url}" in ready["message"]
    assert f"{pair.masters[1 - active].spark_url} is STANDBY" in ready["message"]

    running = desk.submit(elsewhere(spark_job("over", seconds=15), name="pair"))
    driver = desk.state(running, "Running", timeout=90)["externalID"]
    pair.kill_master(active)
    between = desk.submit(elsewhere(spark_job("between", "count"), name="pair"))
    ends = [desk.end(name, timeout=120) for name in (running, between)]

    assert [end["state"] for end in ends] == ["Succeeded", "Succeeded"]
    assert [end["current"]["number"] for end in ends] == [1, 1]
    assert ends[0]["externalID"] == driver
    assert pair.active() == 1 - active
    assert (desk.starts()["over"], desk.starts()["between"]) == (1, 1)
    done = {record["id"]: record["state"] for record in pair.records(1 - active)["completeddrivers"]}
    assert [done[end["externalID"]] for end in ends] == ["FINISHED", "FINISHED"]
