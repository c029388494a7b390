"""Where no node can run, the reason says what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import kube
from tests.testbed.errors import TestbedError
from tests.testbed.node import lacking, needs, packages, running


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    needs.lacking.cache_clear()
    yield
    needs.lacking.cache_clear()


def without(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in programs else f"/usr/bin/{name}")


def test_without_root_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in (needs.lacking() or "")


def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    without(monkeypatch, "busybox", "ctr")
    assert {"busybox-static", "containerd"} <= set(needs.missing_packages())
    why = needs.lacking() or ""
    assert "make setup-node" in why
    assert "busybox-static containerd" in why


def test_missing_plugins_are_named_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch)
    monkeypatch.setattr(needs, "CNI", tmp_path)
    assert needs.missing_packages() == ["containernetworking-plugins"]


def test_whoever_cannot_install_them_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    without(monkeypatch, "socat")
    assert packages.main() == 1
    assert "socat" in capsys.readouterr().err


def test_a_cluster_of_somebody_else_gets_none(tmp_path: Path) -> None:
    theirs = kube.Cluster(tmp_path / "kubeconfig", tmp_path)
    assert "built cluster only" in (lacking(theirs) or "")
    with pytest.raises(TestbedError), running(theirs):
        pass
