"""helm, as a person runs it; and what it renders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import gotools
from tests.testbed.kube.cluster import Cluster

Object = dict[str, Any]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, where PyYAML has it: CRDs are long."""
CHART = Path(__file__).parents[2] / "charts" / "durablejob"
MINIMAL = CHART / "ci" / "minimal-values.yaml"
"""The values that have no default."""
EVERYTHING = CHART / "ci" / "everything-values.yaml"
"""Every optional object."""
NAMESPACE = "durablejob-system"
RELEASE = "dj"


class HelmFailed(Exception):
    """helm refused; with what it said."""


class Helm:
    """helm, with a folder for what it remembers, and a cluster if there is one."""

    def __init__(self, folder: Path, cluster: Cluster | None = None) -> None:
        self._program = gotools.helm()
        homes = {f"HELM_{name}_HOME": str(folder / name) for name in ("CACHE", "CONFIG", "DATA")}
        config = str(cluster.kubeconfig) if cluster is not None else os.devnull
        self._env = {**os.environ, **homes, "KUBECONFIG": config}

    def run(self, *args: str | Path) -> str:
        """Run it; return what it printed. Raises ``HelmFailed``."""
        done = subprocess.run(
            [str(self._program), *map(str, args)], env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise HelmFailed(done.stderr + done.stdout)
        return done.stdout

    def render(
        self, *sets: str, values: Sequence[Path] = (MINIMAL,), release: str = RELEASE, namespace: str = NAMESPACE
    ) -> list[Object]:
        """The objects of a release that has these values, and ``--set`` on top; hooks too."""
        text = self.run("template", release, CHART, "--namespace", namespace, *_given(values, sets))
        return [found for found in yaml.load_all(text, Loader=_Loader) if found]

    def apply(self, verb: str, *sets: str, flags: Sequence[str] = ()) -> str:
        """``install`` or ``upgrade`` the release."""
        return self.run(verb, RELEASE, CHART, "--namespace", NAMESPACE, *flags, *_given((MINIMAL,), sets))


def _given(values: Sequence[Path], sets: Sequence[str]) -> list[str]:
    return [f"--values={path}" for path in values] + [f"--set={text}" for text in sets]


def only(objects: Sequence[Object], kind: str, name: str | None = None) -> Object:
    """The one object of this kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects {kind} {name or ''}"
    return found[0]


def container(objects: Sequence[Object]) -> Object:
    """The controller's container."""
    (found,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(objects: Sequence[Object]) -> dict[str, str]:
    """The controller's environment, where it is given by value."""
    return {entry["name"]: entry["value"] for entry in container(objects)["env"] if "value" in entry}
