"""An API server in memory: optimistic locking, status as a subresource, finalizers, a watch, and faults on demand."""

from __future__ import annotations

import asyncio
import copy
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from durablejob_controller.clock import Clock
from durablejob_controller.errors import Conflict, KubernetesError, NotFound
from durablejob_controller.highwater import HighWater
from durablejob_controller.kube import JOBS, Kube, Object, Resource

Key = tuple[str, str, str]


@dataclass
class Fault:
    """The next ``times`` calls of ``verb`` on ``plural`` fail; ``applied``: only their answers are lost."""

    verb: str
    plural: str
    error: Exception
    times: int = 1
    applied: bool = False


@dataclass
class FakeKube(Kube):
    """What ``Kube`` does, without a server."""

    objects: dict[Key, Object] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    writes: list[tuple[str, str, Object]] = field(default_factory=list)
    """Every write that was applied: verb, plural (with the subresource), the object as it then was."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Every call: verb, plural, name."""
    watchers: list[Callable[[str, Object], None]] = field(default_factory=list)
    silent: bool = False
    """The watch tells nothing: it hangs, or is behind."""
    meanwhile: dict[tuple[str, str], Callable[[], object]] = field(default_factory=dict)
    """By verb and plural: done once, while the next such call is under way."""
    behind: bool = False
    """Lists are from a time when there was nothing."""
    hanging: bool = False
    """No call returns."""

    def __post_init__(self) -> None:
        self._serial = itertools.count(1)
        self.high_water = HighWater()
        self.clock = Clock()

    async def aclose(self) -> None:
        """Nothing to close."""

    def apart(self) -> FakeKube:
        """There are no connections to share."""
        return self

    # --- for tests --------------------------------------------------------------------------------------

    def add(self, resource: Resource, raw: Object) -> Object:
        """Put an object there, as a person would."""
        meta = raw["metadata"]
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("generation", 1)
        meta.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return self._store("ADDED", self._key(resource, meta), raw)

    def change(self, resource: Resource, namespace: str | None, name: str, **parts: Any) -> Object:
        """Change parts of an object (``spec``, ``status``) or of its metadata, as a person would."""
        key = (resource.plural, namespace or "", name)
        raw = copy.deepcopy(self.objects[key])
        for part, changes in parts.items():
            raw[part] = {**raw.get(part, {}), **changes}
        raw["metadata"]["generation"] += "spec" in parts
        return self._store("MODIFIED", key, raw)

    def remove(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Delete: at once, or as soon as its finalizers are gone."""
        raw = self.objects[(resource.plural, namespace or "", name)]
        if raw["metadata"].get("finalizers"):
            self.change(resource, namespace, name, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
        else:
            self._drop((resource.plural, namespace or "", name))

    def fail(self, verb: str, resource: Resource, error: Exception, *, times: int = 1, applied: bool = False) -> None:
        self.faults.append(Fault(verb, resource.plural, error, times, applied))

    def restore(self, objects: dict[Key, Object], revision: int) -> None:
        """etcd is restored from a backup: these objects, at this revision; the watch says nothing of it."""
        self.objects = copy.deepcopy(objects)
        self._serial = itertools.count(revision + 1)

    def backup(self) -> tuple[dict[Key, Object], int]:
        """What ``restore`` takes."""
        now = next(self._serial)
        return copy.deepcopy(self.objects), now

    def written(self, plural: str) -> list[Object]:
        return [raw for _, name, raw in self.writes if name == plural]

    # --- what Kube does ---------------------------------------------------------------------------------

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        await self._meet("get", resource, name)
        return copy.deepcopy(self._find(resource, namespace, name))

    async def pages(self, resource: Resource, namespace: str | None) -> AsyncIterator[Object]:
        asked = self.high_water.ask()
        await self._meet("list", resource, "")
        self.high_water.answered(asked, next(self._serial))
        for (plural, where, _), raw in sorted(self.objects.items()):
            if plural == resource.plural and namespace in (None, where) and not self.behind:
                yield {part: value for part, value in copy.deepcopy(raw).items() if part not in ("kind", "apiVersion")}

    async def check(self, namespace: str | None) -> None:
        asked = self.high_water.ask()
        await self._meet("check", JOBS, "")
        self.high_water.answered(asked, next(self._serial))

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        await self._meet("create", resource, body["metadata"]["name"])
        if self._key(resource, body["metadata"]) in self.objects:
            raise Conflict("already exists", 409)
        raw = self.add(resource, copy.deepcopy(body))
        return self._answer("create", resource, None, raw)

    async def replace(self, resource: Resource, body: Object, subresource: str | None = None) -> Object:
        asked = self.high_water.ask()
        await self._meet("replace", resource, body["metadata"]["name"])
        old = self._current(resource, body["metadata"])
        body = copy.deepcopy(body)
        raw = {**old, "status": body.get("status")} if subresource == "status" else body
        raw = self._store("MODIFIED", self._key_of(resource, raw), raw)
        if resource.prefix == JOBS.prefix:
            self.high_water.answered(asked, raw["metadata"]["resourceVersion"])
        return self._answer("replace", resource, subresource, raw)

    async def patch_metadata(self, resource: Resource, meta: Mapping[str, Any], changes: Object) -> Object:
        await self._meet("patch", resource, meta["name"])
        old = self._current(resource, meta)
        raw = {**old, "metadata": {**old["metadata"], **copy.deepcopy(changes)}}
        if raw["metadata"].get("deletionTimestamp") and not raw["metadata"].get("finalizers"):
            self._drop(self._key_of(resource, raw))
        else:
            raw = self._store("MODIFIED", self._key_of(resource, raw), raw)
        return self._answer("patch", resource, None, raw)

    async def delete(self, resource: Resource, meta: Mapping[str, Any]) -> None:
        await self._meet("delete", resource, meta["name"])
        raw = self._current(resource, meta)
        self.remove(resource, meta.get("namespace"), meta["name"])
        self._answer("delete", resource, None, raw)

    # --- inside -----------------------------------------------------------------------------------------

    async def _meet(self, verb: str, resource: Resource, name: str) -> None:
        self.calls.append((verb, resource.plural, name))
        await asyncio.sleep(0)
        self.meanwhile.pop((verb, resource.plural), lambda: None)()
        if self.hanging:
            await asyncio.sleep(3600)
        self._trip(verb, resource.plural, applied=False)

    def _trip(self, verb: str, plural: str, *, applied: bool) -> None:
        for fault in self.faults:
            if (fault.verb, fault.plural, fault.applied) == (verb, plural, applied) and fault.times > 0:
                fault.times -= 1
                raise fault.error

    def _answer(self, verb: str, resource: Resource, subresource: str | None, raw: Object) -> Object:
        name = resource.plural if subresource is None else f"{resource.plural}/{subresource}"
        self.writes.append((verb, name, copy.deepcopy(raw)))
        self._trip(verb, resource.plural, applied=True)
        return copy.deepcopy(raw)

    @staticmethod
    def _key(resource: Resource, meta: Mapping[str, Any]) -> Key:
        return (resource.plural, meta.get("namespace") or "", meta["name"])

    def _key_of(self, resource: Resource, raw: Object) -> Key:
        return self._key(resource, raw["metadata"])

    def _find(self, resource: Resource, namespace: str | None, name: str) -> Object:
        raw = self.objects.get((resource.plural, namespace or "", name))
        if raw is None:
            raise NotFound(f"{resource.plural} {name} not found", 404)
        return raw

    def _current(self, resource: Resource, meta: Mapping[str, Any]) -> Object:
        """The object, if the caller has its very version."""
        if not meta.get("resourceVersion"):
            raise KubernetesError("a compare-and-swap needs a resourceVersion")
        raw = self._find(resource, meta.get("namespace"), meta["name"])
        for part in ("uid", "resourceVersion"):
            if raw["metadata"][part] != meta[part]:
                raise Conflict(f"{part} is another", 409)
        return copy.deepcopy(raw)

    def _store(self, kind: str, key: Key, raw: Object) -> Object:
        raw["metadata"] = {**raw["metadata"], "resourceVersion": str(next(self._serial))}
        self.objects[key] = raw
        self._tell(kind, raw)
        return copy.deepcopy(raw)

    def _drop(self, key: Key) -> None:
        self._tell("DELETED", self.objects.pop(key))

    def _tell(self, kind: str, raw: Object) -> None:
        for watcher in [] if self.silent else self.watchers:
            watcher(kind, copy.deepcopy(raw))


def job_object(name: str = "load", namespace: str = "data", **spec: Any) -> Object:
    """A DurableJob as the operator makes it, for a backend named ``fake``."""
    work = {} if {"plugin", "spark"} & spec.keys() else {"plugin": {"parameters": {"seconds": "0.05"}}}
    meta = {"name": name, "namespace": namespace, "finalizers": ["durablejob.io/external-job"]}
    ref = {"kind": "JobBackend", "name": "fake", "type": "Plugin"}
    return {
        "apiVersion": "durablejob.io/v1alpha1",
        "kind": "DurableJob",
        "metadata": meta,
        "spec": {"backendRef": ref, "attempt": 1, **work, **spec},
    }


def backend_object(name: str = "fake", namespace: str = "data", **spec: Any) -> Object:
    """A JobBackend (without a namespace: a ClusterJobBackend) that names the plugin ``fake``, or what ``spec`` says."""
    kind = "JobBackend" if namespace else "ClusterJobBackend"
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    system = {} if "sparkStandalone" in spec or "plugin" in spec else {"plugin": {"name": "fake"}}
    return {"apiVersion": "durablejob.io/v1alpha1", "kind": kind, "metadata": meta, "spec": {**system, **spec}}


__all__ = ["JOBS", "FakeKube", "Fault", "backend_object", "job_object"]
