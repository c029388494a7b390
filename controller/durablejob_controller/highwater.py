"""Notices that the API server's storage has gone back in time: etcd was restored from a backup (protocol rule 4).

Every write gives the storage a greater revision. Lists and writes tell it, as ``metadata.resourceVersion``; both ask a
quorum of etcd. So an answer that tells less than was known when its request was sent proves a restore. A restore that
raises the revision on purpose (``etcdutl snapshot restore --bump-revision``, by a billion as etcd's manual has it) is
known by the leap: no storage writes so much between two looks.

Only answers about our own kinds are compared: an API server may keep other kinds in another etcd.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

LEAP = 100_000_000
"""Revisions that no storage writes between two looks: at 10,000 writes a second, three hours of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was known when a request was sent."""

    mark: int
    era: int


class HighWater:
    """The greatest revision that was seen, in this process or (by its file) in one before."""

    def __init__(self) -> None:
        self.mark = 0
        """0: none was seen yet."""
        self.told: Callable[[int, int], None] = lambda mark, found: None
        """Is told of a restore: the greatest revision before it, and the one that was found."""
        self.era = 0
        """Restores that were noticed; what was asked before one is not compared with what is known after."""

        self._from_file = False
        """Nothing was seen since the file was read, which may be months old: any leap is possible."""
        self._saved: int | None = None
        """What the file says, by this process."""

    def ask(self) -> Asked:
        """Call it before a request is sent, and ``answered`` with what it returns."""
        return Asked(self.mark, self.era)

    def answered(self, asked: Asked, version: object) -> None:
        """A quorum read, or a write that changed something, was answered with this resourceVersion."""
        text = str(version)
        if asked.era != self.era or not text.isdecimal():  # they are numbers in every real API server
            return
        found = int(text)
        leapt = found - asked.mark > LEAP and not self._from_file
        self._from_file = False
        if asked.mark and (found < asked.mark or leapt):
            self._go_back(found)
        else:
            self.mark = max(self.mark, found)

    def contradicted(self, asked: Asked, version: object) -> None:
        """One object was read, by a quorum read, in an older version than was known when it was asked for."""
        if asked.era == self.era:
            text = str(version)
            self._go_back(int(text) if text.isdecimal() else 0)

    def _go_back(self, found: int) -> None:
        before, self.mark = self.mark, found
        self.era += 1
        log.error("the API server's storage has gone back from resourceVersion %d to %d", before, found)
        self.told(before, found)

    # --- over the process's own end ---------------------------------------------------------------------

    def load(self, path: Path, cluster: str) -> None:
        """Take over what an earlier process has seen of this cluster; a file that is none is as no file."""
        try:
            known = json.loads(path.read_text())
            mark = int(known["resourceVersion"]) if known["cluster"] == cluster else 0
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is not usable, a restore of etcd before this start is not noticed: %s", path, error)
            return
        self.mark, self._from_file = max(self.mark, mark), True

    def save(self, path: Path, cluster: str, mark: int) -> None:
        """Write down this mark, if it is news: whole or not at all, also when the machine crashes.

        It may block, so it is for a thread; meanwhile a restore may be noticed, and ``self.mark`` be another.
        """
        if mark == self._saved:
            return
        new = path.with_name(path.name + ".new")
        try:
            with new.open("w") as file:
                file.write(json.dumps({"cluster": cluster, "resourceVersion": mark}) + "\n")
                file.flush()
                os.fsync(file.fileno())  # or the name could come to stand for a file that is still empty
            new.replace(path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)
        else:
            self._saved = mark
