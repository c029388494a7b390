"""A fake kubelet: it runs nothing, and says of pods what a kubelet would say.

The built cluster has no machine that could run a container. Everything before that is real: the Job controller
makes the pods, the scheduler binds them, the garbage collector deletes them. Here a Node is registered, and each
pod on it "starts", "runs" and "ends" as its annotations say:

* ``durablejob.io/test-end``: ``succeed`` (default), ``fail:3`` (that exit code), ``oom``, ``hold`` (runs until it is
  deleted), ``stuck`` (its image cannot be pulled);
* ``durablejob.io/test-seconds``: how long it runs (default 0);
* ``durablejob.io/test-grace``: how long it takes to end once it is deleted (default 0).

Every container's log says the same (``kubelet_logs``).

What it "started" stands in its **ledger**, an append-only file with a line per start: that is what the tests judge
by. The line is written before anybody is told that the pod runs, as a program runs before its kubelet says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import config
from kubernetes.client import ApiException, CoreV1Api
from urllib3.exceptions import HTTPError

from tests.testbed.kube.cluster import Cluster
from tests.testbed.kube.kubelet_logs import ADDRESS, LogServer

KEY = "durablejob.io/attempt-key"
END, SECONDS, GRACE = "durablejob.io/test-end", "durablejob.io/test-seconds", "durablejob.io/test-grace"
MERGE_PATCH = "application/merge-patch+json"
TICK = 0.1
"""Seconds between two looks at the pods."""
HEARTBEAT = 5.0
"""Seconds between two signs of life of the Node; the built cluster believes it dead after 20."""
SIGTERM = 143
"""Exit code of a program that ends because it was told to."""

Object = dict[str, Any]


class Start(NamedTuple):
    """A line of the ledger."""

    pod: str
    """uid of the pod."""
    job: str
    """uid of its Job."""
    key: str
    """The attempt's key, as the pod's label has it; ``-`` without."""


class FakeKubelet:
    """One Node, and the pods on it."""

    def __init__(self, cluster: Cluster, ledger: Path, node: str = "fake-node") -> None:
        """Prepare it; nothing happens before `start`."""
        self.node = node
        self.ledger = ledger
        self.ledger.touch()
        self._api = CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started: dict[str, float] = {}
        """When (monotonic seconds) the pods of these uids started."""
        self._deleted: dict[str, float] = {}
        """When the deletion of these was first seen."""
        self._beaten = 0.0
        self._logs: LogServer | None = None
        self.errors: list[Exception] = []
        """What went wrong for another reason than that the API server was away or the pod changed meanwhile."""

    def starts(self) -> list[Start]:
        """Everything that was started, in that order."""
        return [Start(*line.split()) for line in self.ledger.read_text().splitlines()]

    def count(self, key: str) -> int:
        """How often a program of this attempt was started."""
        return sum(start.key == key for start in self.starts())

    def start(self) -> None:
        """Register the Node, and look after its pods from now on, in a thread."""
        known = time.monotonic()
        self._started = {start.pod: known for start in self.starts()}  # a restart starts nothing again
        self._logs = LogServer()
        self._register()
        self._over.clear()
        self._thread = threading.Thread(target=self._run, name=self.node, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; the pods stay as they are."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def remove(self) -> None:
        """Stop, and take the Node away, with the pods that are left on it."""
        self.stop()
        for pod in self._pods():
            try:
                self._delete(pod)
            except ApiException as error:
                if error.status not in (404, 409):  # gone meanwhile, or another one by now
                    raise
        self._api.delete_node(self.node)

    # --- the Node -----------------------------------------------------------------------------------------

    def _register(self) -> None:
        node = {"metadata": {"name": self.node, "labels": {"kubernetes.io/hostname": self.node}}}
        try:
            self._api.create_node(node)
        except ApiException as error:
            if error.status != 409:
                raise
        self._beat()
        # Admission has tainted it as not ready; the controller that takes that back looks every five seconds.
        self._api.patch_node(self.node, {"spec": {"taints": None}}, _content_type=MERGE_PATCH)

    def _beat(self) -> None:
        now = _now()
        room = {"cpu": "1000", "memory": "1000Gi", "pods": "10000"}
        ready = {"type": "Ready", "status": "True", "reason": "FakeKubelet", "message": "it runs nothing"}
        ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
        status: Object = {"capacity": room, "allocatable": room, "conditions": [ready]}
        if self._logs is not None:
            status["addresses"] = [{"type": "InternalIP", "address": ADDRESS}]
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self._logs.port}}
        self._api.patch_node_status(self.node, {"status": status}, _content_type=MERGE_PATCH)
        self._beaten = time.monotonic()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if time.monotonic() - self._beaten > HEARTBEAT:
                    self._beat()
                for pod in self._pods():
                    self._tend(pod)
            except HTTPError:
                pass  # the API server is away: a kubelet goes on
            except ApiException as error:
                # What has changed or gone meanwhile is seen anew at the next look.
                if error.status not in (404, 409) and (error.status or 0) < 500:
                    self.errors.append(error)
            self._over.wait(TICK)

    # --- its pods -------------------------------------------------------------------------------------------

    def _pods(self) -> list[Object]:
        found = self._api.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={self.node}")
        pods: list[Object] = self._api.api_client.sanitize_for_serialization(found)["items"]
        return pods

    def _tend(self, pod: Object) -> None:
        meta, uid = pod["metadata"], pod["metadata"]["uid"]
        notes = meta.get("annotations") or {}
        end, now = notes.get(END, "succeed"), time.monotonic()
        over = pod["status"].get("phase") in ("Succeeded", "Failed")
        if meta.get("deletionTimestamp"):
            first = self._deleted.setdefault(uid, now)
            if not over and now < first + float(notes.get(GRACE, 0)):
                return
            if not over:
                self._tell(pod, "Failed", _terminated(SIGTERM, "Error"))
            self._delete(pod)
        elif over or (end == "stuck" and pod["status"].get("containerStatuses")):
            return
        elif end == "stuck":
            why = {"reason": "ImagePullBackOff", "message": "there is no such image"}
            self._tell(pod, "Pending", {"waiting": why})
        elif uid not in self._started or pod["status"].get("phase") == "Pending":
            if uid not in self._started:  # else it was not told, for the API server did not take it
                self._note(pod)
                self._started[uid] = now
            self._tell(pod, "Running", {"running": {"startedAt": _now()}})
        elif end != "hold" and now >= self._started[uid] + float(notes.get(SECONDS, 0)):
            code = 137 if end == "oom" else int(end.partition(":")[2] or 0)
            reason = "OOMKilled" if end == "oom" else "Error" if code else "Completed"
            self._tell(pod, "Failed" if code else "Succeeded", _terminated(code, reason))

    def _note(self, pod: Object) -> None:
        meta = pod["metadata"]
        jobs = [owner["uid"] for owner in meta.get("ownerReferences") or () if owner["kind"] == "Job"]
        start = Start(meta["uid"], jobs[0] if jobs else "-", (meta.get("labels") or {}).get(KEY, "-"))
        with self.ledger.open("a") as file:
            file.write(" ".join(start) + "\n")

    def _tell(self, pod: Object, phase: str, state: Object) -> None:
        """Write the pod's status."""
        ready = phase == "Running"
        now = _now()
        statuses = [
            {
                "name": container["name"], "image": container.get("image", ""), "imageID": "", "restartCount": 0,
                "ready": ready, "started": ready, "state": state,
            }
            for container in pod["spec"]["containers"]
        ]  # fmt: skip
        conditions = [
            {"type": name, "status": str(ready), "lastTransitionTime": now} for name in ("Ready", "ContainersReady")
        ]
        body = {"phase": phase, "startTime": pod["status"].get("startTime") or now, "conditions": conditions}
        meta = pod["metadata"]
        self._api.patch_namespaced_pod_status(
            meta["name"],
            meta["namespace"],
            {"metadata": {"uid": meta["uid"]}, "status": {**body, "containerStatuses": statuses}},
            _content_type=MERGE_PATCH,
        )

    def _delete(self, pod: Object) -> None:
        """The last word of a kubelet on a deleted pod: nothing of it is left on the machine."""
        meta = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        self._api.delete_namespaced_pod(meta["name"], meta["namespace"], body=options)


def _terminated(code: int, reason: str) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def running(cluster: Cluster, folder: Path, node: str = "fake-node") -> Iterator[FakeKubelet]:
    """Give a Node whose kubelet is a fake, and take it away afterwards.

    Raises:
        AssertionError: it met an error that a kubelet must not meet.

    """
    kubelet = FakeKubelet(cluster, folder / f"{node}.ledger", node)
    kubelet.start()
    try:
        yield kubelet
    finally:
        kubelet.remove()
    assert kubelet.errors == []
