"""A kind cluster by pytest-kind, where Docker runs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from tests.testbed.kube.cluster import Cluster
from tests.testbed.progress import say
from tests.testbed.site import Site


def available() -> bool:
    """Tell whether Docker answers and kind is installed (we never download it)."""
    if not (shutil.which("kind") and shutil.which("docker")):
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def create(site: Site) -> Cluster | None:
    """Create a kind cluster; None, with the reason said, where that fails although Docker answers."""
    from pytest_kind import KindCluster  # imported late: only machines with Docker need it

    name = f"durablejob-{site.folder.name.removeprefix('durablejob-')}".lower().replace("_", "-")
    kind = Path(str(shutil.which("kind")))
    kubeconfig = site.folder / "admin.kubeconfig"
    with contextlib.chdir(site.folder):  # it writes .pytest-kind/ where it stands
        kind_cluster = KindCluster(name, kubeconfig=kubeconfig, kind_path=kind)
        # A placeholder whose guardian deletes the cluster, also when the test run is killed.
        keeper = site.start("kind", ["sleep", "infinity"], after=[kind, "delete", "cluster", f"--name={name}"])
        try:
            kind_cluster.create()
        except (subprocess.CalledProcessError, OSError) as error:
            why = f"exit code {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else error
            say(f"Docker answers, but `kind create cluster` fails here ({why}): using the built cluster")
            keeper.stop()
            site.processes.remove(keeper)
            return None
    cluster = Cluster(kubeconfig, site.folder)
    cluster.kind = "kind"
    return cluster
