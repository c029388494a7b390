"""What the kernel and the API server have counted."""

from __future__ import annotations

import os
from pathlib import Path

from tests.testbed.kube.cluster import Cluster

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children_seconds() -> float:
    """CPU time of all our ended children."""
    times = os.times()
    return times.children_user + times.children_system


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Memory of a process: VmRSS now, VmHWM at its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(what)


def job_writes(cluster: Cluster) -> float:
    """Writes to DurableJobs that the API server has taken, creations and deletions apart."""
    total = 0.0
    for line in cluster.kubectl("get", "--raw", "/metrics").splitlines():
        if not line.startswith("apiserver_request_total{") or 'resource="durablejobs"' not in line:
            continue
        if any(f'verb="{verb}"' in line for verb in ("PUT", "PATCH", "APPLY")) and 'code="200"' in line:
            total += float(line.rpartition(" ")[2])
    return total


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
