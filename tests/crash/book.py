"""The book of results: what is finished stands in it, and is not run again by the next start of the command."""

from __future__ import annotations

import fcntl
import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.crash.cell import Cell, Result

ROOT = Path(__file__).parents[2]
UNDER_TEST = ("controller", "crds", "tests/crash", "tests/testbed", "tests/apps")
_KEPT = ("wrong", "recovery", "took", "early", "late")


def fingerprint(folders: Iterable[str] = UNDER_TEST) -> str:
    """Names the code that is tested, with what tests it: results of any other code say nothing about it."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Book:
    """A file with a line per finished cell, written at once, so that it outlives whatever ends the suite."""

    def __init__(self, path: Path, code: str, *, fresh: bool = False) -> None:
        """Take over what was found by the same code, unless everything is to be found anew.

        Raises:
            SystemExit: another process writes it.

        """
        self._path, self._code = path, code
        self._run = uuid.uuid4().hex[:8]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{path} is being written by another run of this command") from None
        self._lines = {} if fresh else {line["cell"]: line for line in _read(path) if line["code"] == code}
        draft = path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(line) + "\n" for line in self._lines.values()))
        draft.replace(path)
        self._file = path.open("a", buffering=1)

    def close(self) -> None:
        """Let others write it."""
        self._file.close()
        self._lock.close()

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, cell: Cell) -> Result | None:
        """Its result, if it is finished."""
        line = self._lines.get(cell.name)
        if line is None:
            return None
        return Result(cell, kinds=set(line["kinds"]), **{name: line[name] for name in _KEPT})

    def write(self, result: Result, spent: float, on: dict[str, str]) -> None:
        """It is finished, ``spent`` seconds after this run of the command began, on systems of these versions."""
        kept = {name: getattr(result, name) for name in _KEPT}
        if result.cell.crashes:  # only what the cells follow from is needed again
            kept |= {"early": [], "late": []}
        about = {"code": self._code, "run": self._run, "spent": round(spent, 1), "on": on}
        line = {"cell": result.cell.name, "kinds": sorted(result.kinds), **kept, **about}
        self._lines[result.cell.name] = line
        self._file.write(json.dumps(line) + "\n")

    @property
    def versions(self) -> dict[str, str]:
        """Of the systems that the results were found on."""
        return {name: version for line in self._lines.values() for name, version in line["on"].items()}

    @property
    def seconds(self) -> float:
        """How long all runs of the command took together."""
        last: dict[str, float] = {}
        for line in self._lines.values():
            last[line["run"]] = max(last.get(line["run"], 0.0), line["spent"])
        return sum(last.values())


def _read(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:  # the machine ended while it was written
            continue
    return lines
