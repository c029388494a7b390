"""The configuration files of a node's daemons; pure text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.node.needs import CNI

PAUSE = "lab.local/pause:1"
"""The image that holds a pod's namespaces open. Without a host part containerd would ask a registry for it."""
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Place:
    """Where a node is: its addresses, and its own folder."""

    number: int
    """One of 256: each node of this machine has another, and hence other addresses."""
    folder: Path

    @property
    def link(self) -> str:
        """Name of the machine's end of the link."""
        return f"djnode{self.number}"

    @property
    def host(self) -> str:
        """The machine, as pods reach it."""
        return f"198.18.{self.number}.1"

    @property
    def address(self) -> str:
        """The node, as the machine reaches it. 198.18.0.0/15 is set apart for tests (RFC 2544)."""
        return f"198.18.{self.number}.2"

    @property
    def pods(self) -> str:
        """The addresses of its pods."""
        return f"198.19.{self.number}.0/24"

    @property
    def cgroup(self) -> str:
        """All its cgroups lie below this one."""
        return f"/{self.folder.name}"


def write(place: Place) -> None:
    """Write all files into the node's folder."""
    network = place.folder / "cni"
    network.mkdir()
    (network / "10-testbed.conflist").write_text(json.dumps(_network(place)))
    for name, config in {"kubelet": _kubelet(place), "kube-proxy": _proxy(place)}.items():
        (place.folder / f"{name}.json").write_text(json.dumps(config, indent=1))
    (place.folder / "containerd.toml").write_text(_containerd(place))
    (place.folder / "Corefile").write_text(_dns(place))


def _network(place: Place) -> dict[str, Any]:
    """A link of its own for each pod, routed; it enforces no NetworkPolicy."""
    addresses = {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": place.pods}]]}
    point_to_point = {"type": "ptp", "ipMasq": False, "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]}}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "testbed", "plugins": [point_to_point, ports]}


def _kubelet(place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(place.folder / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "podLogsDir": str(place.folder / "pod-logs"),
        "cgroupDriver": "cgroupfs",  # no systemd in here
        "cgroupRoot": place.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "nodeStatusUpdateFrequency": "4s",
        "clusterDomain": DOMAIN,
        "clusterDNS": [place.address],
        "resolvConf": "",
        # The machine's disk is not ours to judge: nothing is evicted, no image removed, because it is full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _proxy(place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(place.folder / "kube-proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": place.pods,
        # Settings of connection tracking belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _containerd(place: Place) -> str:
    """Version 2 of containerd's configuration; restrict_oom_score_adj: not every root may lower its score."""
    return f"""version = 2
root = "{place.folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{place.folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _dns(place: Place) -> str:
    """It listens on all addresses, which are the node's alone."""
    return f"""{DOMAIN}:53 {{
  errors
  kubernetes {DOMAIN} {{
    kubeconfig {place.folder}/coredns.kubeconfig
  }}
}}
"""
