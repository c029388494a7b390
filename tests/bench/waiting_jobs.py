"""Thousands of DurableJobs that run, and end when they are told; no controller, the statuses are written here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, config

from durablejob_airflow.identity import TaskIdentity
from durablejob_api import API_VERSION, GROUP, VERSION
from durablejob_api.names import attempt_key
from tests.testbed.kube.cluster import Cluster

DEPLOYMENT = "bench"
_WRITERS = 8


class WaitingJobs:
    """The jobs of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.namespace = namespace
        self._kubeconfig = str(cluster.kubeconfig)
        self._local = threading.local()
        self.made: dict[str, dict[str, Any]] = {}
        """The job of each name, as last written."""
        cluster.kubectl("create", "namespace", namespace)

    def _api(self) -> client.CustomObjectsApi:
        if not hasattr(self._local, "api"):
            self._local.api = client.CustomObjectsApi(config.new_client_from_config(self._kubeconfig))
        api: client.CustomObjectsApi = self._local.api
        return api

    def create(self, identities: Sequence[TaskIdentity]) -> None:
        """Make a running job for each task."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            for job in pool.map(self._create, identities):
                self.made[job["metadata"]["name"]] = job

    def _create(self, identity: TaskIdentity) -> dict[str, Any]:
        body = {
            "apiVersion": API_VERSION,
            "kind": "DurableJob",
            "metadata": {"name": identity.name, "labels": identity.labels, "annotations": identity.annotations},
            "spec": {
                "backendRef": {"name": "fake", "type": "Plugin"},
                "plugin": {"parameters": {}},
                "holder": {"incarnation": "bench", "id": f"ti-{identity.map_index}"},
            },
        }
        made = self._api().create_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs", body)
        key = attempt_key(made["metadata"]["uid"], 1)
        current = {"number": 1, "key": key, "reason": "Started", "startedAt": _now()}
        return self._write(made, {"state": "Running", "current": current, "externalID": f"driver-{identity.map_index}",
                                  "trackingURL": f"http://tracking.example/{identity.name}"})  # fmt: skip

    def _write(self, job: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        meta = job["metadata"]
        written: dict[str, Any] = self._api().replace_namespaced_custom_object_status(
            GROUP, VERSION, self.namespace, "durablejobs", meta["name"], {**job, "status": status}
        )
        return written

    def row(self, name: str) -> tuple[str, str, str, int]:
        """The job's name and uid, and the run and map index of its task."""
        meta = self.made[name]["metadata"]
        notes = meta["annotations"]
        return name, meta["uid"], notes[f"{GROUP}/run-id"], int(notes[f"{GROUP}/map-index"])

    def end(self, names: Iterable[str], per_second: float) -> dict[str, float]:
        """End jobs at a steady rate; name -> the time at which the API server said that it has it."""
        ended: dict[str, float] = {}
        began = time.monotonic()
        for number, name in enumerate(names):
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            ended[name] = self._end(name)
        return ended

    def end_at_once(self, names: Iterable[str]) -> dict[str, float]:
        """End jobs as fast as the API server takes it; name -> when it said that it has it."""
        names = list(names)
        with ThreadPoolExecutor(_WRITERS) as pool:
            return dict(zip(names, pool.map(self._end, names), strict=True))

    def _end(self, name: str) -> float:
        status = self.made[name]["status"]
        end = {"outcome": "Succeeded", "reason": "Completed", "message": "", "finishedAt": _now()}
        self.made[name] = self._write(
            self.made[name], {**status, "state": "Succeeded", "current": {**status["current"], **end}}
        )
        return time.time()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def watches(cluster: Cluster) -> int:
    """Watches of the DurableJobs of a namespace that the API server serves now.

    Those of the whole cluster are not counted: Kubernetes' garbage collector watches every kind of resource so.
    """
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in cluster.kubectl("get", "--raw", "/metrics").splitlines()
        if line.startswith("apiserver_longrunning_requests{")
        and 'resource="durablejobs"' in line
        and 'scope="namespace"' in line
        and 'verb="WATCH"' in line
    )
