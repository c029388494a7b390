"""Pid 1 of a node, in net, mount and pid namespaces of its own: `python -I -S init.py FOLDER`.

It waits for FOLDER/plan.json (the network link can be made only when these namespaces are there), prepares what
must differ from the machine's, and starts the node's daemons. When it ends, for whatever reason, the kernel ends
every process of the node, and takes mounts, links and packet filter rules back. A daemon that ends takes the node
with it: a node that is half alive would hide what is wrong.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings of the whole machine that a kubelet writes: it gets copies."""
OWN = ("/run", "/var/lib", "/var/log")
"""Folders in which daemons leave things under fixed names: the node sees empty ones."""


def main() -> int:
    """Run the node; return when one of its daemons has ended."""
    folder = Path(sys.argv[1])
    plan = _await(folder / "plan.json")
    _own_folders(plan)
    _own_sysctls()
    _network(plan)
    names = {_start(name, one): name for name, one in plan["daemons"].items()}
    while True:
        pid, status = os.wait()  # orphans of containers, too
        if pid in names:
            print(f"{names[pid]} has ended (exit code {os.waitstatus_to_exitcode(status)}), and so does the node")
            return 1


def _await(path: Path) -> dict[str, Any]:
    while not path.exists():
        time.sleep(0.01)
    plan: dict[str, Any] = json.loads(path.read_text())
    return plan


def _own_folders(plan: dict[str, Any]) -> None:
    _run("mount", "--make-rshared", "/")  # our copy only; volumes must be seen by the containers
    for folder in OWN:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for folder in plan["folders"]:
        Path(folder).mkdir(parents=True, exist_ok=True)


def _own_sysctls() -> None:
    for name in SYSCTLS:
        real, copy = Path("/proc/sys") / name, Path("/run") / name.replace("/", "-")
        if real.exists():
            copy.write_bytes(real.read_bytes())
            _run("mount", "--bind", str(copy), str(real))


def _network(plan: dict[str, Any]) -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{plan['address']}/30", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", plan["host"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _start(name: str, daemon: dict[str, Any]) -> int:
    with Path(daemon["log"]).open("ab") as log:
        env = {**os.environ, **daemon["env"]}
        return subprocess.Popen(daemon["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env).pid


def _run(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # pid 1 has no default actions
    sys.exit(main())
