"""Runs one program and, whatever happens, leaves nothing of it behind.

The test run that starts a program may itself be killed with SIGKILL, and then no `finally` and no `atexit`
runs. So each program is started through this small process, which

- is the *subreaper* of everything below it, so that it still finds children whose parent has died and
  children that made a session or a process group of their own (Spark drivers, Airflow tasks);
- waits on a pidfd of its owner, and ends the whole tree when the owner has gone, however it went;
- asks the kernel to kill the program should the guardian itself be killed (PR_SET_PDEATHSIG);
- removes the scratch folder when it was the last guardian in it and the owner can no longer do so.

Signals to the guardian: SIGTERM ends the tree in an orderly way (SIGTERM to the program, then SIGKILL to
what is left), SIGINT at once. When the program ends by itself, its orphans stay, as on a real machine, until
the guardian is told to end.

It is run as a script, `python -I -S guardian.py SPEC`, with nothing imported but a little of the standard
library, so that it starts in some 20 ms. Linux only: subreaper, pidfd and /proc.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run SPEC's program until it and all its descendants have ended."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    lock = _join(spec["scratch"])
    wake = _wake_on_signals()
    owner = _open_owner(spec["owner"])
    report = Path(spec["report"])
    program = _start(spec["command"])
    _write_report(report, program, None)
    grace = _guard(program, report, wake, owner, spec["grace"])
    _end_tree(program, report, grace)
    if spec["after"]:
        subprocess.run(spec["after"], stdin=subprocess.DEVNULL, check=False)
    if owner is not None and _ready(owner):
        _remove_if_last(lock, spec["scratch"])
    return 0


def _guard(program: int, report: Path, wake: int, owner: int | None, grace: float) -> float:
    """Wait for a reason to end the tree; return how many seconds it has to end by itself."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if owner is not None:
        poll.register(owner, select.POLLIN)
    while _reap(program, report):
        ready = {fd for fd, _ in poll.poll()}
        if owner in ready:
            return 0.0
        signals = os.read(wake, 512) if wake in ready else b""
        if signal.SIGINT in signals:
            return 0.0
        if signal.SIGTERM in signals:
            return grace
    return 0.0


def _end_tree(program: int, report: Path, grace: float) -> None:
    if grace > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, signal.SIGTERM)
            os.kill(program, signal.SIGCONT)  # a stopped program would not see SIGTERM
        deadline = time.monotonic() + grace
        while _reap(program, report) and Path(f"/proc/{program}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    while _reap(program, report):  # again and again: what is being killed may still be forking
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _reap(program: int, report: Path) -> bool:
    """Collect children that ended; tell whether any are left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == program:
            _write_report(report, program, os.waitstatus_to_exitcode(status))


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (a hot loop over names only)
        if entry.isdigit() and (stat := _stat(int(entry))):
            children.setdefault(int(stat[1]), []).append(int(entry))
    found = [os.getpid()]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, []))
    return found[1:]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the program's name: [0] is the state, [1] the parent, [19] the start."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _start(command: list[str]) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, guardian)
    return pid


def _become(command: list[str], guardian: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)  # Python ignores SIGPIPE, and exec would keep that
        os.setpgid(0, 0)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:  # it died before the line above
            os._exit(1)
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


def _write_report(report: Path, program: int, exit_code: int | None) -> None:
    """Tell the owner which process the program is, and how it ended."""
    stat = _stat(program)
    facts = {"pid": program, "start": int(stat[19]) if stat and exit_code is None else 0, "exit": exit_code}
    draft = report.with_suffix(".draft")
    with contextlib.suppress(OSError):  # the owner may have removed the folder: nobody reads it then
        draft.write_text(json.dumps(facts))
        draft.replace(report)


def _open_owner(pid: int | None) -> int | None:
    """A descriptor that becomes readable when the owner ends; None when nobody owns the tree (`up`)."""
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        if os.getppid() == pid:
            return descriptor
    sys.exit(0)  # it ended before we looked, so nothing is to be started


def _ready(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _wake_on_signals() -> int:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer)
    return reader


def _join(scratch: str | None) -> int | None:
    """Hold a shared lock on the scratch folder for as long as this guardian lives."""
    if scratch is None:
        return None
    descriptor = os.open(scratch, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _remove_if_last(lock: int | None, scratch: str | None) -> None:
    if lock is None or scratch is None:
        return
    with contextlib.suppress(BlockingIOError):  # another guardian is still in it, and will remove it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(scratch, ignore_errors=True)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
