"""One DAG run of one row, in the words of the plays; what is different from side to side is asked of the side."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.testbed import airflow
from tests.testbed.process import Identity

TASK = "job"
END = ("success", "failed", "skipped", "upstream_failed", "removed")
PATIENCE = 150.0
"""Seconds that one thing may take to come, on a machine that is busy with many rows."""
POLL = 0.4


class NotSo(AssertionError):
    """Something did not come."""


class Side(Protocol):
    """Whose operator is played, and who knows what its programs did."""

    @property
    def af(self) -> airflow.Airflow: ...

    def programs(self, run: Run) -> list[str]:
        """What became of each program that was started, in order: an outcome, or ``running``."""

    def release(self, run: Run) -> None:
        """Let the run's programs end."""

    def delete(self, run: Run) -> None:
        """Delete the run's job by hand."""

    def taken_over(self, run: Run) -> bool:
        """Whether a later try than the first has met the job."""

    def waits(self, run: Run) -> bool:
        """Whether the task waits for a program that runs (deferred: its trigger has begun)."""


@dataclass
class Gate:
    """Where the rows of one fault meet: the last to come does it, once for all."""

    faults: Sequence[Callable[[], None]]
    rows: int
    barriers: list[threading.Barrier] = field(init=False)

    def __post_init__(self) -> None:
        self.barriers = [threading.Barrier(self.rows, action=fault, timeout=2 * PATIENCE) for fault in self.faults]

    def abort(self) -> None:
        """One row cannot come: the others are not to wait for it."""
        for barrier in self.barriers:
            barrier.abort()


@dataclass
class Run:
    """One run of one DAG."""

    side: Side
    dag: str
    mode: str
    id: str = ""
    gate: Gate | None = None
    map_index: int = -1
    began: float = field(default_factory=time.monotonic)
    _passed: int = 0

    @property
    def af(self) -> airflow.Airflow:
        return self.side.af

    # Looking -------------------------------------------------------------------------------------

    def ti(self) -> dict[str, Any]:
        return self.af.task_instance(self.dag, self.id, TASK, self.map_index)

    def until(self, holds: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Wait until something holds.

        :raises NotSo: it does not
        """
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                ti = self.ti()
                raise NotSo(
                    f"{what}: not within {timeout:.0f} s; the task is {ti['state']} in try {ti['try_number']}, "
                    f"programs: {self.side.programs(self)}"
                )
            time.sleep(POLL)

    def state(self, *states: str | None, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until the task is in one of these states."""
        self.until(lambda: self.ti()["state"] in states, f"the task is in {states}", timeout)
        return self.ti()

    def unchanged(self, programs: Sequence[str], seconds: float) -> None:
        """See for so long that the programs stay as they are.

        :raises NotSo: they do not
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (found := self.side.programs(self)) != list(programs):
                raise NotSo(f"programs {found}, which were to stay {list(programs)} for {seconds:.0f} s")
            time.sleep(POLL)

    def log_of(self, number: int) -> str:
        """The log of one try; empty as long as there is none."""
        try:
            return self.af.task_log(self.dag, self.id, TASK, number, self.map_index)
        except airflow.ApiError as error:
            if error.status != 404:
                raise
            return ""

    def log(self) -> str:
        """The logs of all tries."""
        return "\n\n".join(self.log_of(number) for number in range(1, int(self.ti()["try_number"]) + 1))

    def running(self, number: int = 1) -> None:
        """Wait until the program runs for the so manieth time."""

        def runs() -> bool:
            programs = self.side.programs(self)
            return len(programs) >= number and programs[number - 1] == "running"

        self.until(runs, f"program {number} runs")

    def waiting(self) -> None:
        """Wait until the program runs and the task waits for it."""
        self.running()
        self.state("deferred" if self.mode == "deferred" else "running")
        self.until(lambda: self.side.waits(self), "the task waits")

    def taken_over(self) -> None:
        """Wait until a later try waits for the job."""
        self.until(lambda: self.side.taken_over(self), "a later try has taken over")

    # Doing ---------------------------------------------------------------------------------------

    def begin(self, **conf: Any) -> None:
        """Trigger the run, and wait until its first program runs and the task waits for it."""
        self.trigger(**conf)
        self.waiting()

    def trigger(self, **conf: Any) -> None:
        self.id = self.af.trigger(self.dag, self.id or None, conf)

    def release(self) -> None:
        self.side.release(self)

    def end(self, *states: str) -> dict[str, Any]:
        """Let the programs end, and wait for the task's end."""
        self.release()
        return self.state(*(states or END))

    def over(self) -> None:
        """Wait until the run has ended, too: a clear between its task's end and its own is lost by Airflow 3.3.

        (The scheduler makes the run a success by what it has read before; the cleared task has no state from then on.)
        """
        self.af.wait_state(self.dag, self.id, None, ("success", "failed"))

    def forgotten(self) -> None:
        """Wait until the scheduler has heard from its executor of the task's end.

        What it hears later it takes for the end of a task that was made again with the same try number (Airflow 3.3).
        """
        told = f"TaskInstance Finished: dag_id={self.dag}, task_id={TASK}, run_id={self.id}, "
        ended = tuple(f" state={state}," for state in END)

        def heard() -> bool:
            lines = (line for line in self.af.log("scheduler").splitlines() if told in line)
            return any(state in line for line in lines for state in ended)

        self.until(heard, "the scheduler has heard of the task's end")

    def ended_in_try(self, number: int) -> None:
        """Wait until the task has ended in this try, or a later one."""

        def ended() -> bool:
            ti = self.ti()
            return ti["try_number"] >= number and ti["state"] in END

        self.until(ended, f"try {number} has ended")

    def processes(self) -> tuple[Identity, Identity]:
        """The task's process and its supervisor (the executor's worker)."""
        task, supervisor = self.af.task_pid(self.dag, self.id, TASK, self.map_index)
        return Identity.of(task), Identity.of(supervisor)

    def kill_task(self) -> None:
        """SIGKILL of the task's process."""
        self.processes()[0].send(signal.SIGKILL)

    def kill_machine(self) -> None:
        """SIGKILL of the task's process and of its supervisor, as when their machine is lost."""
        task, supervisor = self.processes()
        supervisor.send(signal.SIGKILL)
        task.send(signal.SIGKILL)

    def clear(self, **options: Any) -> None:
        self.af.clear(self.dag, self.id, TASK, **options)

    def mark(self, state: str) -> None:
        self.af.mark(self.dag, self.id, TASK, state, self.map_index)

    def fault(self) -> None:
        """Meet the other rows of this fault; return when it has happened."""
        assert self.gate is not None, "this row has no fault"
        barrier = self.gate.barriers[self._passed]
        self._passed += 1
        barrier.wait()

    def faults(self) -> None:
        """Meet the other rows at each step of this fault; return when it is over."""
        assert self.gate is not None, "this row has no fault"
        for _ in self.gate.barriers:
            self.fault()

    def sql(self, statement: str, **values: Any) -> None:
        """Put Airflow's database into the state that another executor leaves."""
        self.af.sql(statement, **values)

    def tell(self, what: str, text: str = "") -> None:
        """Write a file that a task of the run reads (see ``variants.mark_of``)."""
        name = f"{self.id}.{what}".replace(":", "-").replace("+", "-")
        (self.af.home / name).write_text(text)

    def pool(self, slots: int) -> None:
        """Make the variant's pool so large; it may be closed (0)."""
        name = f"gate-{self.dag.partition('-')[2]}-{self.mode}"
        body = {"name": name, "slots": slots, "include_deferred": False}
        try:
            self.af.api("PATCH", f"/pools/{name}", body)
        except airflow.ApiError as error:
            if error.status != 404:
                raise
            self.af.api("POST", "/pools", body)


def gone(process: Identity) -> bool:
    """Whether a process has ended."""
    return not process.alive
