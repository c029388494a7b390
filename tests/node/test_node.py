"""A real node: what a pod can see and reach, what the machine reaches of it, and that nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.testbed import node
from tests.testbed.errors import TestbedError
from tests.testbed.images import busybox
from tests.testbed.kube import Cluster
from tests.testbed.node import Node

ROOT = Path(__file__).parents[2]
OWNER = """
import sys
from tests.testbed import kube, node
with kube.running() as cluster, node.running(cluster, "doomed") as here:
    print(here.folder.name, here.host, flush=True)
    sys.stdin.read()
"""


def run(cluster: Cluster, name: str, script: str, **spec: object) -> None:
    """A bare pod with a shell script."""
    container = {"name": "main", "image": busybox.NAME, "command": ["sh", "-c", script]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))


def wait(cluster: Cluster, name: str, phase: str) -> None:
    cluster.kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{name}", "--timeout=60s")


def output(cluster: Cluster, name: str, script: str) -> str:
    """What a pod prints that runs to its end."""
    run(cluster, name, script)
    wait(cluster, name, "Succeeded")
    return cluster.kubectl("logs", name)


class _Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.client_address[0]}\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def greeter() -> Iterator[int]:
    """A server of this machine, on loopback only; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Greeter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_a_pod_runs_and_its_log_and_exit_code_are_known(crds: Cluster, here: Node) -> None:
    run(crds, "fails", "echo going; exit 42")
    wait(crds, "fails", "Failed")
    assert crds.kubectl("logs", "fails") == "going\n"
    state = crds.kubectl("get", "pod", "fails", "-o", "jsonpath={.status.containerStatuses[0].state.terminated}")
    assert (json.loads(state)["exitCode"], json.loads(state)["reason"]) == (42, "Error")


def test_a_pod_reaches_a_server_of_the_machine_that_listens_on_loopback(crds: Cluster, here: Node) -> None:
    with greeter() as port:
        text = output(crds, "caller", f"wget -q -O- http://{here.reach(port)}/")
    assert text == "hello 127.0.0.1\n"


def test_the_machine_reaches_a_pod_and_a_service(crds: Cluster, here: Node) -> None:
    run(crds, "web", "mkdir /www; echo served > /www/x; httpd -f -p 8080 -h /www")
    crds.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    crds.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    address = crds.kubectl("get", "pod", "web", "-o", "jsonpath={.status.podIP}")
    port = crds.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert _served(f"http://{address}:8080/x") == "served\n"
    assert _served(f"http://{here.address}:{port}/x") == "served\n"
    # And pods find it by its name: CoreDNS, and kube-proxy's rules.
    assert output(crds, "client", "wget -q -O- http://web.default.svc.cluster.local/x") == "served\n"
    crds.kubectl("delete", "pod,service", "web")


def _served(url: str) -> str:
    """kube-proxy needs a moment."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return httpx.get(url, timeout=2, trust_env=False).text
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_pod_finds_the_api_server_by_its_service(crds: Cluster, here: Node) -> None:
    script = "nslookup kubernetes.default.svc.cluster.local; nc -w 5 kubernetes.default.svc 443 </dev/null && echo open"
    text = output(crds, "seeker", script)
    assert "10.96.0.1" in text
    assert "open" in text


def test_kubectl_exec_and_port_forward_reach_a_pod(crds: Cluster, here: Node) -> None:
    run(crds, "shell", "sleep 600")
    crds.kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    assert crds.kubectl("exec", "shell", "--", "hostname") == "shell\n"
    crds.kubectl("delete", "pod", "shell")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_test_run_that_is_killed_leaves_nothing_of_its_node(here: Node, how: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    name, host = owner.stdout.readline().split()
    assert {"link", "cgroups", "folder", "processes"} == _traces(name, host)
    owner.send_signal(how)
    owner.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while left := _traces(name, host):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _traces(name: str, host: str) -> set[str]:
    """What there is of a node on this machine, by its folder's name and by the machine's address on its link."""
    addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
    commands = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    found = {
        "link": f" {host}/" in addresses,
        "cgroups": any(Path("/sys/fs/cgroup").glob(f"**/{name}")),
        "mounts": name in Path("/proc/mounts").read_text(),
        "folder": (Path(tempfile.gettempdir()) / name).exists(),
        "processes": name in commands,
    }
    return {what for what, is_there in found.items() if is_there}


def test_a_node_whose_power_is_cut_is_seen_as_not_ready(crds: Cluster, here: Node) -> None:
    with node.running(crds, "second") as second:
        second.power_off()
        crds.kubectl("wait", "--for=condition=Ready=Unknown", "node/second", "--timeout=90s")
    with pytest.raises(TestbedError, match="not found"):
        crds.kubectl("get", "node", "second")
