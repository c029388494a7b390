"""Spark's configuration of a driver in its Pod: what is ours, what cannot work, and what the Pod gets; pure."""

from __future__ import annotations

import re

_OURS = "durablejob decides it: one Pod is the driver, and finds its executors by it"
_POD = "Spark does not read it in a driver that is started as a Pod"
REFUSED = {
    **dict.fromkeys(
        (
            "spark.app.id", "spark.master", "spark.remote", "spark.submit.deployMode", "spark.driver.host",
            "spark.driver.bindAddress", "spark.kubernetes.namespace", "spark.kubernetes.context",
            "spark.kubernetes.driver.pod.name", "spark.kubernetes.driver.master",
            "spark.kubernetes.executor.podNamePrefix", "spark.kubernetes.executor.podTemplateFile",
            "spark.kubernetes.executor.deleteOnTermination", "spark.kubernetes.executor.disableConfigMap",
            "spark.kubernetes.executor.useDriverPodIP", "spark.kubernetes.driver.annotateExitException",
        ),
        _OURS,
    ),
    "spark.jars": "use spec.spark.jars",
    "spark.files": "use spec.spark.files",
    "spark.archives": "use spec.spark.archives",
    "spark.submit.pyFiles": "use spec.spark.pyFiles",
    "spark.driver.cores": "use spec.spark.driver.cores",
    "spark.driver.memory": "use spec.spark.driver.memory",
    "spark.kubernetes.container.image": "use spec.spark.kubernetes.image",
    "spark.kubernetes.driver.container.image": "use spec.spark.kubernetes.image",
    "spark.kubernetes.file.upload.path": "nothing is uploaded: name files where the driver can read them",
}  # fmt: skip
"""Not in a job, nor in a backend's defaults."""
REFUSED_PREFIXES = {
    "spark.kubernetes.authenticate.": "use spec.spark.kubernetes.serviceAccountName",
    "spark.kubernetes.driverEnv.": "use spec.spark.env",
    "spark.kubernetes.driver.label.": "use spec.spark.kubernetes.driver.labels",
    "spark.kubernetes.driver.annotation.": "use spec.spark.kubernetes.driver.annotations",
    "spark.kubernetes.driver.node.selector.": "use spec.spark.kubernetes.driver.nodeSelector",
    "spark.kubernetes.node.selector.": "it would count for executors only: use nodeSelector of both",
    "spark.kubernetes.driver.secret": _POD,
    "spark.kubernetes.driver.volumes.": _POD,
    "spark.kubernetes.driver.podTemplate": _POD,
    "spark.kubernetes.driver.pod.": _POD,
    "spark.kubernetes.driver.service.": _POD,
    "spark.kubernetes.driver.scheduler.": _POD,
    "spark.kubernetes.driver.resourceNamePrefix": _POD,
    "spark.kubernetes.hadoop.": _POD,
    "spark.kubernetes.kerberos.": _POD,
}
POD = ("spark.kubernetes.driver.request.cores", "spark.kubernetes.driver.limit.cores")
"""Settings that Spark itself does not read here, and the Pod gets instead."""
OVERHEAD = "spark.driver.memoryOverhead"
FACTORS = ("spark.driver.memoryOverheadFactor", "spark.kubernetes.memoryOverheadFactor")
LEAST_OVERHEAD = 384
"""MiB, as in Spark: what a JVM needs beside its heap."""
_UNITS = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
_SIZE = re.compile(r"([0-9]+)([kmgt]?)b?", re.IGNORECASE)


def why_refused(name: str) -> str | None:
    """Why this setting may not be given; None: it may."""
    if why := REFUSED.get(name):
        return why
    return next((why for prefix, why in REFUSED_PREFIXES.items() if name.startswith(prefix)), None)


def mebibytes(size: str) -> int:
    """MiB of a size as Spark writes it, where a number alone counts MiB; raises ``ValueError``."""
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise ValueError(f"{size!r} is not a size as Spark writes it, such as 512m or 2g")
    return max(1, int(int(found[1]) * _UNITS[found[2].lower() or "m"]))


def driver_memory(heap: str, conf: dict[str, str], *, python: bool) -> int:
    """MiB of the driver's container: its heap, and what Spark would add for everything else."""
    base = mebibytes(heap)
    if OVERHEAD in conf:
        return base + mebibytes(conf[OVERHEAD])
    factor = next((float(conf[name]) for name in FACTORS if name in conf), 0.4 if python else 0.1)
    return base + max(LEAST_OVERHEAD, int(base * factor))
