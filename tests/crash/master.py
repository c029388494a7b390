"""A stand-in for Spark's Master, its Workers and the drivers' JVMs, with ledgers: honest, quick, and obedient on cue.

What it copies of the real one is what the real one was seen to do (protocol.md; ``tests/e2e`` runs the same
stories on it): it takes every submission that it understands, knows no client key, shows ``mainclass``,
lists what ended, answers a kill at once. A driver asks the gate as ``Gate.java`` does: for leave with a nonce of
its own, again and again until there is a verdict; and reports its end last.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from durablejob_controller.backends.spark_standalone.stub import parse_class_name
from tests.backends.yarn.scripted_yarn import ScriptedYarn
from tests.crash.applications import live
from tests.crash.claim import Claim, client

T = TypeVar("T")
M = TypeVar("M", bound="Master")
RUNS_FOR = 0.4
"""Seconds that a program runs, unless it waits to be killed."""


@dataclass
class Driver:
    """One driver that was accepted."""

    id: str
    main_class: str
    url: str
    """The claim's, at the gate."""
    how: str
    """What its program is to do."""
    state: str = "SUBMITTED"
    started: bool = False
    """The program was started."""
    forgotten: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        parsed = parse_class_name(self.main_class)
        return parsed[0] if parsed else ""

    @property
    def active(self) -> bool:
        return self.state in ("SUBMITTED", "RUNNING")

    def record(self) -> dict[str, Any]:
        return {"id": self.id, "state": self.state, "cores": 1, "memory": 512, "mainclass": self.main_class}


class Master:
    """One cluster; its drivers in the order in which they were accepted are the ledger."""

    def __init__(self) -> None:
        self.drivers: dict[str, Driver] = {}
        self.url = ""
        self.retained: int | None = None
        """So many drivers that have ended are remembered (spark.deploy.retainedDrivers; None: all)."""
        self.slots: asyncio.Semaphore | None = None
        """So many drivers have room on its workers at a time (None: all)."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it lives."""
        self._serial = itertools.count(1)

    def starts(self, key: str) -> list[Driver]:
        """The drivers of this attempt whose program was started."""
        return [driver for driver in list(self.drivers.values()) if driver.key == key and driver.started]

    def active(self) -> list[Driver]:
        """What still runs or waits."""
        return [driver for driver in list(self.drivers.values()) if driver.active]

    # --- what Spark serves ------------------------------------------------------------------------------

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/json/", self._json)
        app.router.add_get("/environment/", self._environment)
        app.router.add_post("/v1/submissions/create", self._create)
        app.router.add_get("/v1/submissions/status/{id}", self._status)
        app.router.add_post("/v1/submissions/kill/{id}", self._kill)
        return app

    async def _json(self, _: web.Request) -> web.Response:
        self._forget()
        known = [driver for driver in self.drivers.values() if not driver.forgotten]
        state = {"url": "spark://stand-in:7077", "status": "ALIVE", "workers": []}
        lists = {
            "activedrivers": [driver.record() for driver in known if driver.active],
            "completeddrivers": [driver.record() for driver in known if not driver.active],
        }
        return web.json_response({**state, **lists})

    async def _environment(self, _: web.Request) -> web.Response:
        row = "<tr><td>spark.deploy.recoveryMode</td><td>FILESYSTEM</td></tr>"
        return web.Response(text=f"<h4>Spark Properties</h4><table>{row}</table>", content_type="text/html")

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        how = body["appArgs"][-1]
        if how == "reject":
            return _answer("CreateSubmissionResponse", success=False, message="the stand-in rejects this submission")
        url = body["sparkProperties"]["spark.durablejob.tokenURL"]
        driver = Driver(f"driver-{next(self._serial):04d}", body["mainClass"], url, how)
        self.drivers[driver.id] = driver
        if how != "queue":
            driver.task = asyncio.ensure_future(self._run(driver))
        return _answer("CreateSubmissionResponse", success=True, submissionId=driver.id)

    def _forget(self) -> None:
        if self.retained is not None:
            over = [driver for driver in self.drivers.values() if not driver.active and not driver.forgotten]
            for driver in over[: max(0, len(over) - self.retained)]:
                driver.forgotten = True

    async def _status(self, request: web.Request) -> web.Response:
        self._forget()
        driver = self.drivers.get(request.match_info["id"])
        if driver is None or driver.forgotten:
            return _answer("SubmissionStatusResponse", success=False)
        return _answer("SubmissionStatusResponse", success=True, driverState=driver.state)

    async def _kill(self, request: web.Request) -> web.Response:
        driver = self.drivers.get(request.match_info["id"])
        if driver is None or driver.forgotten or not driver.active:
            return _answer("KillSubmissionResponse", success=False, message="has already finished or does not exist")
        self.end(driver, "KILLED")
        return _answer("KillSubmissionResponse", success=True)

    def kill_by_hand(self, driver: Driver) -> None:
        """Somebody presses "kill" in the Master's UI; from any thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.end, driver, "KILLED")

    # --- what a Worker does -----------------------------------------------------------------------------

    def end(self, driver: Driver, state: str) -> None:
        driver.state = state
        if driver.task is not None:
            driver.task.cancel()

    async def _run(self, driver: Driver) -> None:
        async with self.slots or contextlib.nullcontext():
            await self._runs(driver)

    async def _runs(self, driver: Driver) -> None:
        driver.state = "RUNNING"
        async with client() as http:
            claim = Claim(http, driver.url, driver.id)
            if not await self._may_start(claim):
                driver.state = "FAILED"
                return
            driver.started = True
            await self._works(driver)
            if driver.how == "vanish":
                driver.state, driver.forgotten = "ERROR", True
            else:
                await self._report(claim, {"succeed": "returned", "fail": "threw"}[driver.how])
                driver.state = {"succeed": "FINISHED", "fail": "FAILED"}[driver.how]

    async def _works(self, driver: Driver) -> None:
        """The program itself."""
        if driver.how == "hold":
            await asyncio.Event().wait()
        await asyncio.sleep(RUNS_FOR)

    async def _may_start(self, claim: Claim) -> bool:
        return await claim.may_start()

    async def _report(self, claim: Claim, how: str) -> None:
        await claim.report(how)


def _answer(action: str, **fields: Any) -> web.Response:
    return web.json_response({"action": action, "serverSparkVersion": "4.3.0", **fields})


class Yard:
    """Serves any number of stand-ins from one thread."""

    def __init__(self) -> None:
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # callers that die are what this is about
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-ins", daemon=True)

    def __enter__(self) -> Yard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def master(self) -> Iterator[Master]:
        """A cluster of one's own."""
        with self.serving(Master()) as master:
            yield master

    @contextmanager
    def serving(self, master: M) -> Iterator[M]:
        """The same, of another kind."""
        runner = self._do(self._serve(master))
        try:
            yield master
        finally:
            tasks = [driver.task for driver in master.drivers.values() if driver.task is not None]
            self._do(self._stop(tasks, runner))

    @contextmanager
    def yarn(self) -> Iterator[ScriptedYarn]:
        """A YARN cluster of one's own."""
        cluster = ScriptedYarn(live=live)
        runner = self._do(self._serve(cluster))
        try:
            yield cluster
        finally:
            self._do(self._stop([app.task for app in cluster.runs if app.task is not None], runner))

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(30)

    @staticmethod
    async def _serve(stand_in: Master | ScriptedYarn) -> web.AppRunner:
        runner = web.AppRunner(stand_in.application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        stand_in.loop = asyncio.get_running_loop()
        stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return runner

    @staticmethod
    async def _stop(tasks: list[asyncio.Task[None]], runner: web.AppRunner) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()

    @staticmethod
    async def _cancel_all() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
