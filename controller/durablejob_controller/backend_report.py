"""What a probe found, written into the backend's status; and the finalizer that a backend in use holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from durablejob_api.backend import BackendStatus
from durablejob_api.conditions import set_condition
from durablejob_api.marks import BACKEND_FINALIZER, CONFIRM_RESTORE
from durablejob_controller.backends.contract import Probe
from durablejob_controller.errors import Conflict
from durablejob_controller.kube import BACKENDS, CLUSTER_BACKENDS, Kube, Object, Resource

_TRIES = 3


def kind_of(raw: Object) -> Resource:
    return CLUSTER_BACKENDS if raw["kind"] == "ClusterJobBackend" else BACKENDS


def is_deleting(raw: Object) -> bool:
    return bool(raw["metadata"].get("deletionTimestamp"))


def is_held(raw: Object) -> bool:
    """Our finalizer is there: the backend cannot vanish under its jobs."""
    return BACKEND_FINALIZER in raw["metadata"].get("finalizers", ())


def rolled_back_from(raw: Object) -> str | None:
    """What the backend's status says of a restore of etcd."""
    return (raw.get("status") or {}).get("rolledBackFrom")


def is_confirmed(raw: Object, mark: str) -> bool:
    """An administrator has let jobs begin again, after this very restore."""
    return bool((raw["metadata"].get("annotations") or {}).get(CONFIRM_RESTORE) == mark)


async def hold(kube: Kube, raw: Object) -> Object:
    """Add our finalizer; returns the newer version, and raises ``KubernetesError``."""
    if is_held(raw) or is_deleting(raw):
        return raw
    return await _set_finalizer(kube, raw, wanted=True)


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is to say of a backend."""

    probe: Probe
    in_use: bool
    cluster_id: str | None
    type: str | None
    rolled_back_from: str | None = None


async def report(kube: Kube, raw: Object, found: Findings) -> Object:
    """Write what is news; returns the newest version. Raises ``KubernetesError``."""
    for _ in range(_TRIES):
        try:
            return await _report(kube, raw, found)
        except Conflict:
            meta = raw["metadata"]
            newer = await kube.get(kind_of(raw), meta.get("namespace"), meta["name"])
            if newer["metadata"]["uid"] != meta["uid"]:
                return raw
            raw = newer
    return raw


async def _report(kube: Kube, raw: Object, found: Findings) -> Object:
    if is_deleting(raw):
        if is_held(raw) and not found.in_use:
            return await _set_finalizer(kube, raw, wanted=False)  # with its last finalizer it is gone
    elif found.in_use:
        raw = await hold(kube, raw)
    status = raw.get("status") or {}
    old = BackendStatus.model_validate(status)
    new = _next(old, raw, found)
    if _gist(new) == _gist(old):
        return raw
    return await kube.replace(kind_of(raw), {**raw, "status": new.to_api()}, "status")


async def _set_finalizer(kube: Kube, raw: Object, *, wanted: bool) -> Object:
    meta = raw["metadata"]
    rest = [name for name in meta.get("finalizers", ()) if name != BACKEND_FINALIZER]
    changes = {"finalizers": [*rest, BACKEND_FINALIZER] if wanted else rest}
    return await kube.patch_metadata(kind_of(raw), meta, changes)


def _next(old: BackendStatus, raw: Object, found: Findings) -> BackendStatus:
    generation, probe = raw["metadata"].get("generation", 0), found.probe
    changes: dict[str, Any] = {
        "observed_generation": generation,
        "type": found.type or old.type,
        "guarantee": probe.guarantee if probe.ready else old.guarantee,
        # What the external system says of itself may be of any length.
        "version": probe.version[:128] or old.version,
        "incarnation": probe.incarnation[:128] or old.incarnation,
        "cluster_id": found.cluster_id or old.cluster_id,
        "rolled_back_from": found.rolled_back_from or old.rolled_back_from,
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
