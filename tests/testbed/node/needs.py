"""What a machine needs to be able to run a node, and what is missing here."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache as once
from pathlib import Path

CNI = Path("/usr/lib/cni")
"""Where Debian's package puts the plugins."""
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "socat": "socat",
    "busybox": "busybox-static",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
"""Program → the Debian package that brings it."""
PLUGINS = ("ptp", "host-local", "portmap", "loopback")
PLUGINS_PACKAGE = "containernetworking-plugins"
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Options of unshare(1) for the namespaces that a node lives in."""


def packages() -> list[str]:
    """All Debian packages that a node needs."""
    return sorted({*PROGRAMS.values(), PLUGINS_PACKAGE})


def missing_packages() -> list[str]:
    """Those of them that are not installed, or lack what is needed."""
    absent = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if not all((CNI / plugin).exists() for plugin in PLUGINS):
        absent.add(PLUGINS_PACKAGE)
    return sorted(absent)


@once
def lacking() -> str | None:
    """Why no node can run on this machine, in words; None: one can."""
    if os.geteuid() != 0:
        return "a node needs root: its kubelet mounts file systems and makes cgroups"
    if absent := missing_packages():
        return f"a node needs these Debian packages, which `make setup-node` installs: {' '.join(absent)}"
    done = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"a node needs namespaces of its own, which are refused here: {done.stderr.strip()}"
    return None
