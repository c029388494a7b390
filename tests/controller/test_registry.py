"""Backends are found by entry point, or missed loudly."""

from __future__ import annotations

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_api.spec import BackendType
from durablejob_controller.backends import registry as registries
from durablejob_controller.backends.registry import Registry
from durablejob_controller.errors import InvalidBackend
from tests.controller.scripted_backend import ScriptedPlugin

SPARK = {"sparkStandalone": {"masters": [{"rest": "http://m:6066", "ui": "http://m:8080"}]}}


def typed(kind: BackendType) -> ScriptedPlugin:
    plugin = ScriptedPlugin()
    plugin.type = kind
    return plugin


def spec(**fields: object) -> JobBackendSpec:
    return JobBackendSpec.model_validate(fields)


def test_what_is_installed_is_found() -> None:
    registry = Registry.installed()
    assert registry.plugin(spec(plugin={"name": "fake"})).type is BackendType.PLUGIN
    assert registry.plugin(spec(**SPARK)).type is BackendType.SPARK_STANDALONE


def test_two_plugins_of_one_type_are_refused() -> None:
    with pytest.raises(InvalidBackend, match=r"two plugins are of type SparkStandalone; the second is 'b'"):
        Registry({"a": typed(BackendType.SPARK_STANDALONE), "b": typed(BackendType.SPARK_STANDALONE)})


def test_any_number_of_plugins_are_chosen_by_name() -> None:
    one, two = ScriptedPlugin(), ScriptedPlugin()
    registry = Registry({"one": one, "two": two})
    assert registry.plugin(spec(plugin={"name": "two"})) is two


def test_an_unknown_plugin_is_told_with_what_there_is() -> None:
    registry = Registry({"flink": ScriptedPlugin(), "livy": ScriptedPlugin(), "yarn": typed(BackendType.YARN)})
    with pytest.raises(
        InvalidBackend, match=r"spec\.plugin\.name: no plugin 'beam' is installed; there is flink, livy$"
    ):
        registry.plugin(spec(plugin={"name": "beam"}))
    with pytest.raises(InvalidBackend, match="'yarn' is installed"):
        registry.plugin(spec(plugin={"name": "yarn"}))  # has a type of its own
    with pytest.raises(InvalidBackend, match=r"there is none$"):
        Registry({}).plugin(spec(plugin={"name": "beam"}))


def test_a_type_without_a_backend_is_told_with_what_there_is() -> None:
    registry = Registry({"yarn": typed(BackendType.YARN)})
    with pytest.raises(InvalidBackend, match=r"no backend of type SparkStandalone; it has Yarn$"):
        registry.plugin(spec(**SPARK))


def test_an_entry_point_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"

        def load(self) -> object:
            raise ImportError("no module named flink")

    monkeypatch.setattr(registries, "entry_points", lambda group: [Broken()])
    with pytest.raises(ImportError, match="flink"):
        Registry.installed()


def test_a_file_comes_from_the_plugin_that_has_it() -> None:
    registry = Registry({"fake": Registry.installed().plugin(spec(plugin={"name": "fake"})), "s": ScriptedPlugin()})
    assert registry.artifact("claim.jar", "key", 3) == b"key 3"
    assert registry.artifact("other.jar", "key", 3) is None
