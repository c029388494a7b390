"""Spark's configuration as the one language of a submission; pure.

What spark-submit would read and put into the driver's Pod, nobody reads in a driver that is started as a Pod: it is
read here instead (``Wishes``), so that the keys mean what Spark's documentation says. The typed settings of a
DurableJob are turned into the same keys, where Spark has one. What executors get is left to the driver, which reads
their keys itself. Which class of Spark 3.5 and 4.3 reads which key was looked up in its jars, and tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from durablejob_api.backend import JobBackendSpec, KubernetesSpark
from durablejob_api.spec import SparkWork
from durablejob_api.work import PodSettings
from durablejob_controller.backends.spark_rules import mebibytes

_OURS = "durablejob decides it: one Pod is the driver, and finds its executors by it"
_POD = "a driver that is started as a Pod does not read it"
_PEOPLE = "drivers talk to their own API server, with the token of their service account"
REFUSED = {
    **dict.fromkeys(
        (
            "spark.app.id", "spark.master", "spark.remote", "spark.submit.deployMode", "spark.driver.host",
            "spark.driver.bindAddress", "spark.kubernetes.namespace", "spark.kubernetes.context",
            "spark.kubernetes.driver.pod.name", "spark.kubernetes.driver.master",
            "spark.kubernetes.executor.podNamePrefix", "spark.kubernetes.executor.podTemplateFile",
            "spark.kubernetes.executor.podTemplateContainerName",
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
    "spark.kubernetes.file.upload.path": "nothing is uploaded: name files where the driver can read them",
    "spark.kubernetes.local.dirs.tmpfs": "only executors would get it: the driver's Pod has no such folder",
    "spark.kubernetes.appKillPodDeletionGracePeriod": _POD,
    "spark.kubernetes.report.interval": _POD,
}  # fmt: skip
"""Not in a job, nor in a backend's defaults."""
REFUSED_PREFIXES = {
    "spark.driver.resource.": "a driver's Pod gets CPU and memory only",
    "spark.kubernetes.authenticate.": _PEOPLE,
    "spark.kubernetes.submission.": _POD,
    "spark.kubernetes.driver.volumes.": "use spec.spark.kubernetes.volumes",
    "spark.kubernetes.driver.podTemplate": _POD,
    "spark.kubernetes.driver.pod.": _POD,
    "spark.kubernetes.driver.service.": _POD,
    "spark.kubernetes.driver.resourceNamePrefix": _POD,
    "spark.kubernetes.hadoop.": _POD,
    "spark.kubernetes.kerberos.": _POD,
}
DRIVER_ACCOUNT = "spark.kubernetes.authenticate.driver.serviceAccountName"
EXECUTOR_ACCOUNT = "spark.kubernetes.authenticate.executor.serviceAccountName"
IMAGE = "spark.kubernetes.container.image"
PULL_POLICY, PULL_SECRETS = f"{IMAGE}.pullPolicy", f"{IMAGE}.pullSecrets"
_SCHEDULER = "spark.kubernetes.scheduler.name"
_OVERHEAD = "spark.driver.memoryOverhead"
_FACTORS = ("spark.driver.memoryOverheadFactor", "spark.kubernetes.memoryOverheadFactor")
_DYNAMIC = "spark.dynamicAllocation"
_LEAST = "spark.driver.minMemoryOverhead"
_LEAST_OVERHEAD = "384m"
"""As in Spark: what a JVM needs beside its heap."""
_CONSUMED = (
    DRIVER_ACCOUNT, EXECUTOR_ACCOUNT, "spark.kubernetes.driver.container.image",
    "spark.kubernetes.driver.request.cores", "spark.kubernetes.driver.limit.cores",
    "spark.kubernetes.driver.scheduler.name",
)  # fmt: skip
_CONSUMED_PREFIXES = (
    "spark.kubernetes.driver.label.", "spark.kubernetes.driver.annotation.", "spark.kubernetes.driver.node.selector.",
    "spark.kubernetes.driverEnv.", "spark.kubernetes.driver.secretKeyRef.", "spark.kubernetes.driver.secrets.",
)  # fmt: skip
_PORT = re.compile(r"[0-9]{1,5}")


def why_refused(name: str) -> str | None:
    """Why this setting may not be given; None: it may."""
    if why := REFUSED.get(name):
        return why
    if name in _CONSUMED:
        return None
    return next((why for prefix, why in REFUSED_PREFIXES.items() if name.startswith(prefix)), None)


def defaults_of(spec: JobBackendSpec) -> KubernetesSpark:
    """What the backend says about Spark."""
    here = spec.kubernetes
    return here.spark if here is not None and here.spark is not None else KubernetesSpark()


def typed(work: SparkWork) -> dict[str, str]:
    """The job's typed settings, by Spark's own keys where there are such."""
    found = dict(_executors(work))
    own = work.kubernetes
    if own is None:
        return found
    given: dict[str, object] = {
        IMAGE: own.image,
        PULL_SECRETS: ",".join(own.image_pull_secrets) or None,
        DRIVER_ACCOUNT: own.service_account_name,
        EXECUTOR_ACCOUNT: own.executor.service_account_name,
    }
    found |= {key: str(value) for key, value in given.items() if value is not None}
    found |= {**_pod("driver", own.driver), **_pod("executor", own.executor)}
    secrets = own.executor.secret_env.items()
    found |= {f"spark.kubernetes.executor.secretKeyRef.{name}": f"{ref.name}:{ref.key}" for name, ref in secrets}
    if own.dynamic_allocation is not None:
        found |= {
            f"{_DYNAMIC}.enabled": "true",
            f"{_DYNAMIC}.minExecutors": str(own.dynamic_allocation.min_executors),
            f"{_DYNAMIC}.maxExecutors": str(own.dynamic_allocation.max_executors),
        }
    return found


def complete(work: SparkWork, spec: JobBackendSpec) -> dict[str, str]:
    """All that was asked for: the backend's defaults, the job's configuration and its typed settings over them."""
    here = defaults_of(spec)
    given = {
        IMAGE: here.image,
        PULL_SECRETS: ",".join(here.image_pull_secrets) or None,
        DRIVER_ACCOUNT: here.service_account_name,
    }
    known = {key: value for key, value in given.items() if value is not None}
    found = {**known, **spec.defaults.spark_conf, **work.conf, **typed(work)}
    if found.get(f"{_DYNAMIC}.enabled") == "true":
        # There is no shuffle service on Kubernetes: without one or the other Spark refuses to begin.
        found.setdefault(f"{_DYNAMIC}.shuffleTracking.enabled", "true")
    return found


def for_spark(conf: Mapping[str, str]) -> dict[str, str]:
    """What is left for the driver to read."""
    return {
        key: value for key, value in conf.items() if key not in _CONSUMED and not key.startswith(_CONSUMED_PREFIXES)
    }


def _executors(work: SparkWork) -> Iterator[tuple[str, str]]:
    for part in ("instances", "cores", "memory"):
        value = getattr(work.executor, part)
        if value is not None:
            yield f"spark.executor.{part}", str(value)


def _pod(role: str, pod: PodSettings) -> dict[str, str]:
    keyed = {"label": pod.labels, "annotation": pod.annotations, "node.selector": pod.node_selector}
    found = {
        f"spark.kubernetes.{role}.{kind}.{key}": value
        for kind, values in keyed.items()
        for key, value in values.items()
    }
    size = pod.resources
    given = {
        f"spark.kubernetes.{role}.request.cores": size.cpu_request,
        f"spark.kubernetes.{role}.limit.cores": size.cpu_limit,
        f"spark.{role}.memoryOverhead": size.memory_overhead,
    }
    return found | {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a configuration asks of the driver's Pod."""

    conf: Mapping[str, str]

    @property
    def image(self) -> str | None:
        return self.conf.get("spark.kubernetes.driver.container.image") or self.conf.get(IMAGE)

    @property
    def pull_policy(self) -> str | None:
        return self.conf.get(PULL_POLICY)

    @property
    def pull_secrets(self) -> list[str]:
        return [name.strip() for name in self.conf.get(PULL_SECRETS, "").split(",") if name.strip()]

    @property
    def scheduler(self) -> str | None:
        return self.conf.get("spark.kubernetes.driver.scheduler.name") or self.conf.get(_SCHEDULER)

    @property
    def account(self) -> str | None:
        return self.conf.get(DRIVER_ACCOUNT)

    @property
    def labels(self) -> dict[str, str]:
        return self.under("spark.kubernetes.driver.label.")

    @property
    def annotations(self) -> dict[str, str]:
        return self.under("spark.kubernetes.driver.annotation.")

    @property
    def node_selector(self) -> dict[str, str]:
        return self.under("spark.kubernetes.node.selector.") | self.under("spark.kubernetes.driver.node.selector.")

    @property
    def env(self) -> dict[str, str]:
        return self.under("spark.kubernetes.driverEnv.")

    @property
    def secret_env(self) -> dict[str, tuple[str, str]]:
        """Variable -> Secret and key."""
        return self._references("driver")

    @property
    def secrets(self) -> dict[str, str]:
        """Secret -> folder."""
        return self.under("spark.kubernetes.driver.secrets.")

    @property
    def all_secrets(self) -> list[str]:
        """Whatever is named as a Secret, for executors too."""
        executors = self.under("spark.kubernetes.executor.secrets.")
        references = (*self.secret_env.values(), *self._references("executor").values())
        return [*self.pull_secrets, *self.secrets, *executors, *(secret for secret, _ in references)]

    def _references(self, role: str) -> dict[str, tuple[str, str]]:
        found = {}
        for name, value in self.under(f"spark.kubernetes.{role}.secretKeyRef.").items():
            secret, _, key = value.partition(":")
            found[name] = (secret, key)
        return found

    @property
    def ui_port(self) -> int | None:
        """Port of the driver's UI; None: it has none, or one that nobody knows beforehand."""
        port = self.conf.get("spark.ui.port", "4040")
        if self.conf.get("spark.ui.enabled", "true") != "true" or not _PORT.fullmatch(port):
            return None
        return int(port) if 0 < int(port) < 65536 else None

    def cpu(self, cores: int) -> tuple[str, str | None]:
        """CPU that is requested, and the limit."""
        request = self.conf.get("spark.kubernetes.driver.request.cores", str(cores))
        return request, self.conf.get("spark.kubernetes.driver.limit.cores")

    def memory(self, heap: str, *, python: bool) -> int:
        """MiB of the driver's container: its heap, and what Spark would add for everything else.

        Raises ``ValueError`` for what is no size.
        """
        base = mebibytes(heap)
        if _OVERHEAD in self.conf:
            return base + mebibytes(self.conf[_OVERHEAD])
        factor = next((float(self.conf[name]) for name in _FACTORS if name in self.conf), 0.4 if python else 0.1)
        if not 0 <= factor < 1024:
            raise ValueError(f"{factor} is not a factor of memory")
        return base + max(mebibytes(self.conf.get(_LEAST, _LEAST_OVERHEAD)), int(base * factor))

    def under(self, prefix: str) -> dict[str, str]:
        """What is set under a prefix, by the rest of the key."""
        return {key.removeprefix(prefix): value for key, value in self.conf.items() if key.startswith(prefix)}
