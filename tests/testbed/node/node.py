"""One node: its namespaces, its link to the machine, its daemons."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.testbed.errors import TestbedError
from tests.testbed.images import Image, busybox
from tests.testbed.kube import binary, pki
from tests.testbed.kube.builtin import BuiltCluster
from tests.testbed.kube.cluster import Cluster
from tests.testbed.node import config, needs
from tests.testbed.node.config import Place
from tests.testbed.process import Process
from tests.testbed.site import Site

INIT = Path(__file__).with_name("init.py")
CGROUPS = Path("/sys/fs/cgroup")
NUMBERS = 256
READY = 90.0
"""Seconds that a node has to become ready; 5 on an idle machine."""


class Node:
    """A node of a built cluster, in this site."""

    def __init__(self, site: Site, cluster: Cluster, name: str) -> None:
        """Prepare it; nothing runs yet.

        Raises:
            TestbedError: no node can run here.

        """
        why = needs.lacking()
        if why is not None or not isinstance(cluster, BuiltCluster):
            raise TestbedError(why or f"a cluster of kind {cluster.kind!r} gets no node from here")
        self.name = name
        self.cluster = cluster
        self._site = site
        self._bin = binary.build()
        self._place: Place | None = None
        self._machine: Process | None = None
        self._ports: set[int] = set()

    @property
    def host(self) -> str:
        """The address at which pods reach this machine; see ``reach``."""
        return self._placed().host

    @property
    def address(self) -> str:
        """The node's own address, for this machine and for pods."""
        return self._placed().address

    @property
    def folder(self) -> Path:
        """Where all its files lie."""
        return self._site.folder

    def start(self) -> None:
        """Start it; return when it is ready and pods can be made."""
        # The guardian removes the cgroups when every process in them has ended, so it comes first.
        find = ["find", str(CGROUPS), "-depth", "-type", "d", "-path", f"*{self._cgroup}*"]
        removal = [*find, "-exec", "rmdir", "{}", ";"]
        init = [sys.executable, "-I", "-S", str(INIT), str(self._site.folder)]
        self._machine = self._site.start("node", ["unshare", *needs.NAMESPACES, *init], after=removal)
        self._write_cgroups()
        self._place = self._connect(self._machine)
        self.reach(_port(self.cluster.url))
        self._register_api()
        self._write_files()
        self._write_plan()
        self._site.wait_until(self._containerd_answers, self._machine, "running containerd", READY)
        self.load(busybox.build_pause())
        self._site.wait_until(self._is_ready, self._machine, "ready", READY)

    def reach(self, port: int) -> str:
        """Let pods reach what listens on 127.0.0.1:`port` of this machine; return HOST:PORT for them."""
        if port not in self._ports:
            self._ports.add(port)
            listen = f"TCP-LISTEN:{port},bind={self.host},reuseaddr,fork"
            relay = self._site.start(f"relay-{port}", ["socat", listen, f"TCP:127.0.0.1:{port}"])
            self._site.wait_until(lambda: _listens(self.host, port), relay, "listening", 10)
        return f"{self.host}:{port}"

    def load(self, image: Image) -> str:
        """Import an image; return its name."""
        self.run("ctr", "--namespace=k8s.io", "images", "import", str(image.archive))
        return image.name

    def run(self, *command: str) -> str:
        """Run a program in the node's namespaces, as its root; return what it printed.

        Raises:
            TestbedError: it failed; with what it said.

        """
        inside = ["nsenter", f"--target={self._inside()}", "--net", "--mount", "--pid", *command]
        done = subprocess.run(inside, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"{' '.join(command)}, in the node: {done.stderr.strip()}")
        return done.stdout

    def power_off(self) -> None:
        """Cut its power: every process of it ends at once, and nobody is told."""
        if self._machine is not None:
            self._machine.kill(tree=True)

    def remove(self) -> None:
        """Take it away: pods that are left on it are removed by force, then itself."""
        self.power_off()
        kubectl = self.cluster.kubectl
        with contextlib.suppress(TestbedError):  # the API server may have ended before
            pods = json.loads(kubectl("get", "pods", "-A", "-o", "json", f"--field-selector=spec.nodeName={self.name}"))
            for pod in pods["items"]:
                meta = pod["metadata"]
                kubectl(
                    "-n", meta["namespace"], "delete", "pod", meta["name"], "--force", "--grace-period=0",
                    "--ignore-not-found", "--wait=false",
                )  # fmt: skip
            kubectl("delete", "node", self.name, "--ignore-not-found", "--wait=false")
            kubectl("-n", "default", "delete", "endpointslice", f"kubernetes-{self.name}", "--ignore-not-found")

    # --- its place on this machine --------------------------------------------------------------------------

    @property
    def _cgroup(self) -> str:
        return Place(0, self._site.folder).cgroup

    def _write_cgroups(self) -> None:
        """Version 1 has a tree for each controller, and a new cpuset is empty; version 2 has one tree."""
        unified = (CGROUPS / "cgroup.controllers").exists()
        for tree in [CGROUPS] if unified else [one for one in CGROUPS.iterdir() if (one / "tasks").exists()]:
            made = tree / self._cgroup.strip("/")
            made.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not unified and (tree / name).exists():
                    (made / name).write_text((tree / name).read_text())

    def _connect(self, machine: Process) -> Place:
        """Make the link, which goes with the node's namespaces; its name reserves the node's number."""
        ours = Path("/proc/self/ns/net").readlink()
        theirs = Path(f"/proc/{machine.pid}/ns/net")
        self._site.wait_until(lambda: theirs.readlink() != ours, machine, "in namespaces of its own", 10)
        for number in random.sample(range(NUMBERS), NUMBERS):
            place = Place(number, self._site.folder)
            link = ["ip", "link", "add", place.link, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid)]
            if subprocess.run(link, capture_output=True, check=False).returncode == 0:
                break
        else:
            raise TestbedError(f"there is no free number for a node: ip link shows {NUMBERS} of them")
        for command in (
            ["ip", "address", "add", f"{place.host}/30", "dev", place.link],
            ["ip", "link", "set", place.link, "up"],
            ["ip", "route", "add", place.pods, "via", place.address],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise TestbedError(f"{' '.join(command)}: {done.stderr.strip()}")
        return place

    def _placed(self) -> Place:
        if self._place is None:
            raise TestbedError(f"node {self.name} was not started")
        return self._place

    def _inside(self) -> int:
        """The node's pid 1, as this machine counts."""
        if self._machine is None:
            raise TestbedError(f"node {self.name} was not started")
        pid = self._machine.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    # --- what its daemons need --------------------------------------------------------------------------------

    def _register_api(self) -> None:
        """Say where Service kubernetes leads to: the API server listens on loopback, and cannot say it itself."""
        endpoint = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"kubernetes-{self.name}",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [self.host], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": _port(self.cluster.url), "protocol": "TCP"}],
        }
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(endpoint))

    def _write_files(self) -> None:
        place = self._placed()
        config.write(place)
        self._kubeconfig("kubelet", f"system:node:{self.name}", "system:nodes")
        self._kubeconfig("kube-proxy", "system:kube-proxy")
        self._kubeconfig("coredns", "testbed:dns", "system:masters")
        (place.folder / "ca.crt").write_bytes(self.cluster.authority)

    def _kubeconfig(self, file: str, user: str, *groups: str) -> None:
        """For a daemon, which reaches the API server by another address than its certificate names."""
        found = json.loads(self.cluster.user_kubeconfig(user, groups).read_text())
        server = f"https://{self.host}:{_port(self.cluster.url)}"
        found["clusters"][0]["cluster"] |= {"server": server, "tls-server-name": "localhost"}
        pki.write_secret(self._site.folder / f"{file}.kubeconfig", json.dumps(found))

    def _write_plan(self) -> None:
        place, at = self._placed(), self._site.folder
        commands: dict[str, list[Any]] = {
            "containerd": ["containerd", f"--config={at}/containerd.toml"],
            "kubelet": [
                self._bin / "kubelet", f"--config={at}/kubelet.json", f"--kubeconfig={at}/kubelet.kubeconfig",
                f"--root-dir={at}/kubelet", f"--hostname-override={self.name}", f"--node-ip={place.address}",
            ],
            "kube-proxy": [
                self._bin / "kube-proxy", f"--config={at}/kube-proxy.json", f"--hostname-override={self.name}",
            ],
            "coredns": [self._bin / "coredns", f"-conf={at}/Corefile"],
        }  # fmt: skip
        plan = {
            "host": place.host,
            "address": place.address,
            "folders": ["/run/containerd", "/var/log/pods", "/var/lib/cni", str(at / "pod-logs")],
            "daemons": {
                name: {
                    "command": [str(part) for part in command],
                    "log": str(self._site.logs / f"{name}.log"),
                    "env": {"HOME": str(at)},
                }
                for name, command in commands.items()
            },
        }
        draft = at / "plan.draft"
        draft.write_text(json.dumps(plan))
        draft.rename(at / "plan.json")

    # --- readiness ----------------------------------------------------------------------------------------------

    def _containerd_answers(self) -> bool:
        with contextlib.suppress(TestbedError):
            self.run("ctr", "version")
            return True
        return False

    def _is_ready(self) -> bool:
        """The Node is Ready, and the account that pods run as by default is there."""
        with contextlib.suppress(TestbedError):
            node = json.loads(self.cluster.kubectl("get", "node", self.name, "-o", "json"))
            self.cluster.kubectl("get", "serviceaccount", "default")
            tainted = node["spec"].get("taints")
            conditions = node["status"]["conditions"]
            return not tainted and any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)
        return False


def _port(url: str) -> int:
    return urlsplit(url).port or 443


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2):
        return True
    return False
