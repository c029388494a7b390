"""The start gate's server: drivers ask it for leave to run the program, and report its end.

Any replica serves it, leader or not: the truth is in the DurableJob, and leave is given by one
compare-and-swap on it (``claims.grant_start``). It listens on its own address. The URL's HMAC is checked
before anything is read (but, now and then, the keys: ``tokens``). An answer counts only with the header
``Durablejob-Verdict``, so that no proxy between can grant or deny anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import DurableJobStatus, Ending
from durablejob_controller import metrics
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.registry import Registry
from durablejob_controller.claims import (
    ClaimId,
    Denied,
    adopted,
    grant_start,
    is_unrecorded_winner,
    note_ended,
)
from durablejob_controller.errors import BackendError, Conflict, KubernetesError, NotFound
from durablejob_controller.events import EventRecorder
from durablejob_controller.jobs import Jobs, parse
from durablejob_controller.kube import JOBS, Kube, Object
from durablejob_controller.queue import WorkQueue
from durablejob_controller.sites import Sites
from durablejob_controller.tokens import PREFIX, Tokens

log = logging.getLogger(__name__)

VERDICT = "Durablejob-Verdict"
HELD = "etcd was restored from a backup; an administrator has to let jobs begin again"
BODY_LIMIT = 4096
BODY_PATIENCE = 10.0
"""Seconds in which a call's body must have come, from the end of its head."""
SWAPS = 5
"""Lost compare-and-swaps after which the driver is asked to come back."""


def _hash(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()


class Call(BaseModel):
    """What a driver says of itself."""

    model_config = ConfigDict(extra="ignore")

    nonce: Annotated[str, Field(min_length=8, max_length=128), AfterValidator(_hash)]
    """What only this JVM can say. All that is compared and recorded is its hash, which whoever may read the resource
    sees, and can say nothing with."""
    driver: str = Field(min_length=1, max_length=128)
    how: Ending = Ending.EXIT
    message: str | None = Field(default=None, max_length=512)


class Gate:
    """Answers drivers."""

    def __init__(
        self, kube: Kube, tokens: Tokens, registry: Registry, sites: Sites, jobs: Jobs, queue: WorkQueue,
        events: EventRecorder,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._tokens = tokens
        self._registry = registry
        self._sites = sites
        self._jobs = jobs
        self._queue = queue
        self._events = events

    def application(self) -> web.Application:
        """The server's routes."""
        app = web.Application(client_max_size=BODY_LIMIT)
        numbers = "{attempt:[0-9]{1,6}}/{claim:[0-9]{1,7}}"
        base = f"/{PREFIX}/{{kid}}/{{namespace}}/{{name}}/{{uid}}/{numbers}/{{mac}}"
        app.router.add_get(base + "/{file:[a-z]+\\.[a-z]+}", self._file)
        app.router.add_post(base + "/start", self._start)
        app.router.add_post(base + "/ended", self._ended)
        return app

    async def _claim(self, request: web.Request) -> ClaimId:
        part = request.match_info
        claim = ClaimId(part["namespace"], part["name"], part["uid"], int(part["attempt"]), int(part["claim"]))
        if not await self._tokens.knows(part["kid"]) or not self._tokens.check(part["kid"], claim, part["mac"]):
            raise web.HTTPForbidden(text="this URL was not made by this gate")
        return claim

    async def _file(self, request: web.Request) -> web.Response:
        claim = await self._claim(request)
        key = attempt_key(claim.uid, claim.attempt)
        content = self._registry.artifact(request.match_info["file"], key, claim.number)
        if content is None:
            raise web.HTTPNotFound(text="no such file")
        return web.Response(body=content, content_type="application/java-archive")

    async def _start(self, request: web.Request) -> web.Response:
        claim = await self._claim(request)
        call = await _call(request)
        for _ in range(SWAPS):
            raw = await self._read(claim)
            job, unread = (None, None) if raw is None else parse(raw)
            if unread is not None:  # neither what is to run nor that somebody wishes its end is known for certain
                return _later("start", unread.why.message)
            answer = grant_start(job, claim, call.nonce, call.driver, self._now())
            if isinstance(answer, Denied):
                return _verdict("start", "denied", 409, answer.why, claim, call)
            if self._is_held(job):
                return _later("start", HELD)
            if answer.status is None:
                return _verdict("start", "granted", 200, "granted before", claim, call)
            run = await self._listed("start", job, claim, call) if job is not None else None
            if raw is None or run is None:
                return _later("start", "the external system does not list this driver under this claim")
            answer = grant_start(job, claim, call.nonce, call.driver, self._now(), run)
            if not isinstance(answer, Denied) and answer.status and await self._swap(raw, job, answer.status):
                if self._is_held(job):  # the write's own answer has told it
                    return _later("start", HELD)
                return _verdict("start", "granted", 200, "go", claim, call)
        return _later("start", "the DurableJob is changing; come back")

    def _is_held(self, job: DurableJob | None) -> bool:
        """Nobody may begin until a person agrees: what this record does not know may have won the claim."""
        return job is not None and self._sites.held(job) is not None

    async def _ended(self, request: web.Request) -> web.Response:
        claim = await self._claim(request)
        call = await _call(request)
        for _ in range(SWAPS):
            raw = await self._read(claim)
            job, unread = (None, None) if raw is None else parse(raw)
            if unread is not None and job is not None and job.status is None:
                return _later("ended", unread.why.message)
            status = note_ended(job, claim, call.nonce, call.how, self._now(), call.message)
            if job is not None and raw is not None and is_unrecorded_winner(job, claim):
                run = await self._listed("ended", job, claim, call)
                if run is None:
                    return _later("ended", "the external system does not list this driver under this claim")
                await self._swap(raw, job, adopted(job, call.nonce, call.driver, self._now(), run))
                continue  # then its end is noted
            if status is None or raw is None or await self._swap(raw, job, status):
                return _verdict("ended", "noted", 200, call.how.value, claim, call)
        return _later("ended", "the DurableJob is changing; come back")

    def _now(self) -> datetime:
        return self._kube.clock.now().replace(microsecond=0)

    async def _read(self, claim: ClaimId) -> Object | None:
        """A live, quorum read; None: it is gone for certain."""
        try:
            return await self._kube.get(JOBS, claim.namespace, claim.name)
        except NotFound:
            return None
        except KubernetesError as error:
            raise web.HTTPServiceUnavailable(text="the API server gives no answer; come back") from error

    async def _listed(self, verb: str, job: DurableJob, claim: ClaimId, call: Call) -> Run | None:
        """The run that the caller says it is, if the external system lists it under this very claim."""
        entry = self._sites.entry(job)
        if entry is None or entry.poller is None:
            return None
        key = attempt_key(claim.uid, claim.attempt)
        try:
            runs = (await entry.poller.fresh()).sighting(key).runs
        except BackendError as error:
            log.info("gate: %s of %s: %s", verb, claim.name, error)
            return None
        return next((r for r in runs if r.id == call.driver and r.claim in (None, claim.number) and r.active), None)

    async def _swap(self, raw: Object, job: DurableJob | None, status: DurableJobStatus) -> bool:
        try:
            new = await self._kube.replace(JOBS, {**raw, "status": status.to_api()}, "status")
        except (Conflict, NotFound):
            metrics.STATUS_WRITES.labels(result="conflict").inc()
            return False
        except KubernetesError as error:
            log.warning("gate: %s", error)
            raise web.HTTPServiceUnavailable(text="the API server did not take it; come back") from error
        metrics.STATUS_WRITES.labels(result="ok").inc()
        if job is not None:
            self._events.transition(job, job.status, status)
        self._jobs.put(new)
        self._queue.add(new["metadata"]["uid"])
        return True


async def _call(request: web.Request) -> Call:
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            body = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the body did not come") from error
    try:
        return Call.model_validate_json(body)
    except ValidationError as error:
        raise web.HTTPBadRequest(text="body: JSON with nonce and driver") from error


def _verdict(verb: str, verdict: str, status: int, why: str, claim: ClaimId, call: Call) -> web.Response:
    metrics.GATE_ANSWERS.labels(verb=verb, answer=verdict).inc()
    log.info(
        "gate: %s of %s claim %d by %s: %s, %s", verb, claim.name, claim.number, call.driver, verdict, why,
        extra={"job": claim.name, "uid": claim.uid, "attempt": claim.attempt},
    )  # fmt: skip
    return web.Response(status=status, text=why, headers={VERDICT: verdict})


def _later(verb: str, why: str) -> web.Response:
    metrics.GATE_ANSWERS.labels(verb=verb, answer="later").inc()
    return web.Response(status=503, text=why, headers={"Retry-After": "1"})
