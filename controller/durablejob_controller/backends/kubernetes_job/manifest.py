"""What is sent to the API server: the inert Job, the patch that activates it, and what tells it from others; pure.

An inert Job is suspended and owned by the DurableJob: it has no effect, and is garbage-collected with its owner.
The ownerReference is what marks it as inert: activating drops it, and tests for it, so that a late or repeated
activation changes nothing, not even after our finalizer was taken off again.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from durablejob_api import API_VERSION, GROUP
from durablejob_api.job import DurableJob

Object = dict[str, Any]

KEY = f"{GROUP}/attempt-key"
"""Label: the attempt's key, on the Job and its pods."""
OWNER = f"{GROUP}/job-uid"
"""Label: uid of the DurableJob."""
NAME = f"{GROUP}/job-name"
"""Annotation: name of the DurableJob, for people; an activated Job has no ownerReference that says it."""
HASH = f"{GROUP}/body-hash"
"""Annotation: hash of what was POSTed; the activation of another form does nothing."""
RELEASED = f"{GROUP}/released"
"""Label of a Job whose outcome is recorded: it stays for people to look at, and is not listed any more."""
LISTED = f"{KEY},!{RELEASED}"
"""Label selector of the Jobs that matter."""
HOLD = f"{GROUP}/outcome"
"""Our finalizer on an activated Job: its outcome is not recorded yet."""
KUEUE = "kueue.x-k8s.io/"
QUEUE = f"{KUEUE}queue-name"
"""Label of a DurableJob, passed on to its Job when it is activated: Kueue's queue."""
FORCED: Mapping[str, object] = {"backoffLimit": 0, "podReplacementPolicy": "Failed"}
"""Fields of the Job without which its controller starts a pod again."""
RESTART_POLICY = "Never"


def name_of(key: str) -> str:
    """Name of the Job of this attempt."""
    return f"dj-{key}"


def body(job: DurableJob, key: str) -> Object:
    """The inert Job with its hash, for a job that ``validation`` lets pass. The same whoever builds it, whenever."""
    manifest = _manifest(job, key)
    manifest["metadata"]["annotations"][HASH] = body_hash(job, key)
    return manifest


def body_hash(job: DurableJob, key: str) -> str:
    """Hash of all that is ever sent for this attempt: the Job, and the labels that its activation adds."""
    text = json.dumps([_manifest(job, key), queue_labels(job)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(job: DurableJob, key: str) -> Object:
    meta = job.metadata
    labels = {KEY: key, OWNER: meta.uid}
    owner = {"apiVersion": API_VERSION, "kind": "DurableJob", "name": meta.name, "uid": meta.uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(key),
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": {NAME: meta.name},
            "ownerReferences": [owner],
        },
        "spec": _spec(job, labels),
    }


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


def activation(job: DurableJob, uid: str, hash_: str) -> list[Object]:
    """JSON patch that activates the object of this uid, if it is inert and of this form; else the API server refuses.

    A Job that goes to a queue stays suspended: Kueue unsuspends what it admits, and its webhook refuses a queue
    name that is given to a Job while that is unsuspended (validateUpdateForQueueName in Kueue's jobframework).
    """
    tests = {
        "/metadata/uid": uid,
        _pointer("metadata", "annotations", HASH): hash_,
        "/metadata/ownerReferences/0/uid": job.metadata.uid,
    }
    patch: list[Object] = [{"op": "test", "path": path, "value": value} for path, value in tests.items()]
    patch += [
        {"op": "remove", "path": "/metadata/ownerReferences"},
        {"op": "add", "path": "/metadata/finalizers", "value": [HOLD]},
    ]
    queue = queue_labels(job)
    for name, value in sorted(queue.items()):
        patch.append({"op": "add", "path": _pointer("metadata", "labels", name), "value": value})
    if not queue:
        patch.append({"op": "replace", "path": "/spec/suspend", "value": False})
    return patch


def _pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


# --- what an object is -----------------------------------------------------------------------------------


def is_inert(found: Object) -> bool:
    """Not activated: suspended, still its owner's, and not held by us."""
    meta = found["metadata"]
    owned = any(owner.get("kind") == "DurableJob" for owner in meta.get("ownerReferences") or ())
    return owned and not is_held(found) and is_suspended(found)


def is_suspended(found: Object) -> bool:
    return bool(found["spec"].get("suspend"))


def is_held(found: Object) -> bool:
    """Our finalizer is on it."""
    return HOLD in (found["metadata"].get("finalizers") or ())


def is_of(found: Object, job: DurableJob, key: str) -> bool:
    """It was made for this attempt of this very DurableJob."""
    labels = found["metadata"].get("labels") or {}
    return (labels.get(KEY), labels.get(OWNER)) == (key, job.metadata.uid)
