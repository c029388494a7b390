"""The command line leaves systems running, ends them, and fails in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def testbed(state: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with a state folder of its own."""
    command = [sys.executable, "-m", "tests.testbed", *args]
    environment = {**os.environ, "DURABLEJOB_STATE": str(state), **env}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


@pytest.mark.parametrize("command", [[], ["up"], ["down"], ["status"], ["build"]])
def test_every_command_explains_itself(tmp_path: Path, command: list[str]) -> None:
    done = testbed(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert "usage: python -m tests.testbed" in done.stdout


def test_what_is_missing_is_named_with_its_package_and_no_stack_trace(tmp_path: Path) -> None:
    done = testbed(tmp_path, "up", "spark", PATH=str(tmp_path), JAVA_HOME="")
    assert done.returncode == 1
    assert "Java 17 or newer is needed for Spark: Debian package openjdk-17-jre-headless" in done.stderr
    assert "Traceback" not in done.stderr
    assert "spark: not up" in testbed(tmp_path, "status").stdout


@pytest.mark.parametrize("command", ["down", "build"])
def test_an_unknown_system_is_refused(tmp_path: Path, command: str) -> None:
    done = testbed(tmp_path, command, "mainframe")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "'mainframe' is none of" in done.stderr


def test_a_cluster_is_up_until_down(tmp_path: Path) -> None:
    try:
        up = testbed(tmp_path, "up", "kube")
        assert up.returncode == 0, up.stderr
        assert "export KUBECONFIG=" in up.stdout
        status = testbed(tmp_path, "status")
        assert status.returncode == 0
        assert status.stdout.startswith(up.stdout)
        assert "is up already" in testbed(tmp_path, "up", "kube").stderr
    finally:
        down = testbed(tmp_path, "down")
    assert "ended: kube" in down.stderr
    assert "kube: not up" in testbed(tmp_path, "status").stdout
    assert not (tmp_path / "up").exists()
