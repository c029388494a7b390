"""DurableJobs of kind kubernetesJob, and what the engine records and submits for them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Current, Reservation
from durablejob_controller.backends.contract import Backend, Offer, Submission

Object = dict[str, Any]
NAMESPACE = "data"
SPEC = JobBackendSpec.model_validate({"kubernetes": {}})


def template(*args: str, **spec: Any) -> Object:
    """A JobSpec with one container; ``annotations`` are the pods'."""
    container = {"name": "main", "image": "example.invalid/etl:1", "args": list(args)}
    pod: Object = {"spec": {"containers": [container]}}
    if annotations := spec.pop("annotations", None):
        pod["metadata"] = {"annotations": annotations}
    return {"template": pod, **spec}


def job(
    name: str = "load", work: Object | None = None, *, uid: str | None = None, namespace: str = NAMESPACE, **spec: Any
) -> DurableJob:
    """A DurableJob; ``labels`` are its own, what else is given is its spec's."""
    meta = {"name": name, "namespace": namespace, "uid": uid or f"uid-of-{name}", "labels": spec.pop("labels", {})}
    ref = {"kind": "JobBackend", "name": "here", "type": "Kubernetes"}
    given = {
        "backendRef": ref,
        "kubernetesJob": {"template": copy.deepcopy(template() if work is None else work)},
        **spec,
    }
    return DurableJob.model_validate({"metadata": meta, "spec": given})


def key(of: DurableJob, attempt: int = 1) -> str:
    return attempt_key(of.metadata.uid, attempt)


def recorded(of: DurableJob, backend: Backend, offer: Offer, attempt: int = 1) -> Current:
    """What the compare-and-swap has recorded."""
    reservation = Reservation(
        backend_uid="b",
        backend_type="Kubernetes",
        cluster_id=backend.cluster_id,
        object_uid=offer.object_uid,
        incarnation=offer.incarnation,
        body_hash=backend.body_hash(of, key(of, attempt)),
        at=datetime.now(UTC),
    )
    return Current(number=attempt, key=key(of, attempt), reservation=reservation)


async def reserve(of: DurableJob, backend: Backend, attempt: int = 1) -> Submission:
    """Reserved, recorded, and not yet submitted."""
    offer = await backend.reserve(of, key(of, attempt))
    assert isinstance(offer, Offer), offer
    return Submission(of, recorded(of, backend, offer, attempt))
