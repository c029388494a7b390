"""The start gate's compiled classes as a JAR: what every Spark backend behind the gate puts in front of the program.

Their source, and what keeps the two together, is in controller/gate.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

GATE = "io.durablejob.Gate"
"""Main class of the gate."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def _walk(folder: Traversable, path: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(".class"):
            found.append((path + entry.name, entry.read_bytes()))
    return sorted(found)


@cache
def gate_classes() -> tuple[tuple[str, bytes], ...]:
    """The compiled gate: (path in the JAR, bytes)."""
    return tuple(_walk(files(__package__).joinpath("gate_classes")))


def archive(content: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file of (path, bytes), uncompressed; the same bytes whoever makes it, whenever."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for path, data in content:
            made.writestr(zipfile.ZipInfo(path, _EPOCH), data)
    return buffer.getvalue()
