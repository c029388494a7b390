"""HDFS through WebHDFS: the few operations that staging needs.

A file's content is sent to, and read from, a DataNode that the NameNode names (``noredirect``: as JSON). It is asked
only if the backend lists it. A standby NameNode answers 403 StandbyException; one in safe mode 403 SafeModeException
to whatever would change something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from durablejob_api.backend import WebHdfs as WebHdfsSpec
from durablejob_controller.backends.http import ANSWER_CAP, LIST_CAP, Answer, Malformed, client, exchange
from durablejob_controller.backends.yarn.auth import Authentication
from durablejob_controller.errors import BackendError, BackendUnavailable, CredentialsRefused, InvalidBackend

_LINE = 400


class Missing(BackendError):
    """There is no such file."""


class InvalidPath(BackendUnavailable):
    """HDFS has no files of such names."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What the NameNode knows of a file or folder."""

    name: str
    """Relative to what was asked for; empty for that itself."""
    size: int
    modified: int
    """Milliseconds since 1970."""
    folder: bool
    permission: int


class WebHdfs:
    """One file system."""

    def __init__(self, spec: WebHdfsSpec, authentication: Authentication, timeout: float) -> None:
        self._name_nodes = [url.rstrip("/") for url in spec.name_nodes]
        try:
            self._allowed = {urlsplit(url).netloc for url in (*spec.name_nodes, *spec.data_nodes)}
        except ValueError as error:
            raise InvalidBackend(f"spec.yarn.staging.webhdfs: {error}") from error
        self._authentication = authentication
        self._http = client(timeout)
        self._active = self._name_nodes[0]

    # --- operations -------------------------------------------------------------------------------------

    async def mkdirs(self, path: str, permission: str) -> None:
        await self._ask("PUT", path, "MKDIRS", permission=permission)

    async def stat(self, path: str) -> Stat | None:
        """A file or folder; None: it is not there."""
        try:
            found = await self._ask("GET", path, "GETFILESTATUS")
        except Missing:
            return None
        return _stat(found.get("FileStatus"))

    async def children(self, path: str) -> list[Stat]:
        """What lies in a folder; raises ``Missing``."""
        found = await self._ask("GET", path, "LISTSTATUS", cap=LIST_CAP)
        statuses = found.get("FileStatuses")
        if not isinstance(statuses, dict) or not isinstance(statuses.get("FileStatus"), list):
            raise Malformed("WebHDFS answered, but with no list of files")
        return [_stat(one) for one in statuses["FileStatus"]]

    async def create(self, path: str, content: bytes) -> None:
        """Write a new file, for its owner alone."""
        where = await self._ask("PUT", path, "CREATE", overwrite="false", permission="600", noredirect="true")
        answer = await exchange(self._http, "PUT", self._location(where), content=content,
                                headers={"Content-Type": "application/octet-stream"})  # fmt: skip
        if answer.status != 201:
            raise _refusal(answer)

    async def read(self, path: str) -> bytes:
        """A whole file; raises ``Missing``."""
        where = await self._ask("GET", path, "OPEN", noredirect="true")
        answer = await exchange(self._http, "GET", self._location(where), cap=LIST_CAP)
        if answer.status != 200:
            raise _refusal(answer)
        return answer.body

    async def rename(self, path: str, to: str) -> bool:
        """Whether it was renamed; False where there is nothing to rename, or its new name is taken."""
        try:
            return (await self._ask("PUT", path, "RENAME", destination=to)).get("boolean") is True
        except Missing:
            return False

    async def delete(self, path: str) -> None:
        """Remove a folder and all in it, if it is there."""
        await self._ask("DELETE", path, "DELETE", recursive="true")

    async def aclose(self) -> None:
        await self._http.aclose()

    # --- requests ---------------------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, operation: str, cap: int = ANSWER_CAP, **parameters: str
    ) -> dict[str, Any]:
        """One operation at the active NameNode; raises ``Missing``, ``BackendUnavailable``."""
        said = []
        for node in sorted(self._name_nodes, key=lambda known: known != self._active):
            try:
                found = await self._at(node, method, path, operation, parameters, cap)
            except NotActive as error:
                said.append(str(error))
                continue
            self._active = node
            return found
        raise BackendUnavailable(f"no active NameNode: {'; '.join(said)}")

    async def _at(
        self, node: str, method: str, path: str, operation: str, parameters: Mapping[str, str], cap: int
    ) -> dict[str, Any]:
        url = f"{node}/webhdfs/v1{quote(path)}?{urlencode({'op': operation, **parameters})}"
        dressed, headers = await self._authentication.dress(url)
        try:
            answer = await exchange(self._http, method, dressed, headers=headers, cap=cap)
        except BackendUnavailable as error:
            raise NotActive(str(error)) from error
        if answer.status not in (200, 201):
            raise _refusal(answer)
        return answer.json() if answer.body else {}

    def _location(self, found: Mapping[str, Any]) -> str:
        url = str(found.get("Location") or "")
        where = urlsplit(url).netloc
        if where not in self._allowed:
            raise BackendUnavailable(
                f"HDFS names {where[:200] or 'no host'} for a file's content, which is not among "
                "yarn.staging.webhdfs.dataNodes"
            )
        return url


class NotActive(BackendUnavailable):
    """This NameNode is a standby, or gives no answer: another one may."""


def _refusal(answer: Answer) -> BackendError:
    """The error that an answer stands for; HDFS's own words go along only in HDFS's own form."""
    try:
        remote = answer.json()["RemoteException"]
        kind, message = str(remote["exception"]), str(remote["message"]).partition("\n")[0][:_LINE]
    except (BackendUnavailable, KeyError, TypeError):
        kind, message = "", ""
    if kind == "FileNotFoundException" and answer.status == 404:
        return Missing(message)
    if kind == "StandbyException":
        return NotActive(f"{answer.host} is a standby NameNode")
    if kind in ("SafeModeException", "RetriableException"):
        return BackendUnavailable(f"{answer.host}: HDFS is in safe mode, or starting")
    if kind == "InvalidPathException":
        return InvalidPath(f"{answer.host}: {message}")
    if kind == "AccessControlException" or answer.status in (401, 403):
        return CredentialsRefused(f"{answer.host} refuses: {message or f'HTTP {answer.status}'}")
    if kind:
        return BackendUnavailable(f"{answer.host}: {kind[:80]}: {message}")
    return Malformed(f"{answer.host} answered {answer.status}, but not as WebHDFS does")


def _stat(raw: object) -> Stat:
    if not isinstance(raw, dict):
        raise Malformed("WebHDFS answered, but with no status of a file")
    try:
        return Stat(
            name=str(raw.get("pathSuffix") or ""),
            size=int(raw["length"]),
            modified=int(raw["modificationTime"]),
            folder=raw["type"] == "DIRECTORY",
            permission=int(str(raw["permission"]), 8),
        )
    except (KeyError, TypeError, ValueError):
        raise Malformed("WebHDFS answered, but with no status of a file") from None
