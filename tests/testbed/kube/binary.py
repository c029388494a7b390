"""Builds the multi-call binary `kube` (etcd, Kubernetes, kubectl) from the Go module in this folder.

No package registry has Kubernetes' servers as binaries, but the Go module proxy has their source. Cold, the
build takes 15 minutes of CPU (9 minutes on two cores); after that the Go build cache makes it seconds.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.kube import toolchain
from tests.testbed.progress import Progress, say

MODULE = Path(__file__).parent
NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "kubectl",
)
TAGS = "grpcnotrace"


def version() -> str:
    """Return the version of Kubernetes that go.mod names, such as 1.34.4."""
    match = re.search(r"^\s*k8s\.io/kubernetes v(\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise TestbedError(f"{MODULE / 'go.mod'} names no version of k8s.io/kubernetes")
    return match[1]


def build() -> Path:
    """Return the folder with `kube` and a link to it for each of NAMES, building it if need be."""
    inputs = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")]
    return cache.made(f"kube-{version()}-{cache.key(*inputs, TAGS, _ldflags())}", _make)


def _make(target: Path) -> None:
    go = toolchain.go()
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    say(f"building Kubernetes {version()} with {go}: once, 5 to 15 minutes on two cores")
    packages = _packages(go, env)
    command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-tags", TAGS, "-ldflags", _ldflags()]
    _run([*command, "-o", str(target / "kube"), "."], env, Progress("compiling packages", packages))
    for name in NAMES:
        (target / name).symlink_to("kube")


def _packages(go: str, env: dict[str, str]) -> int:
    """Count the packages to compile; to do so, `go list` downloads the modules they are in."""
    modules = (MODULE / "go.sum").read_text().count("/go.mod ")
    listed = _run([go, "list", "-deps", "-tags", TAGS, "."], env, Progress("downloading modules", modules))
    return len(listed)


def _run(command: list[str], env: dict[str, str], progress: Progress) -> list[str]:
    """Run go, taking every line it prints as one step of progress; return the packages it names."""
    packages: list[str] = []
    last: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        command, cwd=MODULE, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for step, line in enumerate(process.stdout or (), start=1):
            last.append(line.rstrip())
            if " " not in last[-1]:  # the others are messages, such as "go: downloading ..."
                packages.append(last[-1])
            progress.at(step)
    if process.returncode != 0:
        raise TestbedError("`go {}` failed:\n{}".format(command[1], "\n".join(last)))
    progress.end()
    return packages


def _ldflags() -> str:
    """Return linker flags; without gitVersion, Kubernetes' own version checks misbehave."""
    major, minor, _ = version().split(".")
    facts = {
        "gitVersion": f"v{version()}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "archive",
        "gitCommit": "modproxy",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items())])
