"""Spark standalone: a Master and Workers as plain processes on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.testbed.process import Process
from tests.testbed.site import Part, Site, free_ports
from tests.testbed.spark import distribution, zookeeper
from tests.testbed.spark.zookeeper import HOST

Recovery = Literal["FILESYSTEM", "NONE", "ZOOKEEPER"]


@dataclass(frozen=True)
class Options:
    """How the Master remembers, and what the Workers offer."""

    recovery: Recovery = "FILESYSTEM"
    workers: int = 1
    worker_cores: int = 4
    worker_memory: str = "4g"
    master_conf: Mapping[str, str] = field(default_factory=dict)
    """More spark.* properties for the Master and the Workers."""
    masters: int = 1
    """More than one: with ZOOKEEPER only, the other ways of recovery elect nobody."""


@dataclass(frozen=True)
class Daemon:
    """Where one Master or Worker listens; the ports stay the same when it is killed and started again."""

    name: str
    port: int
    ui_port: int
    rest_port: int = 0

    @property
    def rest(self) -> str:
        """The REST submission server (Masters only)."""
        return f"http://{HOST}:{self.rest_port}"

    @property
    def ui(self) -> str:
        """The web UI, with JSON under /json/."""
        return f"http://{HOST}:{self.ui_port}"

    @property
    def spark_url(self) -> str:
        """What this Master calls itself."""
        return f"spark://{HOST}:{self.port}"


class Standalone:
    """A running standalone cluster."""

    def __init__(self, site: Site, options: Options) -> None:
        """Choose ports and folders; nothing runs yet."""
        self.site = site
        self.options = options
        distribution.java_home()  # complains early: before 480 MB are fetched
        self.spark_home = distribution.build()
        self.python = Path(sys.executable)
        """The interpreter for PySpark's drivers and executors."""
        self.worker_log_dir = site.folder / "work"
        """One folder for each Worker, in it driver-*/ and app-*/ with their stdout and stderr."""
        ports = iter(free_ports(1 + 3 * options.masters + 2 * options.workers))
        self._zookeeper = next(ports)
        self.masters = [
            Daemon(f"spark-master-{i}", next(ports), next(ports), next(ports)) for i in range(options.masters)
        ]
        self.workers = [Daemon(f"spark-worker-{i}", next(ports), next(ports)) for i in range(options.workers)]
        self._processes: dict[str, Process] = {}
        for name in ("conf", "local", "recovery", "work"):
            (site.folder / name).mkdir()

    def start(self) -> None:
        """Start everything; return when the REST server answers and all Workers are registered."""
        if self.options.recovery == "ZOOKEEPER":
            zookeeper.start(self.site, self._zookeeper)
        for i in range(self.options.masters):
            self.start_master(i, wait=False)  # a Worker tries again until there is a Master
        for i in range(self.options.workers):
            self._launch_worker(i)
        for i in range(self.options.masters):
            self._await_master(i)
        for i in range(self.options.workers):
            self._await_worker(i)

    def start_master(self, i: int = 0, *, wait: bool = True) -> None:
        """Start a Master (again, on the same ports and with what it remembered)."""
        master = self.masters[i]
        command: list[Part] = [self.spark_home / "bin" / "spark-class", "org.apache.spark.deploy.master.Master"]
        command += ["--host", HOST, "--port", master.port, "--webui-port", master.ui_port]
        conf = {
            "spark.master.rest.enabled": "true",
            "spark.master.rest.host": HOST,
            "spark.master.rest.port": str(master.rest_port),
            "spark.deploy.recoveryMode": self.options.recovery,
            "spark.deploy.recoveryDirectory": str(self.site.folder / "recovery"),
            "spark.deploy.zookeeper.url": f"{HOST}:{self._zookeeper}",
        }
        self._processes[master.name] = self.site.start(master.name, command, env=self._daemon_env(conf))
        if wait:
            self._await_master(i)

    def kill_master(self, i: int = 0) -> None:
        """SIGKILL a Master; Workers and drivers live on."""
        self._processes[self.masters[i].name].kill()

    def stop_master(self, i: int = 0) -> None:
        """SIGSTOP a Master: its sockets stay open and nobody answers."""
        self._processes[self.masters[i].name].freeze()

    def continue_master(self, i: int = 0) -> None:
        """SIGCONT a Master."""
        self._processes[self.masters[i].name].thaw()

    def start_worker(self, i: int = 0) -> None:
        """Start a Worker (again, on the same ports) and wait until it is registered."""
        self._launch_worker(i)
        self._await_worker(i)

    def kill_worker(self, i: int = 0, *, drivers: bool = True) -> None:
        """SIGKILL a Worker with its drivers and executors, as a power cut; without `drivers` these live on."""
        self._processes[self.workers[i].name].kill(tree=drivers)

    def process(self, daemon: Daemon) -> Process:
        """Return the process of a Master or Worker as last started."""
        return self._processes[daemon.name]

    def driver_dirs(self) -> list[Path]:
        """Return the folders of all drivers that Workers started, the oldest first."""
        return sorted(self.worker_log_dir.glob("*/driver-*"), key=lambda path: path.name)

    def active(self) -> int | None:
        """Which Master says ALIVE of itself; None while none does."""
        for i in range(self.options.masters):
            with contextlib.suppress(httpx.HTTPError):
                if self.records(i)["status"] == "ALIVE":
                    return i
        return None

    def records(self, i: int = 0) -> dict[str, Any]:
        """Return what the Master says about itself (`/json/`): workers, drivers and applications."""
        answer = httpx.get(f"{self.masters[i].ui}/json/", timeout=30, trust_env=False)
        answer.raise_for_status()
        records: dict[str, Any] = answer.json()
        return records

    def spark_submit(self, args: Sequence[str], timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run bin/spark-submit and return how it ended, with what it printed."""
        command = [str(self.spark_home / "bin" / "spark-submit"), *args]
        env = {**os.environ, **self.env()}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    def env(self) -> dict[str, str]:
        """Return what Spark's programs need in their environment, beside what is there."""
        modules = [str(distribution.python_path()), os.environ.get("PYTHONPATH", "")]
        return {
            "JAVA_HOME": str(distribution.java_home()),
            "SPARK_HOME": str(self.spark_home),
            "SPARK_CONF_DIR": str(self.site.folder / "conf"),
            "SPARK_LOCAL_DIRS": str(self.site.folder / "local"),
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_HOSTNAME": HOST,
            "PYSPARK_PYTHON": str(self.python),
            "PYTHONPATH": os.pathsep.join(filter(None, modules)),
        }

    def _daemon_env(self, conf: Mapping[str, str]) -> dict[str, str]:
        # 10 s instead of 60: a Worker sends a heartbeat every quarter of it, and is lost after it.
        everything = {"spark.worker.timeout": "10", **conf, **self.options.master_conf}
        options = [f"-D{name}={value}" for name, value in everything.items()]
        java = str(distribution.lean_java_home())  # of the drivers and executors, too
        return {
            **self.env(),
            "JAVA_HOME": java,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": " ".join(options),
        }

    def _launch_worker(self, i: int) -> None:
        worker, options = self.workers[i], self.options
        command: list[Part] = [self.spark_home / "bin" / "spark-class", "org.apache.spark.deploy.worker.Worker"]
        command += ["--host", HOST, "--port", worker.port, "--webui-port", worker.ui_port]
        command += ["--cores", options.worker_cores, "--memory", options.worker_memory]
        command += ["--work-dir", self.worker_log_dir / worker.name]
        command += ["spark://" + ",".join(f"{HOST}:{master.port}" for master in self.masters)]
        self._processes[worker.name] = self.site.start(worker.name, command, env=self._daemon_env({}))

    def _await_master(self, i: int) -> None:
        master = self.masters[i]
        addresses = [f"{master.rest}/v1/submissions/status/none", f"{master.ui}/json/"]
        self.site.wait_until(lambda: all(map(_answers, addresses)), self.process(master), "answering")

    def _await_worker(self, i: int) -> None:
        port = self.workers[i].port

        def registered() -> bool:
            active = self.active()
            workers = [] if active is None else self.records(active)["workers"]
            return any(known["port"] == port and known["state"] == "ALIVE" for known in workers)

        self.site.wait_until(registered, self.process(self.workers[i]), "registered with the Master")


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
