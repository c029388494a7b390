"""A cluster in memory, for odd answers and for the law: Jobs as the API server keeps them, and their controller.

Only as much of both as the backend relies on; ``test_on_kube`` shows that the real ones do the same.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from durablejob_controller.backends.kubernetes_job.reading import CONTROLLER_UID
from durablejob_controller.backends.kubernetes_objects.objects import HOLD, KEY, RELEASED
from durablejob_controller.errors import AlreadyExists, Conflict, Forbidden, KubernetesUnavailable, NotFound, Refused

Object = dict[str, Any]
FOREGROUND = "foregroundDeletion"
NOW = "2026-01-01T00:00:00Z"
NO_ROOM = "exceeded quota: few, requested: count/x=1, used: count/x=5, limited: count/x=5"
HINDERED: Object = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}],
    "containerStatuses": [
        {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    ],
}
"""Status of a pod on a node that can never begin there."""


@dataclass
class ScriptedCluster:
    """What ``Kube.call`` reaches; ``ledger`` has the key of every program that was started."""

    behaviour: str = "well"
    jobs: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: list[Object] = field(default_factory=list)
    ledger: list[str] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    """Rights that the controller's account lacks, as ``verb resource``."""
    version: str = "v1.34.4"
    policies: dict[str, Object] = field(default_factory=dict)
    """What there is, as ``validatingadmissionpolicies/NAME`` and ``validatingadmissionpolicybindings/NAME``."""
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    """By method: what the next calls raise, before they have any effect."""
    asked: list[tuple[str, str, Mapping[str, str] | None]] = field(default_factory=list)
    logs: dict[str, str | Exception] = field(default_factory=dict)
    """What the log of a pod of this name says, or the error that reading it raises."""
    full: bool = False
    """There is no room in the namespace's quota, which is asked before names are looked at."""
    hindered: bool = False
    """No pod can begin."""
    hang: bool = False
    """Logs are never told."""
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        self.asked.append((method, path, params))
        if self.behaviour == "unavailable":
            raise KubernetesUnavailable("secret words", 503)
        if self.errors.get(method):
            raise self.errors[method].pop(0)
        if path == "/version":
            return {"gitVersion": self.version}
        if path.endswith("selfsubjectaccessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (wanted["resource"], wanted["subresource"])))
            return {"status": {"allowed": f"{wanted['verb']} {resource}" not in self.denied}}
        if "/admissionregistration.k8s.io/" in path:
            return self._policy(path)
        answer = self._answer(method, path, params or {}, body, content_type)
        for job in list(self.jobs.values()):
            self._controller(job)
        if method == "PATCH" and self.behaviour == "unclear":
            raise KubernetesUnavailable("502", 502)
        return copy.deepcopy(answer)

    async def text(self, path: str, *, params: Mapping[str, str]) -> str:
        self.asked.append(("GET", path, params))
        if self.hang:
            await asyncio.sleep(3600)
        said = self.logs[path.split("/")[-2]]
        if isinstance(said, Exception):
            raise said
        return "".join(said.splitlines(keepends=True)[-int(params["tailLines"]) :])

    def _policy(self, path: str) -> Object:
        found = self.policies.get("/".join(path.split("/")[-2:]))
        if found is None:
            raise NotFound("not found", 404)
        return found

    def _answer(self, method: str, path: str, params: Mapping[str, str], body: Any, content_type: str) -> Object:
        parts = path.split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        if path.endswith("/pods"):
            wanted = params["labelSelector"]
            found = [pod for pod in self.pods if pod["metadata"]["labels"][CONTROLLER_UID] in wanted]
            return {"kind": "PodList", "metadata": {}, "items": found}
        if path.endswith("/jobs"):
            return self._create(body) if method == "POST" else self._list(namespace, params)
        job = self.jobs.get((namespace, parts[-1]))
        if job is None:
            raise NotFound("not found", 404)
        if method == "PATCH":
            self._patch(job, body, content_type)
        elif method == "DELETE":
            self._delete(job, body)
        return job

    # --- Jobs ---------------------------------------------------------------------------------------------

    def add(self, job: Object) -> Object:
        """Put a Job there, as somebody else would."""
        meta = job["metadata"]
        meta.update(uid=f"o{next(self._serial)}", resourceVersion=str(next(self._serial)))
        self.jobs[meta["namespace"], meta["name"]] = job
        return job

    def of(self, key: str) -> Object:
        """The Job of this key."""
        return next(job for (_, name), job in self.jobs.items() if name == f"dj-{key}")

    def _create(self, body: Object) -> Object:
        meta = body["metadata"]
        if self.full:
            raise Forbidden(f'jobs.batch "{meta["name"]}" is forbidden: {NO_ROOM}', 403)
        if (meta["namespace"], meta["name"]) in self.jobs:
            raise AlreadyExists("already exists", 409)
        return self.add(copy.deepcopy(body))

    def _list(self, namespace: str, params: Mapping[str, str]) -> Object:
        name = params.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [
            {part: value for part, value in job.items() if part not in ("kind", "apiVersion")}
            for (where, called), job in self.jobs.items()
            if namespace in ("", where) and name in ("", called)
            and (name or KEY in job["metadata"].get("labels", {}))
            and (name or RELEASED not in job["metadata"]["labels"])
        ]  # fmt: skip
        return {"kind": "JobList", "metadata": {}, "items": found}

    def _patch(self, job: Object, body: Any, content_type: str) -> None:
        if self.behaviour == "reject":
            raise Forbidden('admission webhook "quota.example" denied the request: no more today', 403)
        new = copy.deepcopy(job)
        if content_type.startswith("application/json-patch"):
            apply_patch(new, body)
            if new["metadata"].get("deletionTimestamp"):
                raise Refused("metadata.finalizers: Forbidden: no new finalizers can be added", 422)
        else:
            meta = body["metadata"]
            if meta["resourceVersion"] != job["metadata"]["resourceVersion"]:
                raise Conflict("the object has been modified", 409)
            new["metadata"]["finalizers"] = meta["finalizers"]
            new["metadata"]["labels"] |= meta["labels"]
        new["metadata"]["resourceVersion"] = str(next(self._serial))
        job.clear()
        job.update(new)

    def _delete(self, job: Object, options: Object) -> None:
        wanted = options["preconditions"]
        if any(job["metadata"][name] != value for name, value in wanted.items()):
            raise Conflict("the precondition does not hold", 409)
        job["metadata"].setdefault("deletionTimestamp", NOW)
        if options["propagationPolicy"] == "Foreground":
            finalizers = job["metadata"].setdefault("finalizers", [])
            finalizers += [FOREGROUND] if FOREGROUND not in finalizers else []

    # --- what the controllers do --------------------------------------------------------------------------

    def _controller(self, job: Object) -> None:
        meta, uid = job["metadata"], job["metadata"]["uid"]
        own = [pod for pod in self.pods if pod["metadata"]["labels"][CONTROLLER_UID] == uid]
        if meta.get("deletionTimestamp"):
            if FOREGROUND in meta.get("finalizers", ()):
                self.pods = [pod for pod in self.pods if pod not in own]
                meta["finalizers"].remove(FOREGROUND)
            if not meta.get("finalizers"):
                self.jobs.pop((meta["namespace"], meta["name"]), None)
        elif not job["spec"].get("suspend") and not own and not ended(job):
            if "labels" in meta and not self.hindered:
                self.ledger.append(meta["labels"].get(KEY, ""))
            labels = {CONTROLLER_UID: uid}
            pod = {"name": f"{meta['name']}-pod", "namespace": meta["namespace"], "uid": f"p-{uid}", "labels": labels}
            status = copy.deepcopy(HINDERED) if self.hindered else {"phase": "Running"}
            self.pods.append({"metadata": pod, "spec": {}, "status": status})
            job["status"] = {"active": 1, "ready": 0 if self.hindered else 1, "startTime": NOW}

    def finish(self, key: str, condition: str = "Complete", **fields: str) -> None:
        """Its program ends."""
        job = self.of(key)
        said = {"type": condition, "status": "True", "lastTransitionTime": NOW, **fields}
        job["status"] = {**job.get("status", {}), "ready": 0, "conditions": [said]}
        for pod in self.pods:
            if pod["metadata"]["labels"][CONTROLLER_UID] == job["metadata"]["uid"]:
                pod["status"]["phase"] = "Succeeded" if condition == "Complete" else "Failed"


def ended(job: Object) -> bool:
    return any(c["status"] == "True" for c in job.get("status", {}).get("conditions", ()))


def apply_patch(job: Object, patch: list[Object]) -> None:
    """JSON patch, as far as it is used; a test that fails, or a path that is not there, is refused."""
    for operation in patch:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target: Any = job
        for part in path:
            target = (target[int(part)] if target else {}) if isinstance(target, list) else target.get(part, {})
        if isinstance(target, list):
            last = int(last)
        if operation["op"] == "add":
            target[last] = operation["value"]
            continue
        there = last < len(target) if isinstance(target, list) else last in target
        if not there or (operation["op"] == "test" and target[last] != operation["value"]):
            raise Refused("the server rejected our request due to an error in our request", 422)
        if operation["op"] == "remove":
            del target[last]
        elif operation["op"] == "replace":
            target[last] = operation["value"]


__all__ = ["HOLD", "ScriptedCluster", "apply_patch", "ended"]
