"""The real controller as a process of its own, for tests, benchmarks and the demo."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from tests.testbed import site as sites
from tests.testbed.kube.cluster import Cluster
from tests.testbed.process import Process
from tests.testbed.site import Part

READY_TIMEOUT = 90.0
"""Seconds: importing kopf and the kubernetes package alone takes several on a busy machine."""


class Controller:
    """One replica; it can be killed, frozen and started again, on the same ports."""

    def __init__(self, site: sites.Site, cluster: Cluster, options: Sequence[str], name: str, gate_port: int) -> None:
        self.name = name
        self._site = site
        self._cluster = cluster
        self._options = list(options)
        self._health_port = sites.free_ports(1)[0]
        self.gate_url = f"http://127.0.0.1:{gate_port}"
        self._gate_port = gate_port
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """Where health and metrics are."""
        return f"http://127.0.0.1:{self._health_port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, return when it is ready (it has listed all jobs, and serves the gate)."""
        command: list[Part] = [
            sys.executable, "-m", "durablejob_controller",
            "--kubeconfig", self._cluster.kubeconfig,
            "--gate-listen", f"127.0.0.1:{self._gate_port}", "--gate-url", self.gate_url,
            "--http-listen", f"127.0.0.1:{self._health_port}",
            "--identity", self.name, "--lease-duration", "5", "--log-format", "text", *self._options,
        ]  # fmt: skip
        self.process = self._site.start(self.name, command)
        if wait:
            self._site.wait_until(self.ready, self.process, "ready", READY_TIMEOUT)

    def ready(self) -> bool:
        """Whether it says so."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()

    def stop(self, timeout: float = 15) -> int | None:
        """SIGTERM; return the exit code."""
        process = self.process
        if process is None:
            return None
        process.stop()
        return process.exit_code

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return self.process.log.read_text(errors="replace") if self.process is not None else ""

    def metric(self, name: str, **labels: str) -> float:
        """Sum of all samples of a metric whose labels include these."""
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics", timeout=5).text.splitlines():
            sample, _, value = line.rpartition(" ")
            found, _, rest = sample.partition("{")
            if found == name and all(f'{key}="{text}"' in rest for key, text in labels.items()):
                total += float(value)
        return total

    def wait_leading(self, timeout: float = 30) -> None:
        """Wait until it decides."""
        deadline = time.monotonic() + timeout
        while not self._leads():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not lead after {timeout} s")
            time.sleep(0.05)

    def _leads(self) -> bool:
        try:
            return self.metric("durablejob_leader") == 1
        except httpx.HTTPError:  # a machine under load
            return False


@contextmanager
def running(
    cluster: Cluster, *options: str, name: str = "controller", gate_port: int | None = None
) -> Iterator[Controller]:
    """Give a ready controller for a cluster that serves our kinds, and end it afterwards."""
    with sites.temporary("controller") as site:
        controller = Controller(site, cluster, options, name, gate_port or sites.free_ports(1)[0])
        controller.start()
        yield controller
