"""What every inert object has: its name, its labels, its owner, and the patch that activates it; pure.

An inert object is owned by its DurableJob, and is garbage-collected with it. The ownerReference is what marks it as
inert: activating drops it, and tests for it, so that a late or repeated activation changes nothing, not even after
our finalizer was taken off again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from durablejob_api import API_VERSION, GROUP
from durablejob_api.job import DurableJob

Object = dict[str, Any]

KEY = f"{GROUP}/attempt-key"
"""Label: the attempt's key, on the object and its pods."""
OWNER = f"{GROUP}/job-uid"
"""Label: uid of the DurableJob."""
NAME = f"{GROUP}/job-name"
"""Annotation: name of the DurableJob, for people; an activated object has no ownerReference that says it."""
HASH = f"{GROUP}/body-hash"
"""Annotation: hash of what was POSTed; the activation of another form does nothing."""
RELEASED = f"{GROUP}/released"
"""Label of an object whose outcome is recorded: it stays for people to look at, and is not listed any more."""
LISTED = f"{KEY},!{RELEASED}"
"""Label selector of the objects that matter."""
HOLD = f"{GROUP}/outcome"
"""Our finalizer on an activated object: its outcome is not recorded yet."""


def name_of(key: str) -> str:
    """Name of the object of this attempt."""
    return f"dj-{key}"


def metadata(job: DurableJob, key: str) -> Object:
    """The metadata of an inert object, but for its hash."""
    meta = job.metadata
    return {
        "name": name_of(key),
        "namespace": meta.namespace,
        "labels": {KEY: key, OWNER: meta.uid},
        "annotations": {NAME: meta.name},
        "ownerReferences": [owner(job)],
    }


def owner(job: DurableJob) -> Object:
    """With its DurableJob, the garbage collector removes what it owns."""
    return {"apiVersion": API_VERSION, "kind": "DurableJob", "name": job.metadata.name, "uid": job.metadata.uid}


def hashed(*parts: object) -> str:
    """Hash of all that is ever sent for an attempt."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def activation(job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
    """What is the same in every activating patch: only this inert object, of this form; and it is held from then on.

    It is for the version ``found``: the finalizers of others stay.
    """
    tests: Mapping[str, str | None] = {
        "/metadata/uid": uid,
        pointer("metadata", "annotations", HASH): hash_,
        "/metadata/ownerReferences/0/uid": job.metadata.uid,
        "/metadata/resourceVersion": found["metadata"].get("resourceVersion"),
    }
    finalizers = [*(found["metadata"].get("finalizers") or ()), HOLD]
    return [
        *({"op": "test", "path": path, "value": value} for path, value in tests.items()),
        {"op": "remove", "path": "/metadata/ownerReferences"},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]


def pointer(*parts: str) -> str:
    """JSON pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def is_owned(found: Object) -> bool:
    """It is its DurableJob's still, and not held by us: inert, if its kind says so too."""
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner.get("kind") == "DurableJob" for owner in owners) and not is_held(found)


def is_held(found: Object) -> bool:
    """Our finalizer is on it."""
    return HOLD in (found["metadata"].get("finalizers") or ())


def is_of(found: Object, job: DurableJob, key: str) -> bool:
    """It was made for this attempt of this very DurableJob."""
    labels = found["metadata"].get("labels") or {}
    return (labels.get(KEY), labels.get(OWNER)) == (key, job.metadata.uid)


def is_named(found: Object) -> bool:
    """It has the name that belongs to its key: the pods of a Job have the key, too, and names of their own."""
    key = key_of(found)
    return key is not None and found["metadata"]["name"] == name_of(key)


def key_of(found: Object) -> str | None:
    """Key of the attempt that it says to be of."""
    key = (found["metadata"].get("labels") or {}).get(KEY)
    return key if isinstance(key, str) else None
