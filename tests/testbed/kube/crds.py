"""Our kinds on a cluster."""

from __future__ import annotations

import time
from pathlib import Path

from tests.testbed.kube.cluster import Cluster

CRDS = Path(__file__).parents[3] / "crds"


def install(cluster: Cluster) -> None:
    """Apply the CRDs, and wait until they are served."""
    files = [argument for path in sorted(CRDS.glob("*.yaml")) for argument in ("-f", str(path))]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
    _until_discovered(cluster)


def _until_discovered(cluster: Cluster) -> None:
    """Established is not yet published: kubectl would not know the short names, and remember that."""
    for _ in range(120):
        kinds = cluster.kubectl("api-resources", "--api-group=durablejob.io", "--output=name").split()
        if len(kinds) == 3 and "apis/durablejob.io/v1alpha1" in cluster.kubectl("get", "--raw", "/openapi/v3"):
            return
        time.sleep(0.25)
    raise AssertionError("the API server does not publish our kinds")
