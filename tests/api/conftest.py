"""A namespace of our own on the real API server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.api.client import Api
from tests.api.states import Situations
from tests.testbed.kube import Cluster


@pytest.fixture(scope="package")
def api(crds: Cluster) -> Iterator[Api]:
    """The API server, to write to."""
    namespace = f"durablejob-api-{secrets.token_hex(3)}"
    crds.kubectl("create", "namespace", namespace)
    yield Api(crds.kubeconfig, namespace)
    ours = [n for n in crds.kubectl("get", "cjb", "-o", "name").split() if f"/{namespace}-" in n]
    if ours:
        crds.kubectl("delete", *ours)
    crds.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="package")
def situations(api: Api) -> Situations:
    """DurableJobs in every situation."""
    return Situations(api)
