"""An API server in memory, for Pods and what is made beside them; and a node that starts what is given to it.

Only as much of both as the backend relies on; ``tests/node`` shows that the real ones do the same.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from durablejob_controller.backends.kubernetes_objects.objects import KEY, RELEASED
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER, GATE
from durablejob_controller.errors import AlreadyExists, Conflict, Forbidden, KubernetesUnavailable, NotFound
from tests.backends.kubernetes_job.scripted_cluster import FOREGROUND, HINDERED, NO_ROOM, NOW, apply_patch

Object = dict[str, Any]
LATER = "2026-01-01T00:01:00Z"


@dataclass
class ScriptedPods:
    """What ``Kube.call`` reaches; ``ledger`` has the key of every driver that was started."""

    behaviour: str = "well"
    pods: dict[str, Object] = field(default_factory=dict)
    beside: dict[str, Object] = field(default_factory=dict)
    """Services and Ingresses, by ``kind/name``."""
    ledger: list[str] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    """Rights that the controller's account lacks, as ``verb resource``."""
    cleared: list[str] = field(default_factory=list)
    """Label selectors of collections that were deleted."""
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    """By method and the last part of a collection's path: what the next calls raise, before they have any effect."""
    full: bool = False
    """There is no room for Pods in the namespace's quota, which is asked before names are looked at."""
    hindered: bool = False
    """No driver can begin."""
    changes: int = 0
    """JSON patches that had an effect."""
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def text(self, path: str, *, params: Mapping[str, str]) -> str:
        raise NotFound(path, 404)

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        if self.behaviour == "unavailable":
            raise KubernetesUnavailable("secret words", 503)
        if path == "/version":
            return {"gitVersion": "v1.34.4"}
        if path.endswith("selfsubjectaccessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            return {"status": {"allowed": f"{wanted['verb']} {wanted['resource']}" not in self.denied}}
        if path.endswith(("/jobs", "/jobs/")) or "/jobs/" in path:
            return self._no_jobs(path)
        collection = path.split("/")[-1] if path.endswith(("pods", "services", "ingresses")) else path.split("/")[-2]
        if waiting := self.errors.get(f"{method} {collection}"):
            raise waiting.pop(0)
        answer = copy.deepcopy(self._answer(method, path, params or {}, body, content_type))
        for pod in list(self.pods.values()):
            self._node(pod)
        if method == "PATCH" and self.behaviour == "unclear":
            raise KubernetesUnavailable("502", 502)
        return answer

    def _no_jobs(self, path: str) -> Object:
        if path.endswith("/jobs"):
            return {"kind": "JobList", "metadata": {}, "items": []}
        raise NotFound(path, 404)

    def _answer(self, method: str, path: str, params: Mapping[str, str], body: Any, content_type: str) -> Object:
        if "/services" in path or "/ingresses" in path:
            return self._beside(method, path, body)
        if path.endswith("/pods"):
            if method == "DELETE":
                self.cleared.append(params["labelSelector"])
                return {}
            return self._create(body) if method == "POST" else self._list(params)
        name = path.rpartition("/")[2]
        if name not in self.pods:
            raise NotFound(path, 404)
        pod = self.pods[name]
        if method == "PATCH":
            self._patch(pod, body, content_type)
        elif method == "DELETE":
            self._delete(pod, body)
        return pod

    def _create(self, body: Object) -> Object:
        name = body["metadata"]["name"]
        if self.full:
            raise Forbidden(f'pods "{name}" is forbidden: {NO_ROOM}', 403)
        if name in self.pods:
            raise AlreadyExists("already exists", 409)
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": f"o{next(self._serial)}", "resourceVersion": str(next(self._serial))}
        made["status"] = {"phase": "Pending"}
        self.pods[name] = made
        return made

    def _list(self, params: Mapping[str, str]) -> Object:
        name = params.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [
            pod
            for pod in self.pods.values()
            if name in ("", pod["metadata"]["name"])
            and (name or (KEY in pod["metadata"]["labels"] and RELEASED not in pod["metadata"]["labels"]))
        ]
        return {"kind": "PodList", "metadata": {}, "items": found}

    def _patch(self, pod: Object, body: Any, content_type: str) -> None:
        new = copy.deepcopy(pod)
        if content_type.startswith("application/json-patch"):
            if self.behaviour == "reject":
                raise Forbidden('admission webhook "hours.example" denied the request: no more today', 403)
            apply_patch(new, body)
            self.changes += 1
        else:
            meta = copy.deepcopy(body["metadata"])
            if meta.pop("resourceVersion") != pod["metadata"]["resourceVersion"]:
                raise Conflict("the object has been modified", 409)
            new["metadata"]["labels"] |= meta.pop("labels", {})
            new["metadata"] |= meta
        new["metadata"]["resourceVersion"] = str(next(self._serial))
        pod.clear()
        pod.update(new)

    def _delete(self, pod: Object, options: Object) -> None:
        wanted = options["preconditions"]
        if any(pod["metadata"][name] != value for name, value in wanted.items()):
            raise Conflict("the precondition does not hold", 409)
        pod["metadata"].setdefault("deletionTimestamp", NOW)
        pod["metadata"].setdefault("deletionGracePeriodSeconds", 0)
        if options["propagationPolicy"] == "Foreground":
            finalizers = pod["metadata"].setdefault("finalizers", [])
            finalizers += [FOREGROUND] if FOREGROUND not in finalizers else []

    def _beside(self, method: str, path: str, body: Any) -> Object:
        if method == "POST":
            called = f"{path.rpartition('/')[2]}/{body['metadata']['name']}"
            if called in self.beside:
                raise AlreadyExists("already exists", 409)
            made = copy.deepcopy(body)
            made["metadata"]["uid"] = f"o{next(self._serial)}"
            self.beside[called] = made
            return made
        called = "/".join(path.split("/")[-2:])
        if called not in self.beside:
            raise NotFound(path, 404)
        return self.beside.pop(called) if method == "DELETE" else self.beside[called]

    # --- what the node and the garbage collector do -------------------------------------------------------------

    def _node(self, pod: Object) -> None:
        meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
        gated = any(gate["name"] == GATE for gate in spec.get("schedulingGates") or ())
        if meta.get("deletionTimestamp"):
            if status["phase"] == "Running":
                end = {"terminated": {"exitCode": 143, "reason": "Error", "finishedAt": LATER}}
                status |= {"phase": "Failed", "containerStatuses": [{"name": CONTAINER, "state": end}]}
            elif status["phase"] == "Pending" and spec.get("nodeName"):
                status["phase"] = "Failed"
            if FOREGROUND in meta.get("finalizers", ()):
                meta["finalizers"].remove(FOREGROUND)
            if not meta.get("finalizers"):
                self.pods.pop(meta["name"], None)
        elif status["phase"] == "Pending" and not gated and not spec.get("nodeName"):
            spec["nodeName"] = "node"
            if self.hindered:
                status |= copy.deepcopy(HINDERED)
                return
            self.ledger.append(meta["labels"][KEY])
            status["phase"] = "Running"

    def finish(self, key: str) -> None:
        """Its driver ends well."""
        end = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": NOW}}
        self.pods[f"dj-{key}"]["status"] = {
            "phase": "Succeeded",
            "containerStatuses": [{"name": CONTAINER, "state": end}],
        }
