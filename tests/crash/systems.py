"""The external systems that jobs run on in the crash suite: how work is given to each, and what its ledger says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from kubernetes import client as kubernetes_client
from kubernetes.client import ApiException

from tests.crash.master import Master
from tests.crash.stories import Story
from tests.testbed.kube.kubelet import END, MERGE_PATCH, SECONDS, FakeKubelet

Object = dict[str, Any]
RUNS_FOR = 0.4
"""Seconds that a program runs, unless it waits to be killed."""


class System(Protocol):
    """One external system, for one cell."""

    name: str
    """In the cells' names."""
    type: str
    """``backendRef.type``."""

    def backend(self) -> Object:
        """Spec of the JobBackend."""

    def work(self, story: Story) -> Object:
        """The job's work, which behaves as the story says."""

    def accepted(self, key: str) -> bool:
        """Something of this attempt is there."""

    def starts(self, key: str) -> int:
        """How often a program of this attempt was started, by the ledger."""

    def left(self, key: str) -> list[str]:
        """What runs or waits."""

    def remove(self, key: str) -> None:
        """Somebody ends the run by hand, without the controller."""

    def strip(self, key: str) -> None:
        """Somebody removes every trace of it by force."""

    def clear(self, key: str) -> None:
        """The cell is over: what is left is in nobody's way."""

    def evidence(self, key: str) -> str:
        """What the system knows of the attempt, for a person who asks why a cell went wrong."""


class SparkSystem:
    """Spark standalone: the stand-in for its Master."""

    name = type = "SparkStandalone"

    def __init__(self, master: Master) -> None:
        self._master = master

    def backend(self) -> Object:
        address = {"rest": self._master.url, "ui": self._master.url}
        return {"sparkStandalone": {"masters": [address]}, "artifactSchemes": ["local"]}

    def work(self, story: Story) -> Object:
        return {
            "spark": {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": [story.how]},
        }

    def accepted(self, key: str) -> bool:
        return any(driver.key == key for driver in list(self._master.drivers.values()))

    def starts(self, key: str) -> int:
        return len(self._master.starts(key))

    def left(self, key: str) -> list[str]:
        return [str(driver.record()) for driver in self._master.active() if driver.key == key]

    def remove(self, key: str) -> None:
        for driver in self._master.starts(key):
            self._master.kill_by_hand(driver)

    def strip(self, key: str) -> None:
        raise NotImplementedError("a Master forgets by itself: see the program that vanishes")

    def clear(self, key: str) -> None:
        """Nothing: the cluster ends with its cell."""

    def evidence(self, key: str) -> str:
        return "\n".join(str(driver) for driver in list(self._master.drivers.values()) if driver.key == key)


POD_ENDS = {"succeed": "succeed", "fail": "fail:3", "hold": "hold", "queue": "stuck", "reject": "succeed"}


class JobSystem:
    """Kubernetes Jobs: a real API server and Job controller, and the fake kubelet's ledger."""

    name = type = "Kubernetes"

    def __init__(self, api: kubernetes_client.ApiClient, kubelet: FakeKubelet, namespace: str) -> None:
        self._kubelet = kubelet
        self._namespace = namespace
        self._jobs = kubernetes_client.BatchV1Api(api)
        self._pods = kubernetes_client.CoreV1Api(api)

    def backend(self) -> Object:
        return {"kubernetes": {}}

    def work(self, story: Story) -> Object:
        notes = {END: POD_ENDS[story.how], SECONDS: str(RUNS_FOR)}
        container = {"name": "main", "image": "example.invalid/etl:1"}
        pod = {"metadata": {"annotations": notes}, "spec": {"containers": [container]}}
        # What the API server itself refuses: the quantity of a resource that is not there.
        unknown = {"nonsense": True} if story.how == "reject" else {}
        return {"kubernetesJob": {"template": {"template": pod, **unknown}}}

    def accepted(self, key: str) -> bool:
        return any(not job.spec.suspend for job in self._list(key))

    def starts(self, key: str) -> int:
        return self._kubelet.count(key)

    def left(self, key: str) -> list[str]:
        pods = self._pods_of(key)
        alive = [f"pod {pod.metadata.name}" for pod in pods if pod.status.phase not in ("Succeeded", "Failed")]
        jobs = [job for job in self._list(key) if not any(c.type in ("Complete", "Failed") for c in _conditions(job))]
        return alive + [f"job {job.metadata.name}" for job in jobs]

    def remove(self, key: str) -> None:
        for job in self._list(key):
            options = kubernetes_client.V1DeleteOptions(propagation_policy="Background")
            with gone_is_well():
                self._jobs.delete_namespaced_job(job.metadata.name, self._namespace, body=options)

    def strip(self, key: str) -> None:
        for job in self._list(key):
            # Not the client's own kind of patch, which adds to lists.
            body: Object = {"metadata": {"finalizers": []}}
            with gone_is_well():
                self._jobs.patch_namespaced_job(job.metadata.name, self._namespace, body, _content_type=MERGE_PATCH)
        self.remove(key)

    def clear(self, key: str) -> None:
        """Take it away: the kubelet looks at every pod there is, ten times a second."""
        self.strip(key)

    def evidence(self, key: str) -> str:
        clean = self._jobs.api_client.sanitize_for_serialization
        starts = [start for start in self._kubelet.starts() if start.key == key]
        return json.dumps(
            {"starts": starts, "jobs": clean(self._list(key)), "pods": clean(self._pods_of(key))}, indent=1
        )

    def _pods_of(self, key: str) -> list[Any]:
        found: list[Any] = self._pods.list_namespaced_pod(self._namespace, label_selector=selector(key)).items
        return found

    def _list(self, key: str) -> list[Any]:
        found: list[Any] = self._jobs.list_namespaced_job(self._namespace, label_selector=selector(key)).items
        return found


def selector(key: str) -> str:
    return f"durablejob.io/attempt-key={key}"


def _conditions(job: Any) -> list[Any]:
    return [c for c in job.status.conditions or [] if c.status == "True"]


@contextmanager
def gone_is_well() -> Iterator[None]:
    """Who takes something away does not mind that somebody was faster."""
    try:
        yield
    except ApiException as error:
        if error.status != 404:
            raise
