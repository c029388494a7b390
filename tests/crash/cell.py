"""A cell, one story with its crashes, and what the judge says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.crash.hook import Crash
from tests.crash.stories import Story


@dataclass(frozen=True)
class Cell:
    """One story with its crashes; without any it is a trace."""

    system: str
    """``System.name``."""
    story: Story
    crashes: tuple[Crash, ...] = ()
    take: int = 1
    """Which run of the same."""

    @property
    def tale(self) -> str:
        """The story's name, with the system's."""
        return f"{self.system}, {self.story.name}"

    @property
    def name(self) -> str:
        """Names it among all cells, in every run."""
        crashes = "; ".join(map(str, self.crashes)) or "no crash"
        return f"{self.tale}: {crashes}" + (f" ({self.take})" if self.take > 1 else "")


@dataclass
class Result:
    """What the judge says."""

    cell: Cell
    wrong: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    """Of what is wrong: duplicate, orphan, end, stuck, ended (the controller), broken (the suite), unfired."""
    recovery: float | None = None
    """Seconds from the last crash to the end."""
    took: float = 0.0
    """Seconds of the whole cell."""
    early: list[str] = field(default_factory=list)
    """Names of the calls that were made before there was a job, in order."""
    late: list[str] = field(default_factory=list)
    """Those that were made after."""
    log: str = ""

    def blame(self, kind: str, words: str) -> None:
        self.kinds.add(kind)
        self.wrong.append(words)
