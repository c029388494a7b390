"""What all cells share: the systems they run on, and what is given out to each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from kubernetes import client as kubernetes_client
from kubernetes import config

from tests.crash.drivers import DriverSystem, PublicDriverSystem
from tests.crash.master import Yard
from tests.crash.real import RealSpark, RealSparkSystem
from tests.crash.systems import JobSystem, SparkSystem, System
from tests.crash.yarn import GatedYarnSystem, YarnSystem
from tests.crash.zygote import Zygote
from tests.testbed import site as sites
from tests.testbed.kube import kubelet
from tests.testbed.kube.cluster import Cluster
from tests.testbed.kube.kubelet import FakeKubelet

CONNECTIONS = 64
"""Connections to the API server that are kept for the cells side by side."""


@dataclass
class Bench:
    """What all cells share."""

    cluster: Cluster
    zygote: Zygote
    yard: Yard
    site: sites.Site
    kubelet: FakeKubelet
    real: RealSpark
    api: kubernetes_client.ApiClient
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the suite is told to end."""
    _serial: Iterator[int] = field(default_factory=lambda: count(1))
    _ports: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_namespace(self) -> str:
        """A name that no other cell has."""
        with self._lock:
            return f"crash-{next(self._serial)}"

    @contextmanager
    def system(self, name: str, namespace: str) -> Iterator[System]:
        if name == JobSystem.name:
            yield JobSystem(self.api, self.kubelet, namespace)
        elif name == DriverSystem.name:
            yield DriverSystem(self.api, self.kubelet, namespace)
        elif name == PublicDriverSystem.name:
            yield PublicDriverSystem(self.api, self.kubelet, namespace)
        elif name == RealSparkSystem.name:
            yield self.real.system(namespace)
        elif name in (YarnSystem.name, GatedYarnSystem.name):
            with self.yard.yarn() as yarn:
                yield (YarnSystem if name == YarnSystem.name else GatedYarnSystem)(yarn, self.api, namespace)
        else:
            with self.yard.master() as master:
                yield SparkSystem(master)

    def free_ports(self, number: int) -> list[int]:
        """Ports that no other cell was given: one that is free now may be about to be taken."""
        with self._lock:
            while True:
                found = sites.free_ports(number)
                if self._ports.isdisjoint(found):
                    self._ports.update(found)
                    return found


@contextmanager
def running(cluster: Cluster) -> Iterator[Bench]:
    """What cells need, on a cluster that serves our kinds, and its end; the real Spark starts when it is asked for."""
    settings = kubernetes_client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=settings)
    settings.connection_pool_maxsize = CONNECTIONS
    with (
        sites.temporary("crash") as site,
        Yard() as yard,
        kubelet.running(cluster, site.folder, node="crash-node") as fake,
        kubernetes_client.ApiClient(settings) as api,
    ):
        zygote, real = Zygote(site), RealSpark(site.folder)
        try:
            yield Bench(cluster, zygote, yard, site, fake, real, api)
        finally:
            zygote.close()
            real.close()
