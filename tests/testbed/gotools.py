"""Programs and files that only the Go module proxy has: helm, promtool, and the CRDs of other projects.

A program is built inside its own module, with the versions that its authors have locked (go.mod, go.sum), and kept
in the cache. Cold, helm takes some three minutes on two cores and promtool two more.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.kube import toolchain
from tests.testbed.progress import Progress, say


@dataclass(frozen=True)
class Tool:
    """A program, and where its source is."""

    name: str
    module: str
    version: str
    package: str
    tags: str = ""
    facts: tuple[str, ...] = ()
    """What its authors' release build tells the linker: ``variable=value``."""

    @property
    def ldflags(self) -> str:
        return " ".join(["-s -w", *(f"-X {self.module}/{fact}" for fact in self.facts)])


HELM = Tool(
    "helm",
    "helm.sh/helm/v3",
    "v3.19.5",
    "./cmd/helm",
    # Without, it takes every cluster that it does not ask for Kubernetes 1.20, and refuses the chart for it.
    facts=(
        "internal/version.version=v3.19.5",
        *(f"{package}.k8sVersionMajor=1" for package in ("pkg/chartutil", "pkg/lint/rules")),
        *(f"{package}.k8sVersionMinor=34" for package in ("pkg/chartutil", "pkg/lint/rules")),
    ),
)
PROMTOOL = Tool(
    "promtool",
    "github.com/prometheus/prometheus",
    "v0.310.0",  # Prometheus 3.10
    "./cmd/promtool",
    tags="remove_all_sd",  # clouds' clients, a fifth of the build
)


def build(tool: Tool) -> Path:
    """Return the program, building it if need be."""
    name = f"{tool.name}-{tool.version}-{cache.key(tool.module, tool.package, tool.tags, tool.ldflags)}"
    return cache.made(name, lambda target: _make(tool, target)) / tool.name


def helm() -> Path:
    """Return helm."""
    return build(HELM)


def promtool() -> Path:
    """Return Prometheus' promtool."""
    return build(PROMTOOL)


def module(path: str, version: str) -> Path:
    """Return the folder with the files of a Go module (in Go's own cache)."""
    go = toolchain.go()
    command = [go, "mod", "download", "-json", f"{path}@{version}"]
    # Outside of any module, or go would want to write it into that one's go.sum.
    done = subprocess.run(
        command, cwd=cache.root(), env=toolchain.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TestbedError(f"the Go module {path}@{version} cannot be had:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


def _make(tool: Tool, target: Path) -> None:
    go, env = toolchain.go(), toolchain.environment()
    say(f"building {tool.name} {tool.version} with {go}: once, some minutes on two cores")
    source = module(tool.module, tool.version)
    modules = (source / "go.sum").read_text().count("/go.mod ")
    what = ["-tags", tool.tags, tool.package]
    packages = toolchain.run([go, "list", "-deps", *what], source, env, Progress("downloading modules", modules))
    command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", tool.ldflags]
    command += ["-o", str(target / tool.name), *what]
    toolchain.run(command, source, env, Progress("compiling packages", len(packages)))
