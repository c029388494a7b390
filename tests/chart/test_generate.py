"""What is generated of the chart is as its sources are, and a value without a description is an error."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, Helm

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "charts" / "generate.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate: Any = load()


def test_what_is_checked_in_is_what_is_generated() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_chart_installs_the_very_crds_of_the_models(helm: Helm) -> None:
    rendered = {o["metadata"]["name"]: o for o in helm.render() if o["kind"] == "CustomResourceDefinition"}
    originals = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert {name: o["spec"] for name, o in rendered.items()} == {o["metadata"]["name"]: o["spec"] for o in originals}
    assert len(rendered) == 3


@pytest.mark.parametrize(
    "text",
    ["a: 1\n", "# Fine.\na: 1\n\nb: []\n", "group:\n  # Fine.\n  a: 1\n  b: {c: 1}\n"],
    ids=["alone", "after another", "in a group"],
)
def test_a_value_without_a_description_is_named(text: str) -> None:
    with pytest.raises(generate.Undescribed, match=r"(a|b) has no comment above it"):
        generate.table(text)


def test_the_comment_above_a_value_describes_it() -> None:
    text = "group:\n  # What it is,\n  # and what | it is for.\n  a: {b: [1, x]}\n"
    assert list(generate.described(text)) == [("group.a", {"b": [1, "x"]}, "What it is, and what | it is for.")]
    assert '| `group.a` | `{"b": [1, "x"]}` | What it is, and what \\| it is for. |' in generate.table(text)


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{generate.BEGIN}old\n{generate.END}after\n"
    new = generate.readme(page, "# It.\na: 1\n")
    assert new.startswith(f"before\n{generate.BEGIN}")
    assert new.endswith(f"{generate.END}after\n")
    assert "old" not in new
    with pytest.raises(ValueError, match="marks"):
        generate.readme("no marks\n", "")


def test_braces_in_a_crd_stay_braces() -> None:
    assert 'spec: {{ "{{" }} x }}' in generate.crd_template("# h\nmetadata:\n  name: x\nspec: {{ x }}\n")
    with pytest.raises(ValueError, match="metadata"):
        generate.crd_template("# h\nspec: x\n")


def test_every_value_is_in_the_schema_and_every_property_of_the_schema_is_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    paths = {path for path, *_ in generate.described((CHART / "values.yaml").read_text())}
    assert set(_leaves(schema, "", paths)) == paths


def _leaves(node: Any, path: str, known: set[str]) -> list[str]:
    """Paths of the schema, down to where values are described."""
    if path in known or "properties" not in node:
        return [path]
    inner = ((f"{path}.{name}".lstrip("."), child) for name, child in node["properties"].items())
    return [leaf for name, child in inner if name != "global" for leaf in _leaves(child, name, known)]
