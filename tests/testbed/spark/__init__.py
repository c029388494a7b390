"""Spark standalone for tests: `with spark.running() as sp: ...` (see standalone.py for what `sp` can do).

Several Masters elect the active one through a real ZooKeeper (recovery "ZOOKEEPER"), which the pyspark wheel carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.testbed import site as sites
from tests.testbed.spark.distribution import build, compile_java, java_home, lean_java_home
from tests.testbed.spark.standalone import Daemon, Options, Recovery, Standalone

__all__ = ["Daemon", "Standalone", "bring_up", "build", "compile_java", "java_home", "lean_java_home", "running"]


@contextmanager
def running(
    recovery: Recovery = "FILESYSTEM",
    workers: int = 1,
    worker_cores: int = 4,
    worker_memory: str = "4g",
    conf: Mapping[str, str] | None = None,
    masters: int = 1,
) -> Iterator[Standalone]:
    """Give a running standalone cluster and end it, its drivers and executors included, afterwards.

    `recovery` decides whether a restarted Master remembers; cores and memory are what each Worker claims to
    have (nothing is reserved); `conf` adds spark.* properties to the daemons; more `masters` than one need the
    recovery "ZOOKEEPER".

    Raises:
        TestbedError: it did not come up, or Java is missing.

    """
    with sites.temporary("spark") as site:
        yield bring_up(site, Options(recovery, workers, worker_cores, worker_memory, conf or {}, masters))


def bring_up(site: sites.Site, options: Options) -> Standalone:
    """Bring a standalone cluster up in this site."""
    standalone = Standalone(site, options)
    standalone.start()
    return standalone
