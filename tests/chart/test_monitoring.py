"""Alerts and dashboard: by Prometheus' own tool, and against the metrics that the controller has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from durablejob_controller import metrics
from tests.chart.helm import CHART, EVERYTHING, Helm, Object, only
from tests.testbed import gotools

RULES = CHART / "files" / "rules.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
UNIT_TESTS = Path(__file__).with_name("rules_test.yaml")
TARGET = {"job", "instance", "le"}
"""Labels that a sample has from being scraped, or from being in a bucket."""
SELECTOR = re.compile(r"(?<![\w.])([a-z_]+)\b(?!\s*\()(?:\{([^}]*)\})?")
"""A name that is no function's, and what is asked of its labels."""
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORDS = {"and", "or", "unless", "offset", "by", "on", "without", "ignoring"}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return gotools.promtool()


def alerts() -> list[Object]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[Object]:
    found: list[Object] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Panel and expression, with Grafana's variables filled in."""
    for panel in panels():
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*")
            assert "$" not in expression, panel["title"]
            yield panel["title"], expression


def queries() -> dict[str, str]:
    """Every expression, by where it is."""
    found = {alert["alert"]: alert["expr"] for alert in alerts()}
    return found | {f"{title} {number}": text for number, (title, text) in enumerate(dashboard_queries())}


def exported() -> dict[str, set[str]]:
    """Name of each sample -> its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        endings = {Counter: ["_total"], Gauge: [""], Histogram: ["_bucket", "_count", "_sum"]}[type(metric)]
        for ending in endings:
            found[metric._name + ending] = set(metric._labelnames)
    return found


def used(expression: str) -> dict[str, set[str]]:
    """Metric -> the labels by which it is selected."""
    found: dict[str, set[str]] = {}
    for name, matchers in SELECTOR.findall(GROUPING.sub(" ", expression)):
        if name not in WORDS:
            found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    return found


def test_what_is_read_out_of_an_expression() -> None:
    text = 'sum by (job, le) (rate(a_total{code=~"5..|x", b!="c"}[10m]) and on (job) d_e) / f > 0.2 unless g offset 1h'
    assert used(text) == {"a_total": {"code", "b"}, "d_e": set(), "f": set(), "g": set()}


def test_every_metric_and_label_in_rules_and_dashboard_is_the_controllers() -> None:
    known = exported()
    for where, expression in queries().items():
        found = used(expression)
        assert found, where
        for name, labels in found.items():
            assert name in known, f"{where}: there is no metric {name}"
            assert labels <= known[name] | TARGET, f"{where}: {name} has no label {labels - known[name]}"
        grouped = {label.strip() for text in GROUPING.findall(expression) for label in text.split(",")}
        of_any = set().union(*(known[name] for name in found))
        assert grouped <= of_any | TARGET, f"{where}: no metric in it has the label {grouped - of_any - TARGET}"


def test_every_metric_of_the_controller_is_on_the_dashboard() -> None:
    shown = {name for _, text in dashboard_queries() for name in used(text)}
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in exported()} == families


def test_promtool_accepts_the_rules_and_each_alert_does_what_it_is_for(promtool: Path, tmp_path: Path) -> None:
    for path in (RULES, UNIT_TESTS):
        shutil.copy(path, tmp_path)
    for command in (["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], ["test", "rules", UNIT_TESTS.name]):
        done = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    firing = re.findall(r'alertname="(\w+)"\}\', value: 1', UNIT_TESTS.read_text())
    assert {alert["alert"] for alert in alerts()} == set(firing)


def test_promtool_can_read_every_expression_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"r{number}", "expr": text} for number, (_, text) in enumerate(dashboard_queries())]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "r.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_neither_overlap_nor_share_an_id_and_ask_the_chosen_source() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert 0 <= x < 24, panel["title"]
                assert (x, y) not in taken, f"{panel['title']} overlaps {taken.get((x, y))}"
                taken[x, y] = panel["title"]
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    variables: list[Any] = json.loads(DASHBOARD.read_text())["templating"]["list"]
    assert [variable["name"] for variable in variables] == ["datasource", "job"]


def test_the_chart_ships_these_rules_and_this_dashboard(helm: Helm) -> None:
    objects = helm.render(values=[EVERYTHING])
    (group,) = only(objects, "PrometheusRule")["spec"]["groups"]
    expected = {alert["alert"]: alert for alert in alerts() if alert["alert"] != "DurableJobQueueSlow"}
    assert {rule["alert"] for rule in group["rules"]} == expected.keys()
    for rule in group["rules"]:
        original = expected[rule["alert"]]
        assert rule == {**original, "labels": {**original["labels"], "team": "data"}}
    shipped = only(objects, "ConfigMap", "dj-durablejob-dashboard")["data"]["durablejob.json"]
    assert json.loads(shipped) == json.loads(DASHBOARD.read_text())
