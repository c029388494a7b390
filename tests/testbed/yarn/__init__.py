"""YARN and HDFS for tests: `with yarn.running() as cluster: ...` (see cluster.py for what it can do).

Everything is real: the daemons come from Hadoop's own jars, and several ResourceManagers elect the active one
through a real ZooKeeper.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.testbed import site as sites
from tests.testbed.yarn.cluster import USER, Options, Yarn
from tests.testbed.yarn.distribution import build

__all__ = ["USER", "Options", "Yarn", "bring_up", "build", "running"]


@contextmanager
def running(options: Options | None = None) -> Iterator[Yarn]:
    """Give a running cluster and end it, its containers included, afterwards.

    Raises:
        TestbedError: it did not come up, or Java or Maven is missing.

    """
    with sites.temporary("yarn") as site:
        yield bring_up(site, options or Options())


def bring_up(site: sites.Site, options: Options) -> Yarn:
    """Bring a cluster up in this site."""
    cluster = Yarn(site, options)
    cluster.start()
    return cluster
