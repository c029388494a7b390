"""The ResourceManagers of one cluster over REST: which is active, and what can be asked of it.

Seen on Hadoop 3.5:

* ``/ws/v1/cluster/info`` is answered by every ResourceManager for itself, active or not; everything else a standby
  redirects to the active one (307), and where there is none it answers 200 with a line of text.
* While it recovers, a ResourceManager answers ``state`` STARTED, ``haState`` INITIALIZING: it then knows none of its
  applications (404), and a POST of one that it is about to recover ends it. So an absence counts, and a POST is sent,
  only over the connection on which it has just said ACTIVE: a restart breaks the connection.
* ``rmStateStoreName`` tells whether it remembers applications over its own restart.
* A POST of an id that it knows answers 202, or 400 "already present" while it is being accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from durablejob_controller.backends.http import ANSWER_CAP, LIST_CAP, Answer, Malformed, client, fetch
from durablejob_controller.backends.yarn.auth import Authentication
from durablejob_controller.errors import BackendUnavailable

ACTIVE = "ACTIVE"
LINES = 16
"""Conversations at a time."""
SLIM = "resourceRequests,timeouts,appNodeLabelExpression,amNodeLabelExpression,resourceInfo"
"""What a listing leaves out: half of it."""
ALIVE = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"
FORGETFUL = frozenset({"NullRMStateStore", "MemoryRMStateStore"})
_LINE = 400
_NAME = 100


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=_Part)


class Info(_Part):
    """What one ResourceManager says of itself."""

    state: str = ""
    ha_state: str = Field(default="", alias="haState")
    started_on: int = Field(alias="startedOn")
    version: str = Field(default="", alias="resourceManagerVersion")
    store: str = Field(default="", alias="rmStateStoreName")

    @property
    def active(self) -> bool:
        return self.ha_state == ACTIVE

    @property
    def life(self) -> str:
        """Which life of it this is; and, where recovery is on, the store in which its applications outlive it."""
        return f"{self.started_on} {self._kept_in}" if self.remembers else str(self.started_on)

    @property
    def remembers(self) -> bool:
        """Recovery is on."""
        return bool(self._kept_in) and self._kept_in not in FORGETFUL

    def knows(self, life: str) -> bool:
        """Whether it knows all that was accepted in ``life``: its own, or one that has kept it in the same store.

        What a life without recovery has accepted no later one knows, also if recovery is on by now. That there was
        none between two that keep it in the same store cannot be seen; it is assumed.
        """
        return life == self.life or (self.remembers and life.partition(" ")[2] == self._kept_in)

    @property
    def _kept_in(self) -> str:
        return self.store.rpartition(".")[2][:_NAME]


class App(_Part):
    """One application, as the ResourceManager tells it."""

    id: str
    user: str = ""
    state: str
    final_status: str = Field(default="UNDEFINED", alias="finalStatus")
    started_time: int = Field(default=0, alias="startedTime")
    tags: str = Field(default="", alias="applicationTags")
    type: str = Field(default="", alias="applicationType")
    queue: str = ""
    progress: float = 0.0
    tracking_url: str | None = Field(default=None, alias="trackingUrl")
    diagnostics: str | None = None


class NewApplication(_Part):
    """An id that was set aside."""

    id: str = Field(alias="application-id")


class Conversation:
    """One connection to one ResourceManager that has said on it that it is active."""

    def __init__(self, managers: Managers, http: httpx.AsyncClient, url: str, info: Info) -> None:
        self._managers = managers
        self._http = http
        self.url = url
        self.info = info

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, cap: int = ANSWER_CAP) -> Answer:
        """One request over this very connection, sent at most once; raises ``BackendUnavailable``."""
        return await self._managers.ask(self._http, method, self.url, path, body=body, cap=cap, connected=True)

    async def new_application(self) -> str:
        """Set an id aside: this only moves a counter."""
        return _read(NewApplication, await self.ask("POST", "apps/new-application")).id

    async def app(self, app_id: str) -> App | None:
        """One application; None: this ResourceManager, active, says that it knows none by this id."""
        answer = await self.ask("GET", f"apps/{quote(app_id, safe='')}")
        if answer.status == 404 and _is(answer, "NotFoundException"):
            return None
        return _read(App, answer, "app")

    async def apps(self, **only: str) -> list[App]:
        """The applications that these parameters choose."""
        return _listing(await self.ask("GET", _chosen(only), cap=LIST_CAP))

    async def setting(self, name: str) -> str | None:
        """One of its settings; None where it does not tell."""
        try:
            answer = await self._managers.ask(self._http, "GET", self.url, f"/conf?name={name}", connected=True)
            value = (answer.json().get("property") or {}).get("value")
        except (BackendUnavailable, AttributeError):
            return None
        return value if isinstance(value, str) else None


class Managers:
    """All ResourceManagers of one cluster."""

    def __init__(self, urls: Sequence[str], authentication: Authentication, timeout: float) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._authentication = authentication
        self._http = client(timeout)
        self._lines = [client(timeout, connections=1) for _ in range(LINES)]
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for line in self._lines:
            self._free.put_nowait(line)
        self._active = self._urls[0]

    @property
    def several(self) -> bool:
        """One may take over from another, and back."""
        return len(self._urls) > 1

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Conversation]:
        """Speak with the active ResourceManager; raises ``BackendUnavailable`` when there is none."""
        line = await self._free.get()
        try:
            yield await self._begin(line)
        finally:
            self._free.put_nowait(line)

    async def _begin(self, line: httpx.AsyncClient) -> Conversation:
        said: list[str] = []
        refused: BackendUnavailable | None = None
        for url in sorted(self._urls, key=lambda known: known != self._active):
            try:
                info = await self.info(line, url)
            except BackendUnavailable as error:
                said.append(str(error))
                refused = refused or error
                continue
            if info.active:
                self._active = url
                return Conversation(self, line, url, info)
            said.append(f"{httpx.URL(url).netloc.decode()} is {info.ha_state[:32]}")
        kind = type(refused) if refused is not None and len(said) == 1 else BackendUnavailable
        raise kind("no active ResourceManager: " + "; ".join(said))

    async def info(self, line: httpx.AsyncClient, url: str) -> Info:
        """What one says of itself."""
        return _read(Info, await self.ask(line, "GET", url, "info"), "clusterInfo")

    async def alive(self, tag: str) -> list[App]:
        """All applications with this tag that have not ended: one request, while the same one stays active.

        One that cannot be read is left out: it hides itself, and none of the others.
        """
        only = {"states": ALIVE, "applicationTags": tag}
        try:
            answer = await self.ask(self._http, "GET", self._active, _chosen(only), cap=LIST_CAP)
        except BackendUnavailable:
            async with self.talk() as manager:
                answer = await manager.ask("GET", _chosen(only), cap=LIST_CAP)
        return _listing(answer, strictly=False)

    async def others(self) -> list[str]:
        """A line for each ResourceManager but the active one."""
        found = []
        for url in (known for known in self._urls if known != self._active):
            try:
                found.append(f"{httpx.URL(url).netloc.decode()} is {(await self.info(self._http, url)).ha_state[:32]}")
            except BackendUnavailable as error:
                found.append(str(error))
        return found

    async def ask(
        self,
        http: httpx.AsyncClient,
        method: str,
        url: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        cap: int = ANSWER_CAP,
        connected: bool = False,
    ) -> Answer:
        """One request, dressed."""
        whole = f"{url}{path}" if path.startswith("/") else f"{url}/ws/v1/cluster/{path}"
        dressed, headers = await self._authentication.dress(whole)
        headers = {"Accept": "application/json", **headers}
        return await fetch(http, method, dressed, body=body, cap=cap, headers=headers, connected=connected)

    async def aclose(self) -> None:
        for http in (self._http, *self._lines):
            await http.aclose()


def _read(model: type[M], answer: Answer, field: str | None = None) -> M:
    document = answer.json()
    try:
        return model.model_validate(document if field is None else document[field])
    except (KeyError, ValidationError):  # not chained: its text would repeat the answer
        raise strange(answer) from None


def _chosen(only: Mapping[str, str]) -> str:
    return f"apps?{urlencode({**only, 'deSelects': SLIM})}"


def _listing(answer: Answer, *, strictly: bool = True) -> list[App]:
    document = answer.json()
    if answer.status != 200 or "apps" not in document:
        raise strange(answer)
    found = []
    try:
        for one in (document["apps"] or {}).get("app") or ():
            try:
                found.append(App.model_validate(one))
            except ValidationError:
                if strictly:
                    raise
    except (AttributeError, TypeError, ValidationError):
        raise strange(answer) from None
    return found


def _is(answer: Answer, exception: str) -> bool:
    try:
        return bool((answer.json().get("RemoteException") or {}).get("exception") == exception)
    except (AttributeError, BackendUnavailable):
        return False


def words(answer: Answer) -> str:
    """What the ResourceManager says of a refusal, in a line; empty where it is not its own form."""
    try:
        message = (answer.json().get("RemoteException") or {}).get("message")
    except (AttributeError, BackendUnavailable):
        return ""
    return str(message or "").strip().partition("\n")[0][:_LINE]


def strange(answer: Answer) -> Malformed:
    return Malformed(f"{answer.host} answered {answer.status}, but not as a ResourceManager does")
