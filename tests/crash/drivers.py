"""Spark drivers as Pods, for the crash suite: a real API server, scheduler and garbage collector, a fake kubelet."""

from __future__ import annotations

import json
from typing import Any

from kubernetes import client as kubernetes_client

from tests.crash.stories import Story
from tests.crash.systems import POD_ENDS, RUNS_FOR, Object, gone_is_well, selector
from tests.testbed.kube.kubelet import END, MERGE_PATCH, SECONDS, FakeKubelet


class DriverSystem:
    """Spark on Kubernetes; the fake kubelet's ledger says which drivers were started."""

    name = "SparkOnKubernetes"
    type = "Kubernetes"

    def __init__(self, api: kubernetes_client.ApiClient, kubelet: FakeKubelet, namespace: str) -> None:
        self._kubelet = kubelet
        self._namespace = namespace
        self._pods = kubernetes_client.CoreV1Api(api)

    def backend(self) -> Object:
        return {"kubernetes": {"spark": {"image": "example.invalid/spark:4", "ui": {}}}}

    def work(self, story: Story) -> Object:
        driver: Object = {"annotations": {END: POD_ENDS[story.how], SECONDS: str(RUNS_FOR)}}
        if story.how == "reject":  # by the API server's own admission
            driver["priorityClassName"] = "nonsense"
        application = {"mainApplicationFile": "local:///a.jar", "mainClass": "A"}
        return {"spark": {**application, "kubernetes": {"driver": driver}}}

    def accepted(self, key: str) -> bool:
        return any(not pod.spec.scheduling_gates for pod in self._list(key))

    def starts(self, key: str) -> int:
        return self._kubelet.count(key)

    def left(self, key: str) -> list[str]:
        pods = [pod for pod in self._list(key) if pod.status.phase not in ("Succeeded", "Failed")]
        services = self._pods.list_namespaced_service(self._namespace, label_selector=selector(key)).items
        return [f"pod {pod.metadata.name}" for pod in pods] + [f"service {one.metadata.name}" for one in services]

    def remove(self, key: str) -> None:
        for pod in self._list(key):
            with gone_is_well():
                self._pods.delete_namespaced_pod(pod.metadata.name, self._namespace)

    def strip(self, key: str) -> None:
        for pod in self._list(key):
            # Not the client's own kind of patch, which adds to lists.
            body: Object = {"metadata": {"finalizers": []}}
            at_once = kubernetes_client.V1DeleteOptions(grace_period_seconds=0)  # else it is seen while it is deleted
            with gone_is_well():
                name = pod.metadata.name
                self._pods.patch_namespaced_pod(name, self._namespace, body, _content_type=MERGE_PATCH)
                self._pods.delete_namespaced_pod(name, self._namespace, body=at_once)

    def clear(self, key: str) -> None:
        """Take it away: the kubelet looks at every pod there is, ten times a second."""
        self.strip(key)

    def evidence(self, key: str) -> str:
        clean = self._pods.api_client.sanitize_for_serialization
        starts = [start for start in self._kubelet.starts() if start.key == key]
        return json.dumps({"starts": starts, "pods": clean(self._list(key))}, indent=1)

    def _list(self, key: str) -> list[Any]:
        found: list[Any] = self._pods.list_namespaced_pod(self._namespace, label_selector=selector(key)).items
        return found


class PublicDriverSystem(DriverSystem):
    """The same with an Ingress that leads to the UI, and with the last lines of a failed driver's log."""

    name = "SparkOnKubernetesPublic"

    def __init__(self, api: kubernetes_client.ApiClient, kubelet: FakeKubelet, namespace: str) -> None:
        super().__init__(api, kubelet, namespace)
        self._networking = kubernetes_client.NetworkingV1Api(api)

    def backend(self) -> Object:
        ui = {"ingress": {"host": "{name}.example.invalid"}}
        return {"kubernetes": {"spark": {"image": "example.invalid/spark:4", "ui": ui}, "failureLogLines": 1}}

    def left(self, key: str) -> list[str]:
        ingresses = self._networking.list_namespaced_ingress(self._namespace, label_selector=selector(key)).items
        return super().left(key) + [f"ingress {one.metadata.name}" for one in ingresses]
