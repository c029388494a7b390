"""docs/airflow.md says what is so: the tests that it names are there, and the fields that it explains."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from durablejob_airflow.operators import DurableKubernetesJobOperator
from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.provider import get_provider_info
from tests.events.rows import ROWS
from tests.operators.test_providers_arguments import named

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "airflow.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_page_names_is_there(path, name):
    nodes = ast.parse((ROOT / path).read_text()).body
    assert name in {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_of_what_happens_names_one_or_a_row_of_the_event_table():
    rows = TEXT.split("| what happens |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row and not re.search(r"\| row \*[^*|]+\* \|$", row)] == []


@pytest.mark.parametrize("event", re.findall(r"\| row \*([^*|]+)\* \|", TEXT))
def test_a_row_of_the_event_table_that_the_page_names_is_there(event):
    assert event in {row.event for row in ROWS}


def test_the_settings_that_the_page_explains_are_parameters_with_these_defaults():
    rows = re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", TEXT.split("## Settings")[1].split("\n## ")[0], re.MULTILINE)
    known = named(DurableOperator, DurableKubernetesJobOperator) | {"execution_timeout"}
    assert {name for name, _ in rows} <= known
    operator = DurableKubernetesJobOperator(task_id="t", retries=1)
    for name, default in rows:
        if default in ("True", '"fail"', '"log"'):
            assert getattr(operator, name) == ast.literal_eval(default)


def test_the_connections_own_fields_are_explained():
    (kind,) = get_provider_info()["connection-types"]
    for field in ("deployment_id", "namespace", "backend", "spark_home", "resource_url"):
        assert f"| {kind['conn-fields'][field]['label']} |" in TEXT


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        written_by_make_events = target == "airflow-events.md"
        assert written_by_make_events or (ROOT / "docs" / target).exists(), target
