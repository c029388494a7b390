"""The staging area: what an application localizes, the submission itself, and the fence that both make.

::

    <dir>/<key>/<random>/fence.zip         every container of the application localizes it (Spark: its settings)
    <dir>/<key>/<random>/<hash>.json       the submission, whole; sent as it is, or not at all
    <dir>/<key>/of~<cluster>~<namespace>~<uid>/<name>      an empty folder: whose it is
    <dir>/<key>.closed                     the tombstone: the folder after close

All of it is written before the reservation is recorded, and nothing after: a late writer cannot open a closed fence
again, for its folder has another random name, which no submission mentions. After close, a late submission is accepted
and fails, as its container finds no file. Spark removes its own folder when it ends cleanly: gone without a tombstone
says that a run has ended so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from durablejob_controller.backends.yarn.webhdfs import Missing, Stat, WebHdfs
from durablejob_controller.errors import BackendUnavailable

FENCE = "fence.zip"
_MARK = "of"
_CLOSED = ".closed"
FOLDER_MODE = "700"
AT_ONCE = 16
"""Folders that are read side by side: those of jobs that have ended stay for days, and are many."""


@dataclass(frozen=True, slots=True)
class Fence:
    """How an attempt's fence is found."""

    closed: bool
    """No container can localize what it must."""
    ended_cleanly: bool
    """It went without a tombstone."""
    held: bool
    """Something is left to be swept."""


@dataclass(frozen=True, slots=True)
class Local:
    """A file as YARN localizes it: exactly this version of it."""

    uri: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a staging folder is."""

    cluster: str
    """uid of the Kubernetes cluster."""
    namespace: str
    uid: str
    name: str

    @property
    def mark(self) -> str:
        return f"{_MARK}~{self.cluster}~{self.namespace}~{self.uid}"

    @classmethod
    def parse(cls, mark: str, name: str) -> Owner | None:
        """What ``mark`` says; None: it is another file."""
        parts = mark.split("~")
        return cls(parts[1], parts[2], parts[3], name) if len(parts) == 4 and parts[0] == _MARK else None


class Staging:
    """The folder of one backend."""

    def __init__(self, uri: str, hdfs: WebHdfs) -> None:
        parts = urlsplit(uri)
        self.authority = f"{parts.scheme}://{parts.netloc}"
        self._root = unquote(parts.path).rstrip("/")
        self._hdfs = hdfs

    # --- before the reservation is recorded -------------------------------------------------------------

    async def open(self, key: str, owner: Owner) -> None:
        """Say whose attempt this is; raises ``BackendUnavailable``."""
        await self._hdfs.mkdirs(f"{self._root}/{key}/{owner.mark}/{owner.name}", FOLDER_MODE)

    async def add(self, key: str, folder: str, name: str, content: bytes) -> Local:
        """Write one file there; returns it as HDFS has it, which is how containers must find it."""
        path = f"{self._root}/{key}/{folder}/{name}"
        await self._hdfs.create(path, content)
        found = await self._hdfs.stat(path)
        if found is None:
            raise BackendUnavailable("HDFS does not know the file that was just written")
        return Local(self.authority + path, found.size, found.modified)

    def folder_uri(self, key: str, folder: str) -> str:
        """Where it is, as containers name it."""
        return f"{self.authority}{self._root}/{key}/{folder}"

    async def keep(self, key: str, folder: str, submission: Mapping[str, Any]) -> str:
        """Write the submission; return what the reservation is to record of it."""
        content = json.dumps(submission, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(content).hexdigest()
        await self._hdfs.create(f"{self._root}/{key}/{folder}/{digest}.json", content)
        return f"{folder}/{digest}"

    async def drop(self, key: str, folder: str) -> None:
        """Remove what was written for a reservation that came to nothing."""
        await self._hdfs.delete(f"{self._root}/{key}/{folder}")

    # --- afterwards -------------------------------------------------------------------------------------

    async def submission(self, key: str, staged: str) -> dict[str, Any] | None:
        """The recorded submission; None: it is gone. Raises ``BackendUnavailable`` for one that is another."""
        folder, _, digest = staged.partition("/")
        try:
            content = await self._hdfs.read(f"{self._root}/{key}/{folder}/{digest}.json")
        except Missing:
            return None
        if hashlib.sha256(content).hexdigest() != digest:
            raise BackendUnavailable("the submission in the staging area is not the one that was recorded")
        found: dict[str, Any] = json.loads(content)
        return found

    async def fence(self, key: str, staged: str) -> Fence:
        """How it is now."""
        folder = staged.partition("/")[0]
        if await self._hdfs.stat(f"{self._root}/{key}/{folder}/{FENCE}") is not None:
            return Fence(closed=False, ended_cleanly=False, held=True)
        if await self._hdfs.stat(f"{self._root}/{key}{_CLOSED}/{folder}") is not None:
            return Fence(closed=True, ended_cleanly=False, held=True)
        return Fence(closed=True, ended_cleanly=True, held=await self.holds(key))

    async def holds(self, key: str) -> bool:
        """Whether something of this attempt is left."""
        for home in (key, f"{key}{_CLOSED}"):
            if await self._hdfs.stat(f"{self._root}/{home}") is not None:
                return True
        return False

    async def close(self, key: str, staged: str) -> None:
        """Rename the attempt's folder. Idempotent: what decides is that the fence's file is no longer there."""
        await self._hdfs.rename(f"{self._root}/{key}", f"{self._root}/{key}{_CLOSED}")
        if not (await self.fence(key, staged)).closed:
            raise BackendUnavailable("the staging folder could not be renamed")

    async def sweep(self, key: str) -> None:
        """Remove all of an attempt that has ended."""
        for home in (key, f"{key}{_CLOSED}"):
            await self._hdfs.delete(f"{self._root}/{home}")

    async def owners(self) -> dict[str, Owner]:
        """Whose the folders are, by the attempt's key: two calls for each, some of them at a time."""
        homes = await self._children(self._root)
        found: dict[str, Owner] = {}
        shares = [homes[number::AT_ONCE] for number in range(AT_ONCE)]
        await asyncio.gather(*(self._read_owners(share, found) for share in shares))
        return found

    async def _read_owners(self, homes: list[str], found: dict[str, Owner]) -> None:
        for home in homes:
            for mark in await self._children(f"{self._root}/{home}"):
                for name in await self._children(f"{self._root}/{home}/{mark}") if mark.startswith(_MARK) else ():
                    owner = Owner.parse(mark, name)
                    if owner is not None:
                        found[home.removesuffix(_CLOSED)] = owner

    async def _children(self, path: str) -> list[str]:
        try:
            return [one.name for one in await self._hdfs.children(path) if one.folder]
        except Missing:  # swept meanwhile
            return []

    async def prepare(self) -> Stat:
        """The folder itself, made if need be; raises ``BackendUnavailable``."""
        found = await self._hdfs.stat(self._root)
        if found is None:
            await self._hdfs.mkdirs(self._root, FOLDER_MODE)
            found = await self._hdfs.stat(self._root)
        if found is None or not found.folder:
            raise BackendUnavailable(f"{self.authority}{self._root} is not a folder")
        return found


def new_folder() -> str:
    """A name that nobody has used."""
    return secrets.token_hex(8)
