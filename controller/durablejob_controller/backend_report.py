"""What a probe found, written into the backend's status; and the finalizer that a backend in use holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from durablejob_api.backend import BackendStatus
from durablejob_api.conditions import set_condition
from durablejob_controller.backends.contract import Probe
from durablejob_controller.errors import Conflict
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, Kube, Object, Resource
from durablejob_controller.settings import BACKEND_FINALIZER

_TRIES = 3


def kind_of(raw: Object) -> Resource:
    return CLUSTER_BACKENDS if raw["kind"] == "ClusterJobBackend" else BACKENDS


def is_deleting(raw: Object) -> bool:
    return bool(raw["metadata"].get("deletionTimestamp"))


def is_held(raw: Object) -> bool:
    """Our finalizer is there: the backend cannot vanish under its jobs."""
    return BACKEND_FINALIZER in raw["metadata"].get("finalizers", ())


async def hold(kube: Kube, raw: Object) -> Object:
    """Add our finalizer; returns the newer version, and raises ``KubernetesError``."""
    if is_held(raw) or is_deleting(raw):
        return raw
    return await _set_finalizer(kube, raw, wanted=True)


async def report(
    kube: Kube, raw: Object, probe: Probe, *, in_use: bool, cluster_id: str | None, type_: str | None
) -> Object:
    """Write what is news; returns the newest version. Raises ``KubernetesError``."""
    for _ in range(_TRIES):
        try:
            return await _report(kube, raw, probe, in_use, cluster_id, type_)
        except Conflict:
            meta = raw["metadata"]
            newer = await kube.get(kind_of(raw), meta.get("namespace"), meta["name"])
            if newer["metadata"]["uid"] != meta["uid"]:
                return raw
            raw = newer
    return raw


async def _report(
    kube: Kube, raw: Object, probe: Probe, in_use: bool, cluster_id: str | None, type_: str | None
) -> Object:
    if is_deleting(raw):
        if is_held(raw) and not in_use:
            return await _set_finalizer(kube, raw, wanted=False)  # with its last finalizer it is gone
    elif in_use:
        raw = await hold(kube, raw)
    status = raw.get("status") or {}
    old = BackendStatus.model_validate(status)
    new = _next(old, raw, probe, cluster_id, type_)
    if _gist(new) == _gist(old):
        return raw
    return await kube.replace(kind_of(raw), {**raw, "status": new.to_api()}, "status")


async def _set_finalizer(kube: Kube, raw: Object, *, wanted: bool) -> Object:
    meta = raw["metadata"]
    rest = [name for name in meta.get("finalizers", ()) if name != BACKEND_FINALIZER]
    changes = {"finalizers": [*rest, BACKEND_FINALIZER] if wanted else rest}
    return await kube.patch_metadata(kind_of(raw), meta, changes)


def _next(old: BackendStatus, raw: Object, probe: Probe, cluster_id: str | None, type_: str | None) -> BackendStatus:
    generation = raw["metadata"].get("generation", 0)
    changes: dict[str, Any] = {
        "observed_generation": generation,
        "type": type_ or old.type,
        "guarantee": probe.guarantee if probe.ready else old.guarantee,
        # What the external system says of itself may be of any length.
        "version": probe.version[:128] or old.version,
        "incarnation": probe.incarnation[:128] or old.incarnation,
        "cluster_id": cluster_id or old.cluster_id,
        "message": probe.message[:1024],
        "conditions": set_condition(
            old.conditions,
            type_="Ready",
            status=str(probe.ready),
            reason=probe.reason,
            message=probe.message,
            generation=generation,
            now=datetime.now(UTC).replace(microsecond=0),
        ),
    }
    return old.model_copy(update=changes)


def _gist(status: BackendStatus) -> object:
    told = [(c.type, c.status, c.reason, c.message) for c in status.conditions]
    return status.model_copy(update={"conditions": ()}), told
