"""One node for all tests of this stage, added to the session's cluster; and programs that keep a ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.node.programs import Programs
from tests.testbed import kube, node
from tests.testbed.images import busybox
from tests.testbed.node import Node


@pytest.fixture(scope="package")
def here(crds: kube.Cluster) -> Iterator[Node]:
    """A real node."""
    why = node.lacking(crds)
    if why is not None:
        if os.environ.get("DURABLEJOB_REQUIRE_NODE"):
            pytest.fail(f"DURABLEJOB_REQUIRE_NODE is set, but {why}")
        pytest.skip(why)
    with node.running(crds) as running:
        running.load(busybox.build())
        yield running


@pytest.fixture(scope="package")
def desk(crds: kube.Cluster, here: Node, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(crds, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="package")
def programs(desk: Desk) -> Programs:
    return Programs(desk)


def manifest(name: str) -> Path:
    return Path(__file__).parent / "manifests" / name
