"""A Spark standalone cluster for the law: a Master with a ledger, and drivers that ask the real start gate's rules."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from durablejob_api.job import DurableJob
from durablejob_api.status import DurableJobStatus, Outcome, State
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Backend
from durablejob_controller.backends.spark_standalone import plugin
from durablejob_controller.backends.spark_standalone.stub import parse_class_name
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.claims import ClaimId, Granted, grant_start
from durablejob_controller.record import ended
from tests.backends.spark_standalone import works


@dataclass
class GatedCluster:
    """Every driver that the Master accepts is launched at once and asks for its claim."""

    behaviour: str = "well"
    ledger: list[str] = field(default_factory=list)
    """Attempt keys of the programs that were started."""
    active: dict[str, dict[str, Any]] = field(default_factory=dict)
    completed: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, DurableJob] = field(default_factory=dict)
    """The DurableJobs as the API server would have them, by attempt key."""
    serial: itertools.count[int] = field(default_factory=itertools.count)

    # --- what the API server would hold -----------------------------------------------------------------

    def record(self, job: DurableJob) -> DurableJob:
        """The reservation and an open claim are recorded."""
        status = DurableJobStatus(state=State.SUBMITTING, current=works.current(job))
        recorded = job.model_copy(update={"status": status})
        self.jobs.setdefault(works.key(job), recorded)
        return job

    def revoke(self, job: DurableJob) -> None:
        """The terminal write: it revokes an open claim."""
        key = works.key(job)
        held = self.jobs[key]
        assert held.current is not None
        status = ended(held, held.current, Outcome.CANCELLED, reasons.CANCELLED_BEFORE_START, datetime.now(UTC))
        self.jobs[key] = held.model_copy(update={"status": status})

    # --- the cluster ------------------------------------------------------------------------------------

    def launch(self, main_class: str) -> str:
        """A worker starts a driver; whether the program runs is the gate's to say."""
        driver = f"driver-{next(self.serial):04d}"
        seen = {"id": driver, "state": "RUNNING", "cores": 1, "memory": 512, "mainclass": main_class}
        self.active[driver] = seen
        claimed = parse_class_name(main_class)
        assert claimed is not None
        key, number = claimed
        job = self.jobs[key]
        claim = ClaimId("data", job.metadata.name, job.metadata.uid, 1, number)
        answer = grant_start(job, claim, f"nonce-of-{driver}", driver, datetime.now(UTC))
        if isinstance(answer, Granted):
            self.jobs[key] = job.model_copy(update={"status": answer.status})
            self.ledger.append(key)
        else:
            self._end(driver, "FAILED")
        return driver

    def finish(self, key: str) -> None:
        for driver, seen in list(self.active.items()):
            if f"{key}_" in seen["mainclass"]:
                self._end(driver, "FINISHED")

    def _end(self, driver: str, state: str) -> None:
        self.completed[driver] = {**self.active.pop(driver), "state": state}

    # --- the Master's HTTP --------------------------------------------------------------------------------

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/json/", self._json)
        app.router.add_post("/v1/submissions/create", self._create)
        app.router.add_get("/v1/submissions/status/{driver}", self._status)
        app.router.add_post("/v1/submissions/kill/{driver}", self._kill)
        return app

    async def _json(self, _: web.Request) -> web.Response:
        alive = "STANDBY" if self.behaviour == "unavailable" else "ALIVE"
        drivers = {"activedrivers": list(self.active.values()), "completeddrivers": list(self.completed.values())}
        return web.json_response({"url": "spark://m:7077", "status": alive, "workers": [], **drivers})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.behaviour in ("reject", "unavailable"):
            why = "Current state is not alive: STANDBY." if self.behaviour == "unavailable" else "too large"
            return _reply("CreateSubmissionResponse", success=False, message=why)
        driver = self.launch(body["mainClass"])
        if self.behaviour == "unclear":
            return web.Response(status=502, text="bad gateway")
        return _reply("CreateSubmissionResponse", success=True, submissionId=driver)

    async def _status(self, request: web.Request) -> web.Response:
        driver = request.match_info["driver"]
        seen = {**self.active, **self.completed}.get(driver)
        state = {"driverState": seen["state"]} if seen else {}
        return _reply("SubmissionStatusResponse", success=seen is not None, submissionId=driver, **state)

    async def _kill(self, request: web.Request) -> web.Response:
        driver = request.match_info["driver"]
        if known := driver in self.active:
            self._end(driver, "KILLED")
        return _reply("KillSubmissionResponse", success=known, submissionId=driver)


def _reply(action: str, **fields: object) -> web.Response:
    return web.json_response({"action": action, "serverSparkVersion": "4.3.0", **fields})


@asynccontextmanager
async def spark_case(behaviour: str, surroundings: Surroundings) -> AsyncIterator[tuple[Backend, GatedCluster]]:
    """The backend, on a cluster that behaves like this."""
    cluster = GatedCluster(behaviour)
    async with TestServer(cluster.application()) as server:
        url = f"http://127.0.0.1:{server.port}"
        backend = plugin.make(works.backend(url, url), surroundings)
        try:
            yield backend, cluster
        finally:
            await backend.aclose()
