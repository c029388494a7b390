"""One job that lives its story: created, wished upon, watched, and judged by the external system's ledger."""

from __future__ import annotations

import json
import time
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.client import ApiException

from durablejob_api import API_VERSION, FINALIZER, GROUP, VERSION
from durablejob_api.names import attempt_key
from tests.crash.stories import Story, When
from tests.crash.systems import Object, System

TERMINAL = ("Succeeded", "Failed", "Cancelled", "Lost")
QUOTA = "few"
"""Its name."""
COUNTED_WITHIN = 30.0
"""Seconds in which a new quota is counted."""
Blame = tuple[str, str]
"""What kind of wrong it is (duplicate, end, stuck, orphan), and the words."""


class Place:
    """One namespace, and our objects in it."""

    def __init__(self, api: kubernetes_client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self._core = kubernetes_client.CoreV1Api(api)
        self._objects = kubernetes_client.CustomObjectsApi(api)

    def make(self) -> None:
        """Create the namespace."""
        self._core.create_namespace({"metadata": {"name": self.namespace}})

    def limit(self, resource: str, room: int) -> None:
        """Leave room for so many of this resource; returns when they are counted."""
        body = {"metadata": {"name": QUOTA}, "spec": {"hard": {resource: str(room)}}}
        self._core.create_namespaced_resource_quota(self.namespace, body)
        deadline = time.monotonic() + COUNTED_WITHIN
        while not self._core.read_namespaced_resource_quota(QUOTA, self.namespace).status.used:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the quota of {resource} is not counted")
            time.sleep(0.1)

    def make_room(self) -> None:
        """Take the quota away."""
        self._core.delete_namespaced_resource_quota(QUOTA, self.namespace)

    def create(self, plural: str, kind: str, meta: Object, spec: Object) -> Object:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
        made: Object = self._objects.create_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, body)
        return made

    def get(self, plural: str, name: str) -> Object | None:
        """The object; None: there is none."""
        try:
            found: Object = self._objects.get_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def jobs(self) -> dict[str, Object]:
        """All DurableJobs, by name."""
        found = self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs")
        return {item["metadata"]["name"]: item for item in found["items"]}

    def backends(self) -> dict[str, Object]:
        """All JobBackends, by name."""
        found = self._objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "jobbackends")
        return {item["metadata"]["name"]: item for item in found["items"]}

    def annotate(self, backend: str, annotations: Object) -> None:
        """Annotate a JobBackend."""
        body = {"metadata": {"annotations": annotations}}
        self._objects.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, "jobbackends", backend, body)

    def patch(self, name: str, spec: Object) -> None:
        self._objects.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, "durablejobs", name, {"spec": spec}
        )

    def delete(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs", name)


class Life:
    """One job of a story."""

    def __init__(self, place: Place, story: Story, system: System, name: str) -> None:
        self.story, self.system, self.name = story, system, name
        self.key = ""
        """The attempt's; empty before it was submitted."""
        self.changed: list[str] = []
        """What never changes, and did."""
        self._place = place
        self._seen: dict[str, Any] = {}
        self._wished = False

    def submit(self, backend: str = "here", **more: Any) -> None:
        """Create the DurableJob, or adopt it if an earlier try has made it; ``more`` is added to its spec."""
        spec = {
            "backendRef": {"name": backend, "type": self.system.type},
            "ttlSecondsAfterFinished": self.story.ttl,
            **self.system.work(self.story),
            **more,
        }
        meta = {"name": self.name, "finalizers": [FINALIZER]}
        try:
            made = self._place.create("durablejobs", "DurableJob", meta, spec)
        except ApiException as error:
            found = self._place.get("durablejobs", self.name) if error.status == 409 else None
            if found is None:
                raise
            made = found
        self.key = attempt_key(made["metadata"]["uid"], 1)

    def wish(self, job: Object | None) -> None:
        """Do what the story says that somebody does, once its moment has come."""
        story = self.story
        if self._wished or story.wish is None or not self._is_due(job, story.when):
            return
        if story.wish in ("remove", "strip"):
            getattr(self.system, story.wish)(self.key)
        elif story.wish == "make room":
            self._place.make_room()
        elif story.wish == "delete":
            self._place.delete(self.name)
        else:
            self._place.patch(self.name, {"cancel": {"attempt": 1, "cause": "User"}})
        self._wished = True

    def _is_due(self, job: Object | None, when: When) -> bool:
        if when is When.ACCEPTED:
            return self.system.accepted(self.key)
        if when is When.STARTED:
            return self.system.starts(self.key) > 0
        status = (job or {}).get("status") or {}
        if when is When.DEFERRED:
            return bool((status.get("current") or {}).get("reason") == "QuotaExceeded")
        state = status.get("state")
        return bool(state == ("Submitted" if when is When.SUBMITTED else "Running"))

    def note(self, job: Object | None) -> None:
        """External ID and terminal state, once there, never change."""
        status = (job or {}).get("status") or {}
        outcome = (status.get("current") or {}).get("outcome")
        for what, value in (("external ID", status.get("externalID")), ("outcome", outcome)):
            known = self._seen.get(what)
            if known is not None and job is not None and value != known:
                self.changed.append(f"{what} changed from {known} to {value}")
            if value is not None:
                self._seen[what] = value
        if status:
            self._seen["reason"] = (status.get("current") or {}).get("reason")

    def is_over(self, job: Object | None) -> bool:
        """The story's end is there: a terminal state, or (where it ends so) no resource any more."""
        if self.story.state is None:
            return job is None
        return job is not None and (job.get("status") or {}).get("state") in TERMINAL

    def left(self) -> list[str]:
        """What of it runs or waits."""
        return self.system.left(self.key)

    def judge(self, job: Object | None) -> list[Blame]:
        """Everything that is wrong, now that nothing moves any more."""
        story = self.story
        blames = [("end", words) for words in self.changed]
        starts = self.system.starts(self.key)
        if starts > 1:
            blames.append(("duplicate", f"the program was started {starts} times"))
        elif starts != story.starts:
            blames.append(("end", f"the program was started {starts} times, not {story.starts}"))
        if not self.is_over(job):
            blames.append(("stuck", f"no end: {json.dumps((job or {}).get('status'))}"))
        elif story.state is not None and (self._seen["outcome"], self._seen["reason"]) != (story.state, story.reason):
            blames.append(("end", f"ended {self._seen['outcome']} ({self._seen['reason']})"))
        if left := self.left():
            blames.append(("orphan", f"left: {left}"))
        return blames
