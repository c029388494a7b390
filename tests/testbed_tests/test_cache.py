"""What is cached is there whole or not at all, and is made once."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from tests.testbed import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLEJOB_CACHE", str(tmp_path / "cache"))


def slowly(target: Path) -> None:
    with (cache.root() / "makers").open("a") as makers:
        makers.write("one\n")
    time.sleep(0.5)
    (target / "thing").write_text("made")


def make_it() -> None:
    assert (cache.made("thing-1", slowly) / "thing").read_text() == "made"


def test_of_two_processes_one_makes_it_and_the_other_waits() -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=make_it) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert (cache.root() / "makers").read_text() == "one\n"


def test_after_a_failure_nothing_is_there_and_the_next_try_begins_anew() -> None:
    def fail(target: Path) -> None:
        (target / "half").write_text("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.made("thing-1", fail)
    assert not (cache.root() / "thing-1").exists()
    make_it()
    assert [path.name for path in (cache.root() / "thing-1").iterdir()] == ["thing"]


def test_a_key_tells_apart_what_only_looks_alike_when_joined() -> None:
    assert cache.key("ab", "c") != cache.key("a", "bc")
    assert cache.key("ab", "c") == cache.key(b"ab", b"c")
