"""Finds backends by entry point, so that a third party adds one from its own wheel; fails loudly.

An entry point of the group ``durablejob.backends`` names a ``Plugin``. One whose type is ``Plugin`` is
chosen by its name (``spec.plugin.name`` of the backend), the others by their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from durablejob_api.backend import JobBackendSpec
from durablejob_api.spec import BackendType
from durablejob_controller.backends.contract import Plugin
from durablejob_controller.errors import InvalidBackend

ENTRY_POINTS = "durablejob.backends"


class Registry:
    """All installed plugins."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._named = dict(plugins)
        self._typed: dict[BackendType, Plugin] = {}
        for name, plugin in plugins.items():
            if plugin.type is BackendType.PLUGIN:
                continue
            if plugin.type in self._typed:
                raise InvalidBackend(f"two plugins are of type {plugin.type.value}; the second is {name!r}")
            self._typed[plugin.type] = plugin

    @classmethod
    def installed(cls) -> Registry:
        """What is installed. An entry point that cannot be loaded is an error, not a missing backend."""
        return cls({point.name: point.load() for point in entry_points(group=ENTRY_POINTS)})

    def plugin(self, spec: JobBackendSpec) -> Plugin:
        """The plugin for this backend; raises ``InvalidBackend``."""
        if spec.plugin is not None:
            found = self._named.get(spec.plugin.name)
            if found is None or found.type is not BackendType.PLUGIN:
                known = ", ".join(sorted(n for n, p in self._named.items() if p.type is BackendType.PLUGIN))
                raise InvalidBackend(
                    f"spec.plugin.name: no plugin {spec.plugin.name!r} is installed; there is {known or 'none'}"
                )
            return found
        typed = self._typed.get(spec.type)
        if typed is None:
            known = ", ".join(sorted(t.value for t in self._typed))
            raise InvalidBackend(f"this controller has no backend of type {spec.type.value}; it has {known or 'none'}")
        return typed

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """A file that the gate serves for a claim, from the first plugin that has one by this name."""
        for plugin in self._named.values():
            content = plugin.artifact(name, key, claim)
            if content is not None:
                return content
        return None
