"""What is sent to the API server for a Job: the inert Job, and the patch that activates it; pure.

An inert Job is suspended, and owned by the DurableJob (see ``kubernetes_objects.objects``).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from durablejob_api.job import DurableJob
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.kubernetes_objects.objects import HASH, Object, is_owned, pointer

KUEUE = "kueue.x-k8s.io/"
QUEUE = f"{KUEUE}queue-name"
"""Label of a DurableJob, passed on to its Job when it is activated: Kueue's queue."""
FORCED: Mapping[str, object] = {"backoffLimit": 0, "podReplacementPolicy": "Failed"}
"""Fields of the Job without which its controller starts a pod again."""
RESTART_POLICY = "Never"


def body(job: DurableJob, key: str) -> Object:
    """The inert Job with its hash, for a job that ``validation`` lets pass. The same whoever builds it, whenever."""
    manifest = _manifest(job, key)
    manifest["metadata"]["annotations"][HASH] = body_hash(job, key)
    return manifest


def body_hash(job: DurableJob, key: str) -> str:
    """Hash of all that is ever sent for this attempt: the Job, and the labels that its activation adds."""
    return objects.hashed(_manifest(job, key), queue_labels(job))


def _manifest(job: DurableJob, key: str) -> Object:
    metadata = objects.metadata(job, key)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _spec(job, metadata["labels"])}


def _spec(job: DurableJob, labels: Mapping[str, str]) -> Object:
    spec: Object = copy.deepcopy(job.spec.kubernetes_job.template) if job.spec.kubernetes_job else {}
    # Its pods stay as long as people may want to read their logs: as long as the DurableJob itself.
    spec.setdefault("ttlSecondsAfterFinished", job.spec.ttl_seconds_after_finished)
    spec.update(FORCED, suspend=True)
    template = spec.setdefault("template", {})
    meta = template.get("metadata") or {}
    template["metadata"] = {**meta, "labels": {**(meta.get("labels") or {}), **labels}}
    template["spec"] = {**(template.get("spec") or {}), "restartPolicy": RESTART_POLICY}
    return spec


def queue_labels(job: DurableJob) -> dict[str, str]:
    """Kueue's labels of a DurableJob that names a queue."""
    labels = job.metadata.labels
    return {name: value for name, value in labels.items() if name.startswith(KUEUE)} if labels.get(QUEUE) else {}


def activation(job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
    """JSON patch that activates ``found``, if it is inert and of this uid and form; else the API server refuses.

    A Job that goes to a queue stays suspended: Kueue unsuspends what it admits, and its webhook refuses a queue
    name that is given to a Job while that is unsuspended (validateUpdateForQueueName in Kueue's jobframework).
    """
    patch = objects.activation(job, found, uid, hash_)
    queue = queue_labels(job)
    for name, value in sorted(queue.items()):
        patch.append({"op": "add", "path": pointer("metadata", "labels", name), "value": value})
    if not queue:
        patch.append({"op": "replace", "path": "/spec/suspend", "value": False})
    return patch


def is_inert(found: Object) -> bool:
    """Not activated: suspended, still its owner's, and not held by us."""
    return is_owned(found) and is_suspended(found)


def is_suspended(found: Object) -> bool:
    return bool(found["spec"].get("suspend"))
