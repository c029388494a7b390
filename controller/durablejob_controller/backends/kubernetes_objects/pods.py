"""What a pod says of itself that means the same whoever made it; pure.

Facts of Kubernetes 1.32 to 1.34: a container that cannot be started is ``waiting`` with a reason; a pod that the
cluster takes away (eviction, preemption, a taint, a node that is no more) has the condition DisruptionTarget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from durablejob_controller.backends.kubernetes_objects.objects import Object

_ORDINARY = (None, "ContainerCreating", "PodInitializing")
_GATED = "SchedulingGated"
_DISRUPTIONS = {
    "EvictionByEvictionAPI": "Evicted",
    "TerminationByKubelet": "Evicted",
    "DeletionByTaintManager": "Evicted",
    "PreemptionByScheduler": "Preempted",
    "DeletionByPodGC": "NodeGone",
}
"""Reasons of the condition, in a word for people."""


class Said(NamedTuple):
    """A reason, as one CamelCase word, and the same in words."""

    reason: str
    message: str


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def reason(pod: Object) -> str | None:
    """Evicted, DeadlineExceeded: what happened to the pod as a whole."""
    return (pod.get("status") or {}).get("reason")


def containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    """Status of each container, those that run first before the others."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def obstacle(pod: Object) -> Said | None:
    """What keeps a pending pod from starting, if the cluster has a word for it."""
    for container in containers(pod):
        why = (container.get("state") or {}).get("waiting") or {}
        word = why.get("reason")
        if word not in _ORDINARY:
            # A kubelet says one and the other in turns, once for each try.
            known = "ImagePullBackOff" if word == "ErrImagePull" else word
            return Said(str(known)[:128], f"{word}: {why.get('message') or container['name']}"[:512])
    placed = _condition(pod, "PodScheduled")
    if placed is not None and placed["status"] == "False":
        if placed.get("reason") == _GATED and not pod["spec"].get("schedulingGates"):
            return None  # the scheduler has not looked at it since its last gate was taken
        word = str(placed.get("reason") or "Unschedulable")
        return Said(word[:128], f"{word}: {placed.get('message')}"[:512])
    return None


def expires(pod: Object, patience: int) -> datetime | None:
    """When it will have been on its node for ``patience`` seconds without having started anything.

    None: it is on none, or a container of it has run; init containers may take as long as they like. Once these are
    done with (a sidecar among them: once it runs), the others have as long again.
    """
    placed, initialized = _since(pod, "PodScheduled"), _since(pod, "Initialized")
    mains = (pod.get("status") or {}).get("containerStatuses") or ()
    begun = any(_has_run(one) for one in (containers(pod) if initialized is None else mains))
    if phase(pod) != "Pending" or begun or placed is None:
        return None
    return (initialized or placed) + timedelta(seconds=patience)


def _has_run(container: Mapping[str, Any]) -> bool:
    """Also one that waits to be started again."""
    now = (container.get("state") or {}).keys()
    return bool({"running", "terminated"} & now or container.get("lastState"))


def _since(pod: Object, kind: str) -> datetime | None:
    """Since when this condition is true; None: it is not, or since when is not said."""
    found = _condition(pod, kind)
    since = found.get("lastTransitionTime") if found is not None and found["status"] == "True" else None
    return datetime.fromisoformat(str(since)) if since else None


def disruption(pod: Object) -> Said | None:
    """Why the cluster has taken it away, if it has."""
    found = _condition(pod, "DisruptionTarget")
    if found is None or found["status"] != "True":
        return None
    word = str(found.get("reason") or "Disrupted")
    return Said(_DISRUPTIONS.get(word, word)[:128], f"{word}: {found.get('message') or ''}"[:512])


def _condition(pod: Object, kind: str) -> Mapping[str, Any] | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind), None)
