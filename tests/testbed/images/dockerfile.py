"""Reads a Dockerfile of two stages, of the few instructions that ours has; refuses what it does not know."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.errors import TestbedError


@dataclass
class Stage:
    """What one FROM begins."""

    base: str
    copies: list[tuple[list[str], str]] = field(default_factory=list)
    """Sources and destination; with ``--from=STAGE`` as the first source where it is copied from a stage."""
    runs: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)


def read(path: Path) -> list[Stage]:
    """Return its stages.

    Raises:
        TestbedError: it holds an instruction that is not known here.

    """
    stages: list[Stage] = []
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if not word or word.startswith("#"):
            continue
        if word == "FROM":
            stages.append(Stage(rest))
        elif not stages:
            raise TestbedError(f"{path}: {word} stands before FROM")
        else:
            _take(stages[-1], path, word, rest)
    return stages


def _take(stage: Stage, path: Path, word: str, rest: str) -> None:
    match word:
        case "COPY":
            *sources, target = rest.split()
            stage.copies.append((sources, target))
        case "RUN":
            stage.runs.append(rest)
        case "ENV":
            name, _, value = rest.partition("=")
            stage.env[name] = value
        case "USER":
            stage.user = rest
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        case _:
            raise TestbedError(f"{path}: {word} is not known here; make images/controller.py do it too")
