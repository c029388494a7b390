"""What several test packages share: one cluster for the session, and the CRDs on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import kube

CRDS = Path(__file__).parents[1] / "crds"


@pytest.fixture(scope="session")
def cluster() -> Iterator[kube.Cluster]:
    """A running Kubernetes."""
    with kube.running() as running:
        yield running


@pytest.fixture(scope="session")
def crds(cluster: kube.Cluster) -> kube.Cluster:
    """The same cluster, serving our kinds."""
    install(cluster)
    return cluster


def install(cluster: kube.Cluster) -> None:
    """Apply the CRDs, and wait until they are served."""
    files = [argument for path in sorted(CRDS.glob("*.yaml")) for argument in ("-f", str(path))]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
    _until_discovered(cluster)


def _until_discovered(cluster: kube.Cluster) -> None:
    """Established is not yet published: kubectl would not know the short names, and remember that."""
    for _ in range(120):
        kinds = cluster.kubectl("api-resources", "--api-group=durablejob.io", "--output=name").split()
        if len(kinds) == 3 and "apis/durablejob.io/v1alpha1" in cluster.kubectl("get", "--raw", "/openapi/v3"):
            return
        time.sleep(0.25)
    raise AssertionError("the API server does not publish our kinds")
