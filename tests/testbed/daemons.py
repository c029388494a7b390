"""What `up` leaves running, each system in a detached site below the state folder, until `down`."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed import airflow, cache, kube, spark, yarn
from tests.testbed.airflow.service import Options as AirflowOptions
from tests.testbed.errors import TestbedError
from tests.testbed.kube.builtin import Options as KubeOptions
from tests.testbed.progress import say
from tests.testbed.site import Site
from tests.testbed.spark.standalone import Options as SparkOptions

USE = "use.json"


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    dags: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1


def up(names: list[str], wishes: Wishes) -> None:
    """Bring these systems up, those that others need first; what is up already stays as it is."""
    with cache.locked("up"):
        for name in (known for known in SYSTEMS if known in names):
            if _whole(name):
                say(f"{name} is up already")
            else:
                _start(name, wishes)


def down(names: list[str]) -> list[str]:
    """End these systems; return those that were there."""
    ended = []
    with cache.locked("up"):
        for name in reversed([known for known in SYSTEMS if known in names]):
            if _folder(name).is_dir():
                Site.load(_folder(name)).stop()
                shutil.rmtree(_folder(name), ignore_errors=True)
                ended.append(name)
        with contextlib.suppress(OSError):  # not there, or not empty
            _folder("").rmdir()
    return ended


def use(name: str) -> list[str]:
    """Return the lines that tell how to use a system; none when it is not up."""
    try:
        lines: list[str] = json.loads((_folder(name) / USE).read_text())
    except FileNotFoundError:
        return []
    return lines


def processes(name: str) -> list[tuple[str, int, bool]]:
    """Return (name, pid, whether it runs) of each process of a system."""
    if not _folder(name).is_dir():
        return []
    return [(process.name, process.pid, process.alive) for process in Site.load(_folder(name)).processes]


def _whole(name: str) -> bool:
    return bool(use(name)) and all(alive for _, _, alive in processes(name))


def _start(name: str, wishes: Wishes) -> None:
    folder = _folder(name)
    if folder.is_dir():
        say(f"what is left of {name} is ended, and it starts anew")
        Site.load(folder).stop()
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    say(f"starting {name}")
    site = Site(folder, detached=True)
    with _undone_on_failure(site):
        lines = SYSTEMS[name](site, wishes)
        (folder / USE).write_text(json.dumps(lines))


@contextmanager
def _undone_on_failure(site: Site) -> Iterator[None]:
    try:
        yield
    except BaseException:  # an interrupt too
        site.stop()
        shutil.rmtree(site.folder, ignore_errors=True)
        raise


def _kube(site: Site, _wishes: Wishes) -> list[str]:
    cluster = kube.bring_up(site, KubeOptions())
    (site.folder / "kubeconfig").write_text(str(cluster.kubeconfig))
    return [
        f"Kubernetes ({cluster.kind}) at {cluster.url}",
        f"  export KUBECONFIG={cluster.kubeconfig}",
        f"  export PATH={cluster.kubectl_path.parent}:$PATH   # has kubectl",
    ]


def _spark(site: Site, wishes: Wishes) -> list[str]:
    standalone = spark.bring_up(site, SparkOptions(workers=wishes.workers))
    master = standalone.masters[0]
    return [
        f"Spark standalone, {wishes.workers} worker(s), SPARK_HOME={standalone.spark_home}",
        f"  REST submissions: {master.rest}",
        f"  Master:           {master.spark_url}",
        f"  web UI:           {master.ui}",
        f"  drivers' logs:    {standalone.worker_log_dir}",
    ]


def _yarn(site: Site, wishes: Wishes) -> list[str]:
    cluster = yarn.bring_up(site, yarn.Options(nodes=wishes.workers))
    cluster.mkdirs("/staging", mode="700", owner=yarn.USER)
    return [
        f"YARN, {wishes.workers} NodeManager(s), and HDFS; jobs belong to user {yarn.USER}",
        f"  ResourceManager:  {cluster.managers[0].url}",
        f"  HDFS:             {cluster.hdfs} (WebHDFS: NameNode {cluster.name_node}, DataNode {cluster.data_node})",
        f"  staging folder:   {cluster.hdfs}/staging",
        f"  settings:         {cluster.conf_dir()}",
    ]


def _airflow(site: Site, wishes: Wishes) -> list[str]:
    dags = wishes.dags or site.folder / "dags"
    if wishes.dags is None:
        dags.mkdir()
    elif not dags.is_dir():
        raise TestbedError(f"--dags names {dags}, which is no folder")
    env = {**_cluster_env(), **wishes.env}
    running = airflow.bring_up(site, AirflowOptions(dags, env))
    return [
        f"Airflow at {running.url} (no password: everyone is administrator)",
        f"  DAGs:             {dags}",
        f"  logs:             {running.home / 'logs'}",
    ]


def _cluster_env() -> dict[str, str]:
    """Return what lets Airflow's tasks use the cluster that is up, if one is."""
    pointer = _folder("kube") / "kubeconfig"
    if not pointer.exists():
        return {}
    return kube.Cluster(Path(pointer.read_text()), pointer.parent).env()


SYSTEMS: dict[str, Callable[[Site, Wishes], list[str]]] = {
    "kube": _kube,
    "spark": _spark,
    "yarn": _yarn,
    "airflow": _airflow,
}
"""In the order in which they are started: Airflow's tasks use what stands before it."""


def _folder(name: str) -> Path:
    return cache.state() / "up" / name
