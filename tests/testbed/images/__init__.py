"""Images made here, of Debian's and PyPI's content alone; each in the cache, named by what it was made from.

Their names have a host part that no registry has (`lab.local/...`): they are imported, never pulled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """An image that can be imported."""

    name: str
    archive: Path
    """OCI archive, uncompressed."""
