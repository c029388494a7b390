"""Real controller processes in a moment: one process imports everything, and forks.

Starting Python and importing kopf, kubernetes and pydantic takes seconds of CPU, which hundreds of crashes
would pay twice each. A fork is the same program in the same state; its event loop, connections and files
are its own. Run as ``python -m tests.crash.zygote``: a JSON request per line, the child's pid per answer.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NoReturn

from durablejob_controller import __main__ as controller
from durablejob_controller import gated
from durablejob_controller.backends.registry import Registry
from tests.crash.hook import Crash, Hook, Notes
from tests.testbed.process import Identity
from tests.testbed.site import Part, Site

LOST_GRACE = 2.0
"""Seconds instead of the minute for which a run that was healthy may be unknown."""
_PR_SET_PDEATHSIG = 1


class Zygote:
    """Starts controllers; they die with it, and it with the site."""

    def __init__(self, site: Site) -> None:
        self._folder = site.folder
        self._requests = site.folder / "requests"
        self._answers = site.folder / "answers"
        for pipe in (self._requests, self._answers):
            os.mkfifo(pipe)
        command: list[Part] = [sys.executable, "-m", "tests.crash.zygote", self._requests, self._answers]
        self.process = site.start("zygote", command, env={"PYTHONPATH": str(Path(__file__).parents[2])})
        self._out = self._requests.open("w", buffering=1)
        self._in = self._answers.open()
        self._lock = threading.Lock()

    def close(self) -> None:
        """No more requests: it ends, and its controllers with it."""
        self._out.close()
        self._in.close()

    def controller(
        self,
        arguments: list[str],
        folder: Path,
        crashes: Sequence[Crash] = (),
        rival: str | None = None,
        skew: float = 0.0,
    ) -> Identity:
        """A controller with these options; its log and its trace are in ``folder``.

        Its wall clock is ``skew`` seconds ahead of everybody else's.
        """
        plan = [crash.to_json() for crash in crashes]
        request = {"arguments": arguments, "folder": str(folder), "crashes": plan, "rival": rival, "skew": skew}
        with self._lock:
            self._out.write(json.dumps(request) + "\n")
            return Identity(*json.loads(self._in.readline()))


def arguments(
    config: Path, namespace: str, ports: Sequence[int], identity: str, *, gate_url: str = "", poll: float = 0.3
) -> list[str]:
    """Options of a controller for one namespace, in a hurry: ``ports`` are those of its gate and of its health."""
    gate, health = ports
    return [
        "--kubeconfig", str(config), "--namespaces", namespace, "--own-namespace", namespace,
        "--identity", identity, "--lease-duration", "2",
        "--gate-listen", f"127.0.0.1:{gate}", "--gate-url", gate_url or f"http://127.0.0.1:{gate}",
        "--http-listen", f"127.0.0.1:{health}", "--log-format", "text",
        "--poll-interval", str(poll), "--probe-interval", "1", "--request-timeout", "3",
    ]  # fmt: skip


def gone(process: Identity) -> bool:
    """Whether nothing of it is left.

    A process whose main thread has ended is a zombie while its other threads still end, and hold its ports.
    """
    try:
        return Identity.of(process.pid) != process
    except ProcessLookupError:
        return True


def _child(request: dict[str, Any]) -> NoReturn:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(request["folder"])
    log = os.open(folder / "controller.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    gated.LOST_GRACE = LOST_GRACE
    crashes = [Crash.from_json(raw) for raw in request["crashes"]]
    Hook(crashes, Notes(folder), request["rival"]).install()
    _shift_clock(timedelta(seconds=request["skew"]))
    try:
        controller.main(request["arguments"])
    except SystemExit as error:
        print(error.code, file=sys.stderr, flush=True)
    os._exit(0)


def _shift_clock(skew: timedelta) -> None:
    """Every module of the controller that asks for the time of day is told another one."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + skew

    if skew:
        for name, module in list(sys.modules.items()):
            if name.startswith("durablejob_controller") and getattr(module, "datetime", None) is datetime:
                vars(module)["datetime"] = Shifted


def main() -> None:
    """Fork on request until the requests end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is to wait for the dead
    requests, answers = Path(sys.argv[1]), Path(sys.argv[2])
    Registry.installed()  # imports the backends, once for all
    with requests.open() as lines, answers.open("w", buffering=1) as told:
        for line in lines:
            go, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(tell)
                os.read(go, 1)  # until it is known who it is: it may live for a moment only
                os.close(go)
                _child(json.loads(line))
            os.close(go)
            told.write(json.dumps([pid, Identity.of(pid).start]) + "\n")
            os.close(tell)


if __name__ == "__main__":
    main()
