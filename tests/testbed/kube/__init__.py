"""A Kubernetes cluster for tests: `with kube.running() as cluster: ...`.

Which one is decided at run time, in this order:

1. $DURABLEJOB_KUBECONFIG names a kubeconfig: that cluster is used, and never stopped.
2. Docker answers and `kind` is installed: a kind cluster.
3. Otherwise the built one: real etcd, kube-apiserver, controllers and scheduler (see builtin.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import site as sites
from tests.testbed.errors import TestbedError
from tests.testbed.kube import binary, kind
from tests.testbed.kube.builtin import BuiltCluster, Options
from tests.testbed.kube.cluster import Cluster

__all__ = ["BuiltCluster", "Cluster", "bring_up", "build", "running"]


@contextmanager
def running(*, durable: bool = False, audit: bool = False) -> Iterator[Cluster]:
    """Give a running cluster and end it afterwards.

    `durable` makes etcd wait for the disk (for benchmarks); `audit` writes `cluster.audit_log`. Both matter to
    the built cluster only.

    Raises:
        TestbedError: it did not come up; with the end of the log that says why.

    """
    with sites.temporary("kube") as site:
        yield bring_up(site, Options(durable, audit))


def bring_up(site: sites.Site, options: Options) -> Cluster:
    """Choose a cluster and bring it up in this site."""
    if chosen := os.environ.get("DURABLEJOB_KUBECONFIG"):
        path = Path(chosen).resolve()
        if not path.is_file():
            raise TestbedError(f"DURABLEJOB_KUBECONFIG names {path}, which is no file")
        return Cluster(path, site.folder)
    if kind.available() and (cluster := kind.create(site)):
        return cluster
    built = BuiltCluster(site, options)
    built.start()
    return built


def build() -> Path:
    """Build what the built cluster needs, if it is not in the cache; return the folder of its programs."""
    return binary.build()
