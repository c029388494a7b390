"""A restore of etcd is noticed by the storage's revision; and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from durablejob_controller.highwater import LEAP, HighWater

Told = list[tuple[int, int]]


def at(mark: int) -> tuple[HighWater, Told]:
    water, told = HighWater(), Told()
    water.mark = mark
    water.told = lambda before, found: told.append((before, found))
    return water, told


def answers(water: HighWater, *versions: object) -> None:
    for version in versions:
        water.answered(water.ask(), version)


def test_a_smaller_version_than_was_known_when_it_was_asked_for_tells_a_restore() -> None:
    water, told = at(0)
    answers(water, "5", "9", "9", "8")
    assert told == [(9, 8)]
    assert water.mark == 8  # what comes is compared with the new time


def test_an_answer_that_was_overtaken_is_no_restore() -> None:
    water, told = at(5)
    asked = water.ask()
    answers(water, "9")
    water.answered(asked, "7")
    assert (told, water.mark) == ([], 9)


def test_what_was_asked_before_the_restore_was_noticed_says_nothing_more() -> None:
    water, told = at(9)
    slow, slower = water.ask(), water.ask()
    answers(water, "3")
    water.answered(slow, "4")
    water.answered(slower, "10")
    assert (told, water.mark) == ([(9, 3)], 3)


@pytest.mark.parametrize(("version", "noticed"), [(100 + LEAP, False), (101 + LEAP, True), (1_000_000_100, True)])
def test_a_leap_is_a_restore_that_raised_the_revision(version: int, noticed: bool) -> None:
    water, told = at(100)
    answers(water, str(version))
    assert bool(told) is noticed


def test_the_first_version_that_is_seen_is_compared_with_nothing() -> None:
    water, told = at(0)
    answers(water, str(LEAP * 5))
    assert told == []


@pytest.mark.parametrize("version", [None, "", "abc", "-1", "1.5"])
def test_what_is_no_number_says_nothing(version: object) -> None:
    water, told = at(9)
    answers(water, version)
    assert (told, water.mark) == ([], 9)


def test_an_older_version_of_one_object_tells_it_too() -> None:
    water, told = at(9)
    water.contradicted(water.ask(), "4")
    assert told == [(9, 4)]


def test_the_mark_outlives_the_process_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "high-water"
    at(9)[0].save(path, "cluster-1", 9)
    water, told = at(0)
    water.load(path, "cluster-1")
    answers(water, "8")
    assert told == [(9, 8)]


def test_what_the_file_says_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "high-water"
    water, _ = at(9)
    water.save(path, "c", 9)
    before = path.stat()
    water.save(path, "c", 9)
    assert path.stat() == before
    water.save(path, "c", 10)
    assert json.loads(path.read_text())["resourceVersion"] == 10


def test_a_file_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "later" / "high-water"
    water, _ = at(9)
    water.save(path, "c", 9)
    path.parent.mkdir()
    water.save(path, "c", 9)
    assert json.loads(path.read_text())["resourceVersion"] == 9


def test_a_leap_since_the_file_was_written_is_none(tmp_path: Path) -> None:
    path = tmp_path / "high-water"
    at(9)[0].save(path, "cluster-1", 9)
    water, told = at(0)
    water.load(path, "cluster-1")
    answers(water, LEAP * 2, LEAP * 2 + 1)
    assert told == []
    answers(water, LEAP * 4)
    assert told == [(LEAP * 2 + 1, LEAP * 4)]


def test_another_clusters_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "high-water"
    at(9)[0].save(path, "cluster-1", 9)
    water, _ = at(0)
    water.load(path, "cluster-2")
    assert water.mark == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cluster": "c", "resourceVersion": "x"}'])
def test_a_broken_file_is_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "high-water"
    path.write_text(text)
    water, _ = at(0)
    water.load(path, "c")
    water.load(tmp_path / "absent", "c")
    assert water.mark == 0
