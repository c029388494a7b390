"""What several test packages share: one cluster for the session, and the CRDs on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testbed import kube
from tests.testbed.kube.crds import install


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
