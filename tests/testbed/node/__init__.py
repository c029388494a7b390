"""A real node for the built cluster: kubelet, containerd, runc, CNI plugins, kube-proxy and CoreDNS.

    with kube.running() as cluster, node.running(cluster) as here:
        here.load(busybox.build())

It needs root, and some of Debian's packages (`make setup-node`); `lacking` says why there can be none. It lives in
net, mount and pid namespaces of its own, which end with it, also when the test run is killed: no mount, no link,
no process and no cgroup of it stays.

**Between the machine and the pods** there is one way, a link (veth) with an address at each end:

- a pod reaches a program of the machine at ``here.host``, on the port that was given to ``here.reach(port)``: the
  program itself may listen on 127.0.0.1 only;
- the machine reaches pods at their own addresses, and Services of type NodePort at ``here.address``; kubectl's
  logs, exec and port-forward work.

A node that is killed (`here.power_off`) is a machine whose power was cut: the cluster sees it fall silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.testbed import site as sites
from tests.testbed.kube.builtin import BuiltCluster
from tests.testbed.kube.cluster import Cluster
from tests.testbed.node import needs
from tests.testbed.node.node import Node

__all__ = ["Node", "lacking", "running"]


def lacking(cluster: Cluster) -> str | None:
    """Why this cluster can be given no node here, in words; None: it can."""
    if not isinstance(cluster, BuiltCluster):
        return f"nodes are added to the built cluster only, and this one is {cluster.kind}"
    return needs.lacking()


@contextmanager
def running(cluster: Cluster, name: str = "node") -> Iterator[Node]:
    """Give a ready node of this cluster, and take it away afterwards, with everything that is left on it.

    Raises:
        TestbedError: none can run here, or it did not come up; with the reason.

    """
    with sites.temporary("node") as site:
        node = Node(site, cluster, name)
        node.start()
        try:
            yield node
        finally:
            node.remove()
