"""``make test`` runs all tests, in two lanes, and is green only if both are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import lanes

RUNNER = """
import sys
beside = "tests/node" in sys.argv
print("ran", *sys.argv[1:])
sys.exit(int(CODES[beside]))
"""


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, codes: dict[bool, int], *arguments: str) -> int:
    """The command with a runner that ends as told (True: the lane beside)."""
    script = folder / "runner.py"
    script.write_text(f"CODES = {codes}\n{RUNNER}")
    monkeypatch.setattr(lanes, "PYTEST", (sys.executable, str(script)))
    monkeypatch.setattr(lanes, "LOG", lanes.ROOT / "build" / "test-lanes" / "beside.log")
    return lanes.main(arguments)


@pytest.mark.parametrize(
    ("rest", "beside", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (0, 3, 3), (5, 0, 0), (0, 5, 0), (5, 5, 5)]
)
def test_it_is_green_only_if_both_lanes_are(
    rest: int, beside: int, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, tmp_path, {False: rest, True: beside}) == code


def test_both_lanes_get_the_options_and_all_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path, {False: 0, True: 0}, "--durations=5")
    out = capfd.readouterr().out
    assert "ran --ignore=tests/node --ignore=tests/e2e/yarn --durations=5" in out
    assert "ran tests/node tests/e2e/yarn --durations=5" in out


def test_a_path_is_all_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, {False: 1, True: 0}, "tests/api/test_spec.py::test_x", "-x") == 1
    out = capfd.readouterr().out
    assert "ran tests/api/test_spec.py::test_x -x" in out
    assert "tests/node" not in out
