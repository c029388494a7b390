"""Processes of the testbed: started through a guardian, named so that a reused pid is never mistaken for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.errors import TestbedError

GUARDIAN = Path(__file__).with_name("guardian.py")
GRACE = 5.0
"""Seconds that a program has to end by itself after SIGTERM, unless it is started with another grace."""


@dataclass(frozen=True)
class Identity:
    """A pid and its start time (clock ticks since boot), which together name one process until the next boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Return the identity of a process that exists now.

        Raises:
            ProcessLookupError: there is no such process.

        """
        stat = _stat(pid)
        if stat is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(stat[19]))

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and int(stat[19]) == self.start and stat[0] not in "ZX"

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to exactly this process; return False when it has ended.

        A pidfd is opened before the start time is looked at, so the pid cannot be given to another process
        between the look and the signal.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended; return whether it has."""
        deadline = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


@dataclass(frozen=True)
class Process:
    """One running program of the testbed, with its guardian and its log."""

    name: str
    log: Path
    guardian: Identity
    program: Identity
    report: Path
    grace: float = GRACE
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """The guardian as our child, to be reaped; None when another process started it (`up`)."""

    @property
    def pid(self) -> int:
        """The program's pid (not its guardian's)."""
        return self.program.pid

    @property
    def alive(self) -> bool:
        """Whether the program runs (a stopped one does)."""
        return self.program.alive

    @property
    def exit_code(self) -> int | None:
        """How the program ended: negative for a signal, None while it runs or when nobody knows."""
        try:
            code = json.loads(self.report.read_text())["exit"]
        except (OSError, ValueError):
            return None
        return code if isinstance(code, int) else None

    def await_exit_code(self, timeout: float = 2) -> None:
        """After the program's end, give its guardian the moment it needs to write the exit code down."""
        deadline = time.monotonic() + timeout
        while self.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def kill(self, *, tree: bool = False) -> None:
        """SIGKILL the program, and with `tree` all it started; otherwise orphans live on until `stop`."""
        if tree:
            self.stop(signal.SIGINT)
        else:
            self.program.send(signal.SIGKILL)
            self.program.wait(30)
            self.await_exit_code()

    def freeze(self) -> None:
        """SIGSTOP the program, as a long pause does: its sockets stay open and nobody answers."""
        self.program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT the program."""
        self.program.send(signal.SIGCONT)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the program, all it started, and the guardian: SIGTERM in an orderly way, SIGINT at once."""
        self.guardian.send(how)
        if not self.guardian.wait(self.grace + 5):
            self.guardian.send(signal.SIGINT)
            if not self.guardian.wait(30):
                raise TestbedError(f"{self.name} (pid {self.pid}) does not end, even by SIGKILL")
        if self.popen is not None:
            self.popen.wait()

    def last_lines(self, count: int = 20) -> str:
        """Return the end of the log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-count:])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs to find the process again."""
        return {
            "name": self.name,
            "log": str(self.log),
            "report": str(self.report),
            "grace": self.grace,
            "guardian": [self.guardian.pid, self.guardian.start],
            "program": [self.program.pid, self.program.start],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Process:
        """Return the process that another run of the testbed started and wrote down."""
        return cls(
            name=data["name"],
            log=Path(data["log"]),
            report=Path(data["report"]),
            grace=data["grace"],
            guardian=Identity(*data["guardian"]),
            program=Identity(*data["program"]),
        )


@dataclass(frozen=True)
class Launch:
    """What to run, and how it is to be looked after."""

    name: str
    command: Sequence[str]
    folder: Path
    """Working directory and home of the guardian's report."""
    log: Path
    env: Mapping[str, str]
    detached: bool = False
    """Outlives the process that starts it, until `down`."""
    after: Sequence[str] = ()
    """A command that the guardian runs when the program has ended."""
    report: str = "report"
    grace: float = GRACE


def launch(request: Launch) -> Process:
    """Start a program; return once it runs (which says nothing about its readiness).

    Raises:
        TestbedError: the program cannot be run at all.

    """
    report = request.folder / f"{request.report}.json"
    spec = {
        "command": list(request.command),
        "report": str(report),
        "owner": None if request.detached else os.getpid(),
        "scratch": None if request.detached else str(request.folder),
        "grace": request.grace,
        "after": list(request.after),
    }
    with request.log.open("ab") as log:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN), json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=request.folder,
            env=dict(request.env),
            start_new_session=True,
        )
    guardian = Identity.of(popen.pid)
    facts = _await_report(report, popen, request)
    program = Identity(facts["pid"], facts["start"])
    return Process(request.name, request.log, guardian, program, report, request.grace, popen)


def _await_report(report: Path, popen: subprocess.Popen[bytes], request: Launch) -> dict[str, int]:
    while not report.exists():
        if popen.poll() is not None and not report.exists():
            text = request.log.read_text(errors="replace")
            raise TestbedError(f"{request.name} could not be started:\n{text}")
        time.sleep(0.005)
    facts: dict[str, int] = json.loads(report.read_text())
    return facts


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the program's name: [0] is the state, [19] the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
