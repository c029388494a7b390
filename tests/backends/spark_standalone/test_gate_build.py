"""The compiled gate in the package belongs to its source, and nobody can change one without the other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONTROLLER = Path(__file__).parents[3] / "controller"
SOURCE = Path("gate/io/durablejob/Gate.java")
CLASSES = Path("durablejob_controller/backends/gate_classes")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(CONTROLLER / "gate", tmp_path / "gate")
    shutil.copytree(CONTROLLER / CLASSES, tmp_path / CLASSES)
    return tmp_path


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "gate/build.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pretend_other_compiler(folder: Path) -> None:
    record = folder / CLASSES / "BUILD.json"
    record.write_text(record.read_text().replace('"javac": "', '"javac": "not-'))


def test_the_classes_in_the_package_belong_to_their_source() -> None:
    done = check(CONTROLLER)
    assert done.returncode == 0, done.stderr


def test_the_same_source_passes_under_another_compiler(copy: Path) -> None:
    pretend_other_compiler(copy)
    assert check(copy).returncode == 0


@pytest.mark.parametrize("other_compiler", [False, True])
def test_a_changed_source_is_noticed(copy: Path, other_compiler: bool) -> None:
    text = (copy / SOURCE).read_text()
    assert "DENIED = 75" in text
    (copy / SOURCE).write_text(text.replace("DENIED = 75", "DENIED = 0"))
    if other_compiler:
        pretend_other_compiler(copy)
    done = check(copy)
    assert done.returncode != 0
    assert "differ" in done.stderr
