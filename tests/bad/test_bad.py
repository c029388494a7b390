"""The fixed part that runs with the tests; ``make bad`` creates 10,000."""

from __future__ import annotations

import json

from tests.bad.flood import flood, is_told
from tests.bad.generate import Generator
from tests.testbed.kube.cluster import Cluster


def test_the_same_seed_makes_the_same_objects() -> None:
    one, two = (json.dumps(list(Generator(7).objects(200))) for _ in range(2))
    assert one == two
    assert one != json.dumps(list(Generator(8).objects(200)))


def test_what_says_nothing_is_not_taken_for_told() -> None:
    assert not is_told({})
    assert not is_told({"status": {"conditions": []}})
    assert not is_told({"status": {"conditions": [{"type": "Accepted"}]}})
    assert is_told({"status": {"conditions": [{"type": "Accepted", "reason": "InvalidSpec"}]}})


def test_bad_resources_get_a_verdict_each_and_stop_nobody(crds: Cluster) -> None:
    report = flood(crds, seed=4, count=130, stored=20, say=lambda _: None)
    assert report.well, json.dumps(report.to_json(), indent=1)
    assert report.good == 4
    assert report.stored > 15
    assert report.refused > 20
    assert report.accepted > 50
    assert len(report.verdicts) > 5
