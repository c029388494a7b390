"""The staging area: what an application localizes, the submission itself, and the fence that both make.

::

    <dir>/<key>/<folder>/fence.zip         every container of the application localizes it (Spark: its settings)
    <dir>/<key>/<folder>/<hash>.json       the submission, whole; sent as it is, or not at all
    <dir>/<key>/of~<cluster>~<namespace>~<uid>/<name>      an empty folder: whose it is
    <dir>/<key>.closed                     the tombstone: the folder after close
    <dir>/<key>.seen/<start>               the same, where who closed it had seen the run of this start
    <dir>/.places/<place>                  an empty folder of a random name: which staging area this is

All of it is written before the reservation is recorded, and nothing after: a late writer cannot open a closed fence
again, for its folder has another random name, which no submission mentions. After close, a late submission is accepted
and fails, as its container finds no file. Spark removes its own folder when it ends cleanly: gone without a tombstone
says that a run has ended so.

The backend's settings may be edited while jobs run. So the reservation records where all of it lies, and for which
user; and each ``<folder>`` begins with the name of its place: where that place is not, nothing counts as gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from durablejob_controller.backends.yarn.webhdfs import Missing, Stat, WebHdfs
from durablejob_controller.errors import BackendUnavailable

FENCE = "fence.zip"
_MARK = "of"
_CLOSED, _SEEN = ".closed", ".seen"
_PLACES = ".places"
FOLDER_MODE = "700"
AT_ONCE = 16
"""Folders that are read side by side: those of jobs that have ended stay for days, and are many."""


@dataclass(frozen=True, slots=True)
class Fence:
    """How an attempt's fence is found."""

    closed: bool
    """No container can localize what it must."""
    seen: str | None
    """Start of the run that who closed it had seen."""
    ended_cleanly: bool
    """It went without a tombstone."""
    held: bool
    """Something is left to be swept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a submission is kept, as a reservation records it: ``hdfs://<user>@<authority>/<dir>/<key>/<folder>/<hash>``."""

    user: str
    """Whose the application is."""
    root: str
    key: str
    folder: str
    digest: str

    @classmethod
    def parse(cls, staged: str) -> Kept:
        """Raises ``BackendUnavailable`` for what is none."""
        authority, _, path = staged.partition("://")[2].partition("/")
        parts = f"/{path}".rsplit("/", 3)
        if len(parts) != 4 or "@" not in authority:
            raise BackendUnavailable(f"the reservation names no place in a staging area: {staged[:200]}")
        return cls(unquote(authority.rpartition("@")[0]), *parts)

    @property
    def home(self) -> str:
        """The attempt's folder, while its fence is open."""
        return f"{self.root}/{self.key}"

    @property
    def place(self) -> str:
        """What shows that this is the staging area in which it was kept."""
        return f"{self.root}/{_PLACES}/{self.folder.partition('-')[0]}"


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
    """The folder of one backend, for the applications of ``user``."""

    def __init__(self, uri: str, user: str, hdfs: WebHdfs) -> None:
        parts = urlsplit(uri)
        self.authority = f"{parts.scheme}://{parts.netloc}"
        self._kept = f"{parts.scheme}://{quote(user, safe='')}@{parts.netloc}"
        self._root = unquote(parts.path).rstrip("/")
        self._hdfs = hdfs
        self._place = ""

    # --- before the reservation is recorded -------------------------------------------------------------

    async def new_folder(self) -> str:
        """A name that nobody has used, which says in which place."""
        return f"{self._place or await self._placed()}-{secrets.token_hex(8)}"

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
        return f"{self._kept}{self._root}/{key}/{folder}/{digest}"

    async def drop(self, key: str, folder: str) -> None:
        """Remove what was written for a reservation that came to nothing."""
        await self._hdfs.delete(f"{self._root}/{key}/{folder}")

    # --- afterwards -------------------------------------------------------------------------------------

    async def submission(self, staged: str) -> dict[str, Any] | None:
        """The recorded submission; None: it is gone. Raises ``BackendUnavailable`` for one that is another."""
        kept = Kept.parse(staged)
        try:
            content = await self._hdfs.read(f"{kept.home}/{kept.folder}/{kept.digest}.json")
        except Missing:
            return None
        if hashlib.sha256(content).hexdigest() != kept.digest:
            raise BackendUnavailable("the submission in the staging area is not the one that was recorded")
        found: dict[str, Any] = json.loads(content)
        return found

    async def fence(self, staged: str) -> Fence:
        """How it is now; raises ``BackendUnavailable`` also where this is not the staging area that it is in."""
        kept = Kept.parse(staged)
        if await self._hdfs.stat(f"{kept.home}/{kept.folder}/{FENCE}") is not None:
            return Fence(closed=False, seen=None, ended_cleanly=False, held=True)
        if await self._hdfs.stat(f"{kept.home}{_CLOSED}/{kept.folder}") is not None:
            return Fence(closed=True, seen=None, ended_cleanly=False, held=True)
        for start in await self._children(f"{kept.home}{_SEEN}"):
            if await self._hdfs.stat(f"{kept.home}{_SEEN}/{start}/{kept.folder}") is not None:
                return Fence(closed=True, seen=start, ended_cleanly=False, held=True)
        if await self._hdfs.stat(kept.place) is None:
            raise BackendUnavailable(
                f"HDFS has no {kept.place}, where this job's fence was put: was the backend's yarn.staging edited? "
                "Nothing can be said of the job until it is as before"
            )
        return Fence(closed=True, seen=None, ended_cleanly=True, held=await self._holds(kept.home))

    async def _holds(self, home: str) -> bool:
        """Whether something of this attempt is left."""
        for path in _names(home):
            if await self._hdfs.stat(path) is not None:
                return True
        return False

    async def close(self, staged: str, *, seen: str | None) -> None:
        """Rename the attempt's folder. Idempotent: what decides is that the fence's file is no longer there.

        Which run was ``seen`` is in the new name, so that both are one act.
        """
        kept = Kept.parse(staged)
        home, closed, known = _names(kept.home)
        # Who still takes himself for the leader may have made the home anew, for a reservation that is none.
        is_closed = await self._hdfs.stat(f"{closed}/{kept.folder}") is not None
        if seen is not None:
            await self._hdfs.mkdirs(known, FOLDER_MODE)
            moved = not is_closed and await self._hdfs.rename(home, f"{known}/{seen}")
            if not moved:
                await self._hdfs.rename(closed, f"{known}/{seen}")
        elif not is_closed:
            await self._hdfs.rename(home, closed)
        fence = await self.fence(staged)
        if not fence.closed or (seen is not None and fence.seen is None and not fence.ended_cleanly):
            raise BackendUnavailable("the staging folder could not be renamed")

    async def sweep(self, key: str, staged: str | None = None) -> None:
        """Remove all of an attempt that has ended, from where its reservation has it."""
        home = Kept.parse(staged).home if staged is not None else f"{self._root}/{key}"
        for path in _names(home):
            await self._hdfs.delete(path)

    async def owners(self) -> dict[str, Owner]:
        """Whose the folders are, by the attempt's key: two calls for each, some of them at a time."""
        homes = [name for name in await self._children(self._root) if name != _PLACES]
        found: dict[str, Owner] = {}
        shares = [homes[number::AT_ONCE] for number in range(AT_ONCE)]
        await asyncio.gather(*(self._read_owners(share, found) for share in shares))
        return found

    async def _read_owners(self, homes: list[str], found: dict[str, Owner]) -> None:
        for home in [path for name in homes for path in await self._tombs(name)]:
            for mark in await self._children(f"{self._root}/{home}"):
                for name in await self._children(f"{self._root}/{home}/{mark}") if mark.startswith(_MARK) else ():
                    owner = Owner.parse(mark, name)
                    if owner is not None:
                        found[home.partition(".")[0]] = owner

    async def _tombs(self, name: str) -> list[str]:
        if not name.endswith(_SEEN):
            return [name]
        return [f"{name}/{start}" for start in await self._children(f"{self._root}/{name}")]

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
        await self._placed()
        return found

    async def _placed(self) -> str:
        """Name of this place, given to it if it has none. Two that do so at once give it two: each is as good."""
        names = sorted(await self._children(f"{self._root}/{_PLACES}"))
        if not names:
            names = [secrets.token_hex(4)]
            await self._hdfs.mkdirs(f"{self._root}/{_PLACES}/{names[0]}", FOLDER_MODE)
        self._place = names[0]
        return self._place


def _names(home: str) -> tuple[str, str, str]:
    """Where an attempt's folder is: open; closed; and in what, closed by who had seen a run."""
    return home, f"{home}{_CLOSED}", f"{home}{_SEEN}"
