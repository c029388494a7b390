"""An API server in memory, for Pods: as much of it as the verbs rely on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from durablejob_controller.errors import Conflict, NotFound, Refused

Object = dict[str, Any]


class ScriptedPods:
    """What ``Kube.call`` reaches."""

    def __init__(self) -> None:
        self.pods: dict[str, Object] = {}
        self.cleared: list[str] = []
        """Label selectors of collections that were deleted."""
        self.changes = 0
        """JSON patches that had an effect."""

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
        if path.endswith("/pods") and method == "DELETE":
            self.cleared.append((params or {})["labelSelector"])
            return {}
        if method == "POST":
            return self._create(body)
        name = path.rpartition("/")[2]
        if name not in self.pods or "/pods/" not in path:
            raise NotFound(path, 404)
        pod = self.pods[name]
        if method == "PATCH" and content_type.startswith("application/json-patch"):
            self._patch(pod, body)
        elif method == "PATCH":
            changes = body["metadata"]
            pod["metadata"]["labels"] |= changes.pop("labels", {})
            pod["metadata"] |= changes
        return copy.deepcopy(pod)

    def _create(self, body: Object) -> Object:
        name = body["metadata"]["name"]
        if name in self.pods:
            raise Conflict("already exists", 409)
        self.pods[name] = copy.deepcopy(body)
        self.pods[name]["metadata"] |= {"uid": f"uid-{len(self.pods)}", "resourceVersion": "1"}
        return copy.deepcopy(self.pods[name])

    def _patch(self, pod: Object, steps: list[Object]) -> None:
        new = copy.deepcopy(pod)
        for step in steps:
            *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
            target: Any = new
            for part in way:
                target = target[int(part)] if isinstance(target, list) else target.get(part, [{}])
            if step["op"] == "add":
                target[last] = step["value"]
            elif last not in target or (step["op"] == "test" and target[last] != step["value"]):
                raise Refused("the server rejected our request", 422)
            elif step["op"] == "remove":
                del target[last]
        self.changes += 1
        pod.clear()
        pod.update(new)
