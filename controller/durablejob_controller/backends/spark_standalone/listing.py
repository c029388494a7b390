"""What a Master tells about itself under /json/, and what it means; pure.

Spark's ``JsonProtocol.writeMasterState``: ``status`` is STANDBY, ALIVE, RECOVERING or
COMPLETING_RECOVERY; only ALIVE speaks of everything (in the others the lists are empty or partial, which
is no absence). Drivers that ended stay listed, the last 200 by default (spark.deploy.retainedDrivers);
a restarted Master has forgotten all of them.

**Incarnation.** Nothing in 4.3 tells when a Master started: not /json/, not the REST answers, not
/metrics/master/json/ (no JVM source by default), not /environment/. Driver numbers begin at 0000 again,
but an empty list has none. What can be said honestly is *which* Master is active: its spark:// URL, which
changes on failover and stays over a restart in place. Nothing here depends on more: an absence is judged
from an ALIVE listing on both sides of the question.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from durablejob_controller.backends.contract import INCARNATION_LENGTH, Phase, Run, Verdict
from durablejob_controller.backends.spark_standalone.stub import parse_class_name

ALIVE = "ALIVE"
ENDED = frozenset({"FINISHED", "FAILED", "KILLED", "ERROR"})

_PHASES = {"SUBMITTED": Phase.QUEUED, "QUEUED": Phase.QUEUED}
_VERDICTS = {
    "FINISHED": Verdict.SUCCEEDED,
    "FAILED": Verdict.FAILED,
    "KILLED": Verdict.KILLED,
    # The worker was lost, or could not launch it: the Master no longer knows what became of it.
    "ERROR": Verdict.UNKNOWN,
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Worker(_Part):
    """One Worker; memory in MiB."""

    id: str
    webuiaddress: str = ""
    cores: int
    coresused: int
    memory: int
    memoryused: int
    state: str


class Driver(_Part):
    """One driver; memory in MiB."""

    id: str
    state: str
    cores: int
    memory: int
    mainclass: str
    worker: str = "None"
    """Id of its Worker; the Master writes "None" before there is one."""


class Listing(_Part):
    """What one Master says, at one moment."""

    url: str
    status: str
    workers: tuple[Worker, ...] = ()
    activedrivers: tuple[Driver, ...] = ()
    completeddrivers: tuple[Driver, ...] = ()

    @property
    def life(self) -> str:
        """Which Master says it, as the incarnation that is recorded: its URL, of which the end tells them apart."""
        return self.url[-INCARNATION_LENGTH:]

    def runs(self) -> dict[str, tuple[Run, ...]]:
        """All drivers of ours, by attempt key."""
        found: dict[str, list[Run]] = {}
        pages = {worker.id: worker.webuiaddress for worker in self.workers}
        for driver in (*self.activedrivers, *self.completeddrivers):
            claimed = parse_class_name(driver.mainclass)
            if claimed is not None:
                key, claim = claimed
                found.setdefault(key, []).append(self._run(driver, claim, pages))
        return {key: tuple(runs) for key, runs in found.items()}

    def _run(self, driver: Driver, claim: int, pages: dict[str, str]) -> Run:
        reason = message = None
        if driver.state == "SUBMITTED":
            reason, message = waiting(driver, self.workers)
        elif driver.state in ("FAILED", "KILLED", "ERROR"):
            message = ending(driver.state, driver.worker)
        page = pages.get(driver.worker, "")
        return Run(
            id=driver.id,
            claim=claim,
            phase=phase(driver.state),
            verdict=verdict(driver.state),
            reason=reason,
            message=message,
            tracking_url=f"{page}/logPage/?driverId={quote(driver.id)}&logType=stderr" if page else None,
        )


def phase(state: str) -> Phase:
    """Phase of a Spark ``DriverState``; one that is not known to have ended is taken as running."""
    return Phase.ENDED if state in ENDED else _PHASES.get(state, Phase.RUNNING)


def verdict(state: str) -> Verdict | None:
    """Verdict of a Spark ``DriverState``; None while it goes on."""
    return _VERDICTS.get(state)


def ending(state: str, worker: str) -> str:
    """How a driver ended, in words."""
    where = f" on {worker}" if worker != "None" else ""
    return {
        "FAILED": f"Spark's Master says FAILED: the driver{where} ended with an exit code other than 0",
        "KILLED": f"Spark's Master says KILLED: somebody ended the driver{where}",
        "ERROR": f"Spark's Master says ERROR: it lost the driver{where}, or could not start it there",
    }[state]


def waiting(driver: Driver, workers: Iterable[Worker]) -> tuple[str, str]:
    """Why a driver is not placed: ``Unschedulable`` when no worker is large enough, else ``WaitingForWorker``."""
    alive = [worker for worker in workers if worker.state == ALIVE]
    asks = f"the driver asks for {driver.cores} cores and {driver.memory} MiB"
    if not alive:
        return "Unschedulable", f"{asks}; the Master knows no live worker"
    if not any(w.cores >= driver.cores and w.memory >= driver.memory for w in alive):
        largest = max(alive, key=lambda w: (w.cores, w.memory))
        return "Unschedulable", f"{asks}; the largest worker has {largest.cores} cores and {largest.memory} MiB"
    freest = max(alive, key=lambda w: (w.cores - w.coresused, w.memory - w.memoryused))
    free = f"{freest.cores - freest.coresused} cores and {freest.memory - freest.memoryused} MiB free"
    return "WaitingForWorker", f"{asks}; the freest worker has {free}"
