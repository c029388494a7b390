"""A site: a folder and the processes that live in it, which begin and end together."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.process import GRACE, Launch, Process, launch

Part = str | Path | int
"""One argument of a command."""
RECORD = "processes.json"
POLL = 0.05
"""Seconds between two looks at something that is coming up."""


class Site:
    """Starts processes in one folder, keeps their logs, and ends them all."""

    def __init__(self, folder: Path, *, detached: bool = False) -> None:
        """Use `folder`, which exists; `detached` processes outlive us, the others do not even outlive our SIGKILL."""
        self.folder = folder
        self.detached = detached
        self.processes: list[Process] = []
        self.logs = _log_folder(folder)
        self._count = 0

    def start(
        self,
        name: str,
        command: Sequence[Part],
        *,
        env: Mapping[str, str] | None = None,
        after: Sequence[str | Path] = (),
        grace: float = GRACE,
    ) -> Process:
        """Start a program.

        `env` is added to our own environment, `after` is run when the program has ended, and `grace` seconds
        are what its `stop` gives it.
        """
        self._count += 1
        process = launch(
            Launch(
                name=name,
                command=[str(part) for part in command],
                folder=self.folder,
                log=self.logs / f"{name}.log",
                env={**os.environ, **(env or {})},
                detached=self.detached,
                after=[str(part) for part in after],
                report=f"{name}-{self._count}",
                grace=grace,
            )
        )
        self.processes.append(process)
        if self.detached:  # written at once, so that `down` finds it even if we are killed now
            records = [one.to_json() for one in self.processes]
            (self.folder / RECORD).write_text(json.dumps({"boot": boot(), "processes": records}, indent=1))
        return process

    def wait_until(self, ready: Callable[[], bool], process: Process, what: str, timeout: float = 60) -> None:
        """Wait until `ready` answers True.

        Raises:
            TestbedError: the process ended first, or the time (seconds) is over; with the end of its log.

        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not process.alive:
                process.await_exit_code()
                raise self.failure(process, f"{process.name} ended (exit code {process.exit_code}), never {what}")
            if time.monotonic() > deadline:
                raise self.failure(process, f"{process.name}: not {what} after {timeout:.0f} s")
            time.sleep(POLL)

    def failure(self, process: Process, message: str) -> TestbedError:
        """Return the error to raise, with the log's last lines; the log itself is kept where the error says."""
        kept = process.log
        if process.log.is_relative_to(self.folder):
            kept = cache.state() / "failed" / process.log.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(process.log, kept)
        return TestbedError(f"{message}\n{process.last_lines()}\n(the whole log: {kept})")

    @classmethod
    def load(cls, folder: Path) -> Site:
        """Return the detached site that another process left in `folder`."""
        site = cls(folder, detached=True)
        with contextlib.suppress(FileNotFoundError):
            record = json.loads((folder / RECORD).read_text())
            if record["boot"] == boot():  # start times count from the boot, so older ones name nothing now
                site.processes = [Process.from_json(one) for one in record["processes"]]
        return site

    def stop(self) -> None:
        """End all processes at once: what they hold is thrown away, so there is nothing to end in order."""
        for process in self.processes:
            process.guardian.send(signal.SIGINT)
        for process in self.processes:
            process.stop(signal.SIGINT)
        self.processes.clear()


@contextmanager
def temporary(kind: str) -> Iterator[Site]:
    """Give a site in a new temporary folder, and end it and remove the folder afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"durablejob-{kind}-"))
    site = Site(folder)
    try:
        yield site
    finally:
        site.stop()
        shutil.rmtree(folder, ignore_errors=True)


def boot() -> str:
    """Return what names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free now, all different.

    They lie below the range from which the kernel serves outgoing connections, so that a port stays free
    while its server is down for a test; at random, so that two test runs rarely meet.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, low) if low > 12_000 else range(61_000, 65_500)
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if len(found) == count:
            return found
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    raise TestbedError(f"there are no {count} free ports on 127.0.0.1")


def _log_folder(folder: Path) -> Path:
    """Choose where logs go: beside the data, or below DURABLEJOB_TESTBED_LOGS, where they stay (for CI)."""
    kept = os.environ.get("DURABLEJOB_TESTBED_LOGS")
    logs = Path(kept).resolve() / folder.name if kept else folder / "log"
    logs.mkdir(parents=True, exist_ok=True)
    return logs
