"""A stand-in for a ResourceManager, a NodeManager and HDFS, with a ledger of the programs that were started.

What it copies was seen on Hadoop 3.5 (protocol.md; ``tests/e2e/yarn`` runs the real ones): an id that is known is not
started again, also after its end, until it is forgotten; whoever is accepted must find each of its files on HDFS, in
size and time as it says, or fails with exit code -1000 and starts nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from durablejob_controller.backends.yarn.tags import key_of

STORES = "org.apache.hadoop.yarn.server.resourcemanager.recovery"
ENDED = ("FINISHED", "FAILED", "KILLED")
BIRTH = 1_790_000_000_000
"""When the stand-in's clock begins: milliseconds, as Hadoop counts."""
MISSING = "AM Container for appattempt exited with  exitCode: -1000\nFile does not exist: "


@dataclass
class App:
    """One run of one application."""

    id: str
    body: dict[str, Any]
    started: int
    state: str = "ACCEPTED"
    final: str = "UNDEFINED"
    diagnostics: str = ""
    user: str = "etl"
    program: bool = False
    """Its program was started."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def tags(self) -> str:
        return ",".join(self.body["application-tags"]["tag"])

    @property
    def key(self) -> str:
        return key_of(self.tags) or ""

    @property
    def active(self) -> bool:
        return self.state not in ENDED

    @property
    def command(self) -> str:
        return str(self.body["am-container-spec"]["commands"]["command"])

    def to_api(self) -> dict[str, Any]:
        return {
            "id": self.id, "user": self.user, "state": self.state, "finalStatus": self.final, "progress": 40.0,
            "startedTime": self.started, "applicationTags": self.tags, "applicationType": self.body["application-type"],
            "queue": "default", "diagnostics": self.diagnostics, "trackingUrl": f"http://proxy/{self.id}/",
        }  # fmt: skip


@dataclass
class File:
    content: bytes
    modified: int


class ScriptedYarn:
    """One cluster; its runs in the order in which they were accepted are the ledger."""

    def __init__(self, behaviour: str = "well", live: Callable[[ScriptedYarn, App], Any] | None = None) -> None:
        self.behaviour = behaviour
        self.ha_state = "ACTIVE"
        self.store = f"{STORES}.ZKRMStateStore"
        self.safe_mode = False
        self.standby = False
        """Its NameNode is a standby one."""
        self.hang_up_after: str | None = None
        """The connection is closed after the answer to a call that begins so."""
        self.fails: str | None = None
        """Calls that begin so are answered with 500."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.most_at_once = 0
        self._at_once = 0
        self.started_on = BIRTH
        self.runs: list[App] = []
        self.known: dict[str, App] = {}
        self.files: dict[str, File | None] = {"/": None}
        """Path -> file; None: a folder."""
        self.calls: list[str] = []
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it lives, if others than its own tests end applications."""
        self._live = live
        self._serial = itertools.count(1)
        self._clock = itertools.count(BIRTH + 1000, 7)

    # --- what tests do ----------------------------------------------------------------------------------

    def starts(self, key: str) -> int:
        """How often a program of this attempt was started."""
        return sum(app.key == key and app.program for app in self.runs)

    def active(self) -> list[App]:
        return [app for app in self.runs if app.active]

    def end(self, app: App, state: str = "FINISHED", final: str = "SUCCEEDED", diagnostics: str = "") -> None:
        app.state, app.final, app.diagnostics = state, final, diagnostics
        if app.task is None or app.task.done():
            return
        if self.loop is not None:
            self.loop.call_soon_threadsafe(app.task.cancel)
        else:
            app.task.cancel()

    def finish(self, key: str) -> None:
        for app in self.active():
            if app.key == key:
                self.end(app)

    def forget(self) -> None:
        """All that has ended is evicted."""
        self.known = {name: app for name, app in self.known.items() if app.active}

    def restart(self, *, recovery: bool, kept: bool | None = None) -> None:
        """Another life of the ResourceManager, with a store or without; ``kept``: what it knows, if that is another."""
        self.started_on += 60_000
        self.store = f"{STORES}.{'ZKRMStateStore' if recovery else 'NullRMStateStore'}"
        if not (recovery if kept is None else kept):
            self.known.clear()

    def exists(self, path: str) -> bool:
        return path in self.files

    # --- the ResourceManager ----------------------------------------------------------------------------

    def application(self) -> web.Application:
        app = web.Application(client_max_size=16 << 20)
        base = "/ws/v1/cluster"
        app.router.add_get(f"{base}/info", self._info)
        app.router.add_get("/conf", self._conf)
        app.router.add_post(f"{base}/apps/new-application", self._new)
        app.router.add_post(f"{base}/apps", self._post)
        app.router.add_get(f"{base}/apps", self._list)
        app.router.add_get(f"{base}/apps/{{id}}", self._one)
        app.router.add_put(f"{base}/apps/{{id}}/state", self._kill)
        app.router.add_route("*", "/webhdfs/v1{path:.*}", self._hdfs)
        app.router.add_route("*", "/data{path:.*}", self._data)
        app.middlewares.append(self._noted)
        return app

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        operation = request.query.get("op")
        self.calls.append(f"{request.method} {operation or request.path}")
        if self.fails is not None and self.calls[-1].startswith(self.fails):
            return web.Response(status=500, text="broken")
        if self.delay:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            await asyncio.sleep(self.delay)
            self._at_once -= 1
        if self.behaviour == "unavailable" and not request.path.endswith("/info"):
            return web.Response(status=503, text="busy")
        if request.query.get("user.name") is None and not request.path.startswith("/data"):
            return web.Response(status=401)
        answer: web.StreamResponse = await handler(request)
        if self.hang_up_after is not None and self.calls[-1].startswith(self.hang_up_after):
            answer.force_close()
        return answer

    async def _info(self, _: web.Request) -> web.Response:
        state = "STANDBY" if self.behaviour == "unavailable" else self.ha_state
        info = {"startedOn": self.started_on, "state": "STARTED", "haState": state}
        return web.json_response({"clusterInfo": {**info, "resourceManagerVersion": "3.5.0",
                                                  "rmStateStoreName": self.store}})  # fmt: skip

    async def _conf(self, request: web.Request) -> web.Response:
        value = "500" if "state-store" in request.query["name"] else "1000"
        return web.json_response({"property": {"key": request.query["name"], "value": value}})

    async def _new(self, _: web.Request) -> web.Response:
        return web.json_response({"application-id": f"application_{self.started_on}_{next(self._serial):04d}"})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.behaviour == "reject" or "reject" in body["am-container-spec"]["commands"]["command"]:
            return _remote(400, "BadRequestException", "the stand-in refuses this application")
        self.accept(body)
        if self.behaviour == "unclear":
            return web.Response(status=502, text="bad gateway")
        return web.Response(status=202)

    def accept(self, body: dict[str, Any]) -> None:
        """A submission arrives."""
        if body["application-id"] in self.known:
            return
        app = App(body["application-id"], body, next(self._clock))
        self.runs.append(app)
        self.known[app.id] = app
        if self._live is None:
            self.launch(app)
        else:
            app.task = asyncio.ensure_future(self._live(self, app))

    def launch(self, app: App) -> bool:
        """A container of it: whether it finds its files, and so starts its program."""
        app.program = self.localize(app)
        return app.program

    def localize(self, app: App) -> bool:
        """Whether a container of it finds its files, and so starts what its command says."""
        for entry in app.body["am-container-spec"]["local-resources"]["entry"]:
            wanted = entry["value"]
            file = self.files.get(urlsplit(wanted["resource"]).path)
            if file is None or (len(file.content), file.modified) != (wanted["size"], wanted["timestamp"]):
                self.end(app, "FAILED", "FAILED", MISSING + wanted["resource"])
                return False
        app.state = "RUNNING"
        return True

    async def _list(self, request: web.Request) -> web.Response:
        states = request.query.get("states", "")
        tags = set(request.query.get("applicationTags", "").split(","))
        found = [
            app.to_api() for app in self.known.values()
            if (not states or app.state in states.split(",")) and tags & set(app.tags.split(","))
        ]  # fmt: skip
        return web.json_response({"apps": {"app": found} if found else None})

    async def _one(self, request: web.Request) -> web.Response:
        app = self.known.get(request.match_info["id"])
        if app is None:
            return _remote(404, "NotFoundException", f"app with id: {request.match_info['id']} not found")
        return web.json_response({"app": app.to_api()})

    async def _kill(self, request: web.Request) -> web.Response:
        app = self.known.get(request.match_info["id"])
        if app is None:
            return _remote(404, "NotFoundException", "not found")
        if app.active:
            self.end(app, "KILLED", "KILLED", "Application killed by user.")
        return web.json_response({"state": app.state}, status=202)

    # --- HDFS -------------------------------------------------------------------------------------------

    async def _hdfs(self, request: web.Request) -> web.Response:
        path = request.match_info["path"].rstrip("/") or "/"
        operation = request.query["op"].upper()
        if self.standby:
            return _remote(403, "StandbyException", "Operation category READ is not supported in state standby.")
        if ":" in path:  # DFSUtil.isValidName
            return _remote(400, "InvalidPathException", f"Invalid path name Invalid file name: {path}")
        if self.safe_mode and request.method != "GET":
            return _remote(403, "SafeModeException", "Cannot do it. Name node is in safe mode.")
        if operation in ("CREATE", "OPEN"):
            if operation == "OPEN" and self.files.get(path) is None:
                return _remote(404, "FileNotFoundException", f"File {path} not found.")
            return web.json_response({"Location": f"{self.url}/data{path}"})
        answer: web.Response = getattr(self, f"_{operation.lower()}")(path, request)
        return answer

    async def _data(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.method == "PUT":
            if path in self.files:
                return _remote(403, "FileAlreadyExistsException", f"{path} exists")
            self.put(path, await request.read())
            return web.Response(status=201)
        file = self.files.get(path)
        return web.Response(body=file.content) if file else _remote(404, "FileNotFoundException", "gone")

    def put(self, path: str, content: bytes) -> None:
        """A file appears."""
        self.files[path] = File(content, next(self._clock))
        while (path := path.rpartition("/")[0]) and path not in self.files:
            self.files[path] = None

    def _mkdirs(self, path: str, _: web.Request) -> web.Response:
        while path and path not in self.files:
            self.files[path] = None
            path = path.rpartition("/")[0]
        return web.json_response({"boolean": True})

    def _getfilestatus(self, path: str, _: web.Request) -> web.Response:
        if path not in self.files:
            return _remote(404, "FileNotFoundException", f"File does not exist: {path}")
        return web.json_response({"FileStatus": self._status(path, "")})

    def _liststatus(self, path: str, _: web.Request) -> web.Response:
        if path not in self.files:
            return _remote(404, "FileNotFoundException", f"File {path} does not exist.")
        below = [p for p in self.files if p.rpartition("/")[0] == path and p != "/"]
        return web.json_response(
            {"FileStatuses": {"FileStatus": [self._status(p, p.rpartition("/")[2]) for p in below]}}
        )

    def _status(self, path: str, name: str) -> dict[str, Any]:
        file = self.files[path]
        kind = {"type": "FILE", "length": len(file.content)} if file else {"type": "DIRECTORY", "length": 0}
        return {**kind, "pathSuffix": name, "modificationTime": file.modified if file else 0, "permission": "700"}

    def _rename(self, path: str, request: web.Request) -> web.Response:
        to = request.query["destination"]
        if path not in self.files:
            return web.json_response({"boolean": False})
        if to in self.files:  # a folder that is there takes it in
            to = f"{to}/{path.rpartition('/')[2]}"
        for old in [p for p in self.files if p == path or p.startswith(path + "/")]:
            self.files[to + old[len(path) :]] = self.files.pop(old)
        return web.json_response({"boolean": True})

    def _delete(self, path: str, _: web.Request) -> web.Response:
        self.remove(path)
        return web.json_response({"boolean": True})

    def remove(self, path: str) -> None:
        """A folder goes with all in it."""
        for old in [p for p in self.files if p == path or p.startswith(path + "/")]:
            del self.files[old]


def _remote(status: int, exception: str, message: str) -> web.Response:
    remote = {"exception": exception, "message": message, "javaClassName": f"org.apache.hadoop.{exception}"}
    return web.json_response({"RemoteException": remote}, status=status)
