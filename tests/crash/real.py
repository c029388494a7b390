"""The real Spark Master and Workers, as one of the systems of the crash suite.

Each Worker has room for one driver, so that the death of a Worker is the death of one job. Judged by the ledger that
each program writes a line to when it starts (``tests/apps/Job.java``), and by what the Master says.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from durablejob_controller.backends.spark_standalone.stub import parse_class_name
from tests.crash.stories import Story
from tests.testbed import spark
from tests.testbed.spark.standalone import Standalone

Object = dict[str, Any]
APP = Path(__file__).parents[1] / "apps" / "Job.java"
WORKERS = 5
"""More than cells side by side: a crash may make a second driver, which waits for leave in a Worker of its own."""
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
REMEMBERED = 5000
"""Drivers that the Master lists after their end: all of them."""
_ENDS = {"succeed": "succeed", "fail": "throw", "hold": "succeed", "queue": "succeed", "reject": "succeed"}
_FOR_EVER = 900
_SHORTLY = 0.4


class RealSpark:
    """One cluster for all cells, started when the first one asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._running: Standalone | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._stack.close()

    def system(self, namespace: str) -> RealSparkSystem:
        """The cluster, for one cell."""
        with self._lock:
            if self._running is None:
                conf = {"spark.deploy.retainedDrivers": str(REMEMBERED), "spark.worker.timeout": "60"}
                started = spark.running(workers=WORKERS, worker_cores=1, worker_memory="1g", conf=conf)
                self._running = self._stack.enter_context(started)
                spark.compile_java([APP], self._folder / "job.jar")
                (self._folder / "programs").touch()
            return RealSparkSystem(self._running, self._folder, namespace, self._lock)


class RealSparkSystem:
    """One cell's view of it."""

    name = "real Spark"
    type = "SparkStandalone"

    def __init__(self, running: Standalone, folder: Path, namespace: str, lock: threading.Lock) -> None:
        self._running = running
        self._folder = folder
        self._namespace = namespace
        self._lock = lock
        self._dead: list[int] = []
        """Workers that died in this cell."""

    def backend(self) -> Object:
        masters = [{"rest": master.rest, "ui": master.ui} for master in self._running.masters]
        return {"sparkStandalone": {"masters": masters}, "artifactSchemes": ["local"]}

    def work(self, story: Story) -> Object:
        seconds = _FOR_EVER if story.how in ("hold", "queue") else _SHORTLY
        # What the Master itself refuses: a number that is none.
        odd = {"spark.cores.max": "many"} if story.how == "reject" else {}
        work = {
            "mainApplicationFile": f"local://{self._folder / 'job.jar'}",
            "mainClass": "Job",
            "arguments": [str(self._folder / "programs"), self._namespace, _ENDS[story.how], str(seconds)],
            # No Worker has so many cores: the driver waits in the Master's queue.
            "driver": {"memory": "512m", "cores": 500 if story.how == "queue" else 1},
            "conf": {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": QUICK, **odd},
        }
        return {"spark": work}

    def accepted(self, key: str) -> bool:
        return bool(self._drivers(key))

    def starts(self, key: str) -> int:
        del key  # one namespace, one job, one attempt
        return (self._folder / "programs").read_text().split().count(self._namespace)

    def left(self, key: str) -> list[str]:
        return [str(driver) for driver in self._active(key)]

    def remove(self, key: str) -> None:
        for driver in self._active(key):
            httpx.post(f"{self._running.masters[0].rest}/v1/submissions/kill/{driver['id']}", timeout=30)

    def strip(self, key: str) -> None:
        """The Workers of its drivers die with them; they come back when the cell is over."""
        where = {worker["id"]: worker["port"] for worker in self._running.records()["workers"]}
        ports = {where.get(driver["worker"]) for driver in self._active(key)}
        with self._lock:
            for number, worker in enumerate(self._running.workers):
                if worker.port in ports:
                    self._running.kill_worker(number)
                    self._dead.append(number)

    def clear(self, key: str) -> None:
        """Make room."""
        self.remove(key)
        with self._lock:
            for number in self._dead:
                self._running.start_worker(number)

    def evidence(self, key: str) -> str:
        drivers = self._drivers(key)
        ids = {driver["id"] for driver in drivers}
        logs = [path / "stderr" for path in self._running.driver_dirs() if path.name in ids]
        tails = [f"-- {log.parent.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs if log.exists()]
        return "\n".join([f"{self.starts(key)} starts", *map(str, drivers), *tails])

    def _active(self, key: str) -> list[Object]:
        return self._known("activedrivers", key)

    def _drivers(self, key: str) -> list[Object]:
        return self._active(key) + self._known("completeddrivers", key)

    def _known(self, which: str, key: str) -> list[Object]:
        drivers: list[Object] = self._running.records()[which]
        return [driver for driver in drivers if (parse_class_name(driver["mainclass"]) or ("",))[0] == key]
