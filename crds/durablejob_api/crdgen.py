"""Writes the CRDs from the models: ``python -m durablejob_api.crdgen [--check] [OUTDIR]``.

The models are the only source; the YAML is checked in, so that it can be read, reviewed and applied
without Python, and ``--check`` fails where the two have drifted apart. This module makes pydantic's
JSON schema a *structural* one (references inlined, no unions, no null), and refuses a model whose
field has no description, or no bound: the first is what ``kubectl explain`` shows, the second what the
API server needs to estimate the cost of the rules.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined, core_schema

from durablejob_api import GROUP, VERSION
from durablejob_api.base import ApiModel, Rule
from durablejob_api.resources import RESOURCES, Column, Resource

try:
    import yaml
except ImportError:
    sys.exit("crdgen: needs PyYAML; install the extra: pip install 'durablejob[test]'")

_HEADER = "# Generated from the models by `python -m durablejob_api.crdgen`. Do not edit.\n"
_INT32 = 2**31 - 1
_WIDTH = 100
_ORDER = (
    *("description", "type", "format", "enum", "pattern", "default"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("required", "properties", "items", "additionalProperties"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-map-type", "x-kubernetes-validations"),
)
"""Keys of a structural schema in the order people read them; any other key is an error."""
_ROOT = {
    "apiVersion": {"description": "Version of this representation of the object.", "type": "string", "maxLength": 64},
    "kind": {"description": "Kind of the object.", "type": "string", "maxLength": 63},
    "metadata": {"type": "object"},  # the API server forbids more, and describes it itself
}


class UnfitModel(ValueError):
    """A model that cannot become part of a CRD; the message names the field."""


class _Schema(GenerateJsonSchema):
    """Pydantic's JSON schema without what a structural schema has no place for."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        cls = schema["cls"]
        if issubclass(cls, ApiModel) and cls.atomic:
            result["x-kubernetes-map-type"] = "atomic"
        if issubclass(cls, ApiModel) and cls.rules:
            result["x-kubernetes-validations"] = [_validation(rule) for rule in cls.rules]
        return result

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # Absent and null are the same to us; the API server prunes a null.
        return self.generate_inner(schema["schema"])

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        # Empty maps count too: the API server and to_api() must agree on what an absent field means,
        # or a rewritten object would look like changed work.
        return {} if schema.get("default_factory") is dict else schema.get("default", PydanticUndefined)

    def encode_default(self, dft: Any) -> Any:
        return dft.to_api() if isinstance(dft, ApiModel) else super().encode_default(dft)

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # fields stay in the order of the model

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _lines(expression: str) -> str:
    """A long CEL expression with one operand per line, indented by the parentheses around it."""
    text = " ".join(expression.split())
    if len(text) <= _WIDTH:
        return text
    marks = (" : ",) if " ? " in text else (" && ", " || ")
    depth, result = 0, ""
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth < 2 and text.startswith(marks, position):
            result += "\n" + "  " * depth
        else:
            result += character
    return result


def _validation(rule: Rule) -> dict[str, Any]:
    entry: dict[str, Any] = {"rule": _lines(rule.rule), "message": rule.message}
    if rule.message_expression:
        entry["messageExpression"] = _lines(rule.message_expression)
    if rule.field_path:
        entry["fieldPath"] = rule.field_path
    if rule.optional_old_self:
        entry["optionalOldSelf"] = True
    return entry


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``node`` with references inlined and without what only JSON Schema knows, keys in reading order."""
    if "$ref" in node:
        # A field's own words go before those of its class.
        node = definitions[node["$ref"].rpartition("/")[2]] | {k: v for k, v in node.items() if k != "$ref"}
    node = {k: v for k, v in node.items() if k != "title" and not (k == "default" and v is None)}
    if isinstance(node.get("additionalProperties"), bool):
        del node["additionalProperties"]
    if node.get("type") == "integer":
        node["format"] = "int32" if node.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    if "properties" in node:
        node["properties"] = {k: _structural(v, definitions) for k, v in node["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if inner in node:
            node[inner] = _structural(node[inner], definitions)
    if strange := node.keys() - set(_ORDER):
        raise UnfitModel(f"a structural schema has no place for {sorted(strange)}: {node}")
    return {k: node[k] for k in _ORDER if k in node}


def _shortcomings(node: dict[str, Any], path: str) -> Iterator[str]:
    """Fields at and below ``path`` without a description, and values without a bound."""
    kind = node.get("type")
    bounded = "enum" in node or node.get("format") == "date-time" or "maxLength" in node
    if kind == "string" and not bounded:
        yield f"{path}: a string needs max_length"
    if kind == "array" and "maxItems" not in node:
        yield f"{path}: a list needs max_length"
    if "additionalProperties" in node and "maxProperties" not in node:
        yield f"{path}: a map needs max_length"
    for name, child in node.get("properties", {}).items():
        if not child.get("description", "").strip():
            yield f"{path}.{name}: needs a description"
        yield from _shortcomings(child, f"{path}.{name}")
    for inner, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if inner in node:
            yield from _shortcomings(node[inner], path + mark)


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model as a structural OpenAPI v3 schema; raises ``UnfitModel`` naming every unfit field."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_Schema)
    properties = raw["properties"]
    if "metadata" in properties:  # the root: the API server has its own idea of these three
        properties = {k: v for k, v in properties.items() if k not in _ROOT}
    top = {k: v for k, v in raw.items() if k != "$defs"} | {"properties": properties}
    schema = _structural(top, raw.get("$defs", {}))
    if found := list(_shortcomings(schema, model.__name__)):
        raise UnfitModel("; ".join(found))
    if len(properties) < len(raw["properties"]):
        schema["properties"] = _ROOT | schema["properties"]
    return schema


def _column(column: Column) -> dict[str, Any]:
    entry = {"name": column.name, "type": column.type, "jsonPath": column.json_path, "description": column.description}
    return entry | ({"priority": column.priority} if column.priority else {})


def crd(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of ``resource``."""
    kind = resource.model.__name__
    names: dict[str, Any] = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": resource.plural,
        "singular": kind.lower(),
        "shortNames": [resource.short_name],
    }
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
    }
    if resource.categories:
        names["categories"] = list(resource.categories)
    if resource.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable]
    version["schema"] = {"openAPIV3Schema": structural_schema(resource.model)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Block style; what has several lines is a literal block; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def manifests() -> dict[str, str]:
    """File name -> its text, for every CRD."""
    return {
        f"{resource.plural}.yaml": _HEADER
        + yaml.dump(crd(resource), Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
        for resource in RESOURCES
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the CRDs, or with ``--check`` compare them; the number is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m durablejob_api.crdgen", description="Writes the CRDs.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    parser.add_argument("outdir", nargs="?", type=Path, default=Path("crds"), help="folder (default: crds)")
    options = parser.parse_args(arguments)
    drifted = 0
    for name, text in manifests().items():
        path: Path = options.outdir / name
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path}: differs from the models; run python -m durablejob_api.crdgen", file=sys.stderr)
            drifted += 1
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
