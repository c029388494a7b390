"""What a person does at a desk: apply, look, wait, delete. Over the API server, with a ledger of what truly ran."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import CustomObjectsApi

from durablejob_api import GROUP, VERSION
from tests.testbed.kube.cluster import Cluster

Object = dict[str, Any]
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Lost")


class Desk:
    """One namespace, and the ledger that the test applications write to when they start."""

    def __init__(self, cluster: Cluster, folder: Path, namespace: str = "default") -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.ledger = folder / "ledger"
        self.ledger.touch()
        # Looking is done many times a second, for which kubectl is too heavy: a process and 0.2 s of CPU each.
        self._looks = CustomObjectsApi(config.new_client_from_config(str(cluster.kubeconfig)))

    def apply(self, *objects: Object) -> None:
        """kubectl apply."""
        items = [{"apiVersion": "durablejob.io/v1alpha1", **o} for o in objects]
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def backend(self, name: str, spec: Object) -> None:
        """A JobBackend, waited for until it was probed."""
        self.apply({"kind": "JobBackend", "metadata": {"name": name, "namespace": self.namespace}, "spec": spec})
        self.until("jobbackends", name, lambda o: bool(o.get("status", {}).get("conditions")), 30)

    def submit(self, spec: Object, name: str | None = None) -> str:
        """Create a DurableJob; return its name."""
        name = name or f"job-{uuid.uuid4().hex[:8]}"
        self.apply(self._job(spec, name))
        return name

    def create(self, spec: Object, name: str) -> str:
        """Create a DurableJob as an operator does, with one request and no kubectl; return its uid."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", **self._job(spec, name)}
        made = self._looks.create_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs", body)
        return str(made["metadata"]["uid"])

    def _job(self, spec: Object, name: str) -> Object:
        meta = {"name": name, "namespace": self.namespace, "finalizers": ["durablejob.io/external-job"]}
        return {"kind": "DurableJob", "metadata": meta, "spec": spec}

    def get(self, name: str, plural: str = "durablejobs") -> Object:
        result: Object = self._looks.get_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name)
        return result

    def jobs(self) -> list[Object]:
        """All DurableJobs of the namespace."""
        found = self._looks.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs")
        items: list[Object] = found["items"]
        return items

    def patch(self, name: str, spec: Object) -> None:
        text = json.dumps({"spec": spec})
        self.cluster.kubectl("-n", self.namespace, "patch", "dj", name, "--type=merge", "-p", text)

    def delete(self, name: str) -> None:
        self.cluster.kubectl("-n", self.namespace, "delete", "dj", name, "--timeout=30s")

    def until(self, plural: str, name: str, test: Any, timeout: float = 60) -> Object:
        """Wait until the object passes the test."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(name, plural)
            if test(found):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{plural} {name} after {timeout} s: {json.dumps(found.get('status'), indent=1)}")
            time.sleep(0.2)

    def state(self, name: str, *states: str, timeout: float = 60) -> Object:
        """Wait until the job is in one of these states; return its status."""
        status: Object = self.until("durablejobs", name, lambda o: o.get("status", {}).get("state") in states, timeout)[
            "status"
        ]
        return status

    def end(self, name: str, timeout: float = 90) -> Object:
        """Wait for the job's end; return its status."""
        return self.state(name, *TERMINAL, timeout=timeout)

    def objects(self, key: str) -> list[str]:
        """Jobs and pods of an attempt."""
        return self._objects("jobs,pods", key)

    def _objects(self, kinds: str, key: str, *selectors: str) -> list[str]:
        which = ["-l", f"durablejob.io/attempt-key={key}", *selectors]
        return self.cluster.kubectl("-n", self.namespace, "get", kinds, "-o", "name", *which).split()

    def nothing_is_left(self, key: str) -> None:
        """No pod can run when an attempt's end is told. Its Job is let go, and collected, a moment after that."""
        unended = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
        assert self._objects("pods", key, unended) == []
        deadline = time.monotonic() + 20
        while left := self.objects(key):
            assert time.monotonic() < deadline, left
            time.sleep(0.2)

    def starts(self) -> Counter[str]:
        """How often each program truly started."""
        return Counter(self.ledger.read_text().split())

    def release(self, program: str) -> None:
        """Let a program go on that is told to be ``held-…``."""
        Path(f"{self.ledger}.{program}.released").touch()

    def events(self, name: str) -> list[str]:
        """Reasons of the job's events, oldest first."""
        return [event["reason"] for event in self._events(name)]

    def told(self, name: str, reason: str, timeout: float = 10) -> str:
        """Text of the job's newest event with this reason; events are written after the status."""
        deadline = time.monotonic() + timeout
        while True:
            texts = [str(event["message"]) for event in self._events(name) if event["reason"] == reason]
            if texts:
                return texts[-1]
            assert time.monotonic() < deadline, f"{name} has no event {reason}, but {self.events(name)}"
            time.sleep(0.2)

    def _events(self, name: str) -> list[Object]:
        raw = self.cluster.kubectl(
            "-n", self.namespace, "get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json"
        )
        items: list[Object] = json.loads(raw)["items"]
        return sorted(items, key=lambda e: str(e["eventTime"]))  # creationTimestamp counts whole seconds only

    def conditions(self, name: str) -> dict[str, str]:
        return {c["type"]: c["status"] for c in self.get(name)["status"]["conditions"]}
