"""The clusters of these tests, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import Stage
from tests.testbed import kube, yarn
from tests.testbed.controller import Controller


@pytest.fixture(scope="package")
def desk(crds: kube.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """In a namespace of its own: names of jobs are those of other tests, too."""
    crds.kubectl("apply", "-f", "-", input='{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "yarn"}}')
    return Desk(crds, tmp_path_factory.mktemp("yarn-desk"), namespace="yarn")


@pytest.fixture(scope="package")
def stage(controller: Controller, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A ResourceManager with recovery, and the backends ``yarn`` (staging fence) and ``gated``."""
    with yarn.running() as cluster:
        made = Stage(cluster, desk, tmp_path_factory.mktemp("yarn"))
        made.backend("yarn")
        made.backend("gated", gated=True)
        yield made
