"""The controller as the chart's pod would run it: its environment, its account. Only the container is missing."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.chart.helm import Object, container, only
from tests.testbed import site as sites
from tests.testbed.controller import READY_TIMEOUT
from tests.testbed.kube.cluster import Cluster
from tests.testbed.process import Process

GATE_TLS = "/etc/durablejob/gate-tls"
"""Where the chart mounts the gate's certificate."""


class Pod:
    """One controller, from the objects of a release."""

    def __init__(self, cluster: Cluster, objects: list[Object], site: sites.Site) -> None:
        self._cluster = cluster
        self._objects = objects
        self._site = site
        self.namespace = str(only(objects, "Deployment")["metadata"]["namespace"])
        spec = only(objects, "Deployment")["spec"]["template"]["spec"]
        self.account = str(spec["serviceAccountName"])
        ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
        self.url = f"http://127.0.0.1:{ports['http']}"
        self.process: Process | None = None

    @property
    def user(self) -> str:
        """How the API server names its account."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"

    def start(self) -> None:
        """Start it, and wait until the chart's readiness probe would pass."""
        assert not {"command", "args"} & container(self._objects).keys()  # the image's entrypoint is the controller
        command: list[str | Path | int] = [sys.executable, "-m", "durablejob_controller"]
        process = self.process = self._site.start("pod", command, env=self._environment())
        self._site.wait_until(lambda: self._answers("readinessProbe"), process, "ready", READY_TIMEOUT)
        assert self._answers("livenessProbe")

    def _environment(self) -> dict[str, str]:
        given: dict[str, str] = {}
        for entry in container(self._objects)["env"]:
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            value = "pod-1" if field == "metadata.name" else entry["value"]
            for name, known in given.items():  # as the kubelet does
                value = value.replace(f"$({name})", known)
            given[entry["name"]] = value.replace(GATE_TLS, str(self.certificate))
        # In a pod the token lies where every client looks for it; here a kubeconfig has it.
        return {**given, "DURABLEJOB_KUBECONFIG": str(self._cluster.account_kubeconfig(self.namespace, self.account))}

    @property
    def certificate(self) -> Path:
        """The folder that the kubelet would mount the gate's certificate as."""
        folder = self._site.folder / "gate-tls"
        volumes = only(self._objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
        secrets = [volume["secret"]["secretName"] for volume in volumes if volume["name"] == "gate-tls"]
        if secrets and not folder.is_dir():
            folder.mkdir()
            found = self._cluster.kubectl("-n", self.namespace, "get", "secret", secrets[0], "-o", "json")
            for name, data in json.loads(found)["data"].items():
                (folder / name).write_bytes(base64.b64decode(data))
        return folder

    def _answers(self, probe: str) -> bool:
        path = container(self._objects)[probe]["httpGet"]["path"]
        try:
            return httpx.get(self.url + path, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()


@contextmanager
def running(cluster: Cluster, objects: list[Object]) -> Iterator[Pod]:
    """Give a ready controller, and end it afterwards."""
    with sites.temporary("chart") as site:
        pod = Pod(cluster, objects, site)
        pod.start()
        yield pod
