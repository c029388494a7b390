"""The generator: no drift, no field without description or bound, nothing that is not structural."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from durablejob_api import crdgen
from durablejob_api.base import ApiModel, Time
from durablejob_api.resources import RESOURCES

CRDS = Path(__file__).parents[2] / "crds"


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if child is not None:
            yield from nodes(child)


def test_the_checked_in_crds_are_those_of_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main(["--check", str(CRDS)]) == 0
    assert capsys.readouterr().err == ""


def test_a_drifted_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main([str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clusterjobbackends.yaml",
        "durablejobs.yaml",
        "jobbackends.yaml",
    ]
    drifted = tmp_path / "jobbackends.yaml"
    drifted.write_text(drifted.read_text() + "\n")
    assert crdgen.main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"{drifted}: differs from the models")


def test_a_missing_file_is_drift(tmp_path: Path) -> None:
    assert crdgen.main(["--check", str(tmp_path)]) == 1


@pytest.mark.parametrize("file", ["durablejobs.yaml", "jobbackends.yaml", "clusterjobbackends.yaml"])
def test_a_crd_is_small_enough_for_every_tool(file: str) -> None:
    assert (CRDS / file).stat().st_size < 64 * 1024


def test_a_field_without_description_is_refused_by_its_name() -> None:
    class Inner(ApiModel):
        deep: bool = False

    class Outer(ApiModel):
        inner: Inner = Field(default=Inner(), description="Fine.")

    with pytest.raises(crdgen.UnfitModel, match=r"Outer\.inner\.deep: needs a description"):
        crdgen.structural_schema(Outer)


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (str, r"Loose\.field: a string needs max_length"),
        (Annotated[tuple[int, ...], Field()], r"Loose\.field: a list needs max_length"),
        (Annotated[tuple[str, ...], Field(max_length=2)], r"Loose\.field\[\]: a string needs max_length"),
        (Mapping[str, int], r"Loose\.field: a map needs max_length"),
        (Annotated[Mapping[str, str], Field(max_length=2)], r"Loose\.field\{\}: a string needs max_length"),
        (int | bool, "a structural schema has no place for"),
    ],
)
def test_what_has_no_bound_or_no_single_type_is_refused(annotation: Any, says: str) -> None:
    class Loose(ApiModel):
        field: annotation = Field(description="Something.")

    with pytest.raises(crdgen.UnfitModel, match=says):
        crdgen.structural_schema(Loose)


def test_nothing_but_structural_schema_is_left() -> None:
    for resource in RESOURCES:
        for node in nodes(crdgen.structural_schema(resource.model)):
            assert "type" in node
            assert not {"$ref", "title", "anyOf", "allOf", "oneOf", "nullable", "const"} & node.keys()
            assert not ("properties" in node and "additionalProperties" in node)


def test_types_come_over() -> None:
    class Many(ApiModel):
        when: Time | None = Field(default=None, description="A time.")
        small: int = Field(default=3, le=10, description="A small number.")
        large: int = Field(description="A number.")
        words: Annotated[Mapping[str, Annotated[str, Field(max_length=3)]], Field(max_length=2)] = Field(
            default_factory=dict, description="Words."
        )

    assert crdgen.structural_schema(Many)["properties"] == {
        "when": {"description": "A time.", "type": "string", "format": "date-time"},
        "small": {
            "description": "A small number.", "type": "integer", "format": "int32", "default": 3, "maximum": 10,
        },
        "large": {"description": "A number.", "type": "integer", "format": "int64"},
        "words": {
            "description": "Words.", "type": "object", "default": {}, "maxProperties": 2,
            "additionalProperties": {"type": "string", "maxLength": 3},
        },
    }  # fmt: skip


def test_the_yaml_says_what_the_generator_says() -> None:
    for resource in RESOURCES:
        assert yaml.safe_load((CRDS / f"{resource.plural}.yaml").read_text()) == crdgen.crd(resource)
