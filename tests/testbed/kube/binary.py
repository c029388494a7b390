"""Builds the multi-call binary `kube` (etcd, Kubernetes, kubectl) from the Go module in this folder.

No package registry has Kubernetes' servers as binaries, but the Go module proxy has their source. Cold, the
build takes 15 minutes of CPU (9 minutes on two cores); after that the Go build cache makes it seconds.
"""

from __future__ import annotations

import re
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
    env = toolchain.environment()
    say(f"building Kubernetes {version()} with {go}: once, 5 to 15 minutes on two cores")
    packages = _packages(go, env)
    command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-tags", TAGS, "-ldflags", _ldflags()]
    toolchain.run([*command, "-o", str(target / "kube"), "."], MODULE, env, Progress("compiling packages", packages))
    for name in NAMES:
        (target / name).symlink_to("kube")


def _packages(go: str, env: dict[str, str]) -> int:
    """Count the packages to compile; to do so, `go list` downloads the modules they are in."""
    modules = (MODULE / "go.sum").read_text().count("/go.mod ")
    command = [go, "list", "-deps", "-tags", TAGS, "."]
    return len(toolchain.run(command, MODULE, env, Progress("downloading modules", modules)))


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
