"""The verbs of the contract, for a Spark standalone cluster."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from durablejob_api.backend import JobBackendSpec, SparkStandaloneBackend
from durablejob_api.job import DurableJob
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Identity,
    Leftover,
    Offer,
    Probe,
    Rejected,
    Run,
    Sighting,
    Snapshot,
    Submission,
    Traits,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.http import Doubtful, client
from durablejob_controller.backends.spark_standalone import submission as submissions
from durablejob_controller.backends.spark_standalone import validation
from durablejob_controller.backends.spark_standalone.listing import Listing, ending, phase, verdict
from durablejob_controller.backends.spark_standalone.masters import Masters, Reply
from durablejob_controller.backends.spark_standalone.probing import probe
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import BackendUnavailable, InvalidBackend

_EXPLAINED = 3
"""For so many runs that the Master lost sight of, one look asks why."""
_FETCH_FAILED = re.compile(r"java\.net\.|javax\.net\.ssl\.|java\.io\.(?:FileNotFound|IO)Exception")
"""How a worker's Utils.fetchFile fails; nothing but the gate's JAR is fetched before the gate."""


class SparkStandalone:
    """One cluster. Nothing is set aside and nothing closed outside: the claim is a record in the resource."""

    def __init__(self, spec: JobBackendSpec, surroundings: Surroundings) -> None:
        if spec.spark_standalone is None:
            raise InvalidBackend("spec.sparkStandalone: missing")
        self._gate_url = surroundings.gate()
        validation.validate_defaults(spec)
        self._spec = spec
        self._own: SparkStandaloneBackend = spec.spark_standalone
        self._tokens = surroundings.gate_token
        self._http = client(surroundings.timeout)
        self._masters = Masters(self._own.masters, self._http, surroundings.token)

    @property
    def traits(self) -> Traits:
        return Traits(Identity.CLAIM, gated=True)

    @property
    def cluster_id(self) -> str:
        if self._spec.cluster_id:
            return self._spec.cluster_id
        endpoints = ",".join(sorted(master.rest.rstrip("/") for master in self._own.masters))
        return "spark-standalone-" + hashlib.sha256(endpoints.encode()).hexdigest()[:16]

    def validate(self, job: DurableJob) -> None:
        validation.validate(job, self._spec)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return submissions.body_hash(job, key, self._spec)

    async def probe(self) -> Probe:
        return await probe(self._masters, self._gate_url)

    async def reserve(self, job: DurableJob, key: str) -> Offer:
        """Nothing to set aside: the claim's number is the reservation, and the engine does not ask. The law does."""
        del job, key
        return Offer(incarnation=(await self._masters.listing()).life)

    async def submit(self, submission: Submission) -> Answer:
        """POST the claim's driver, once.

        Raises ``BackendUnavailable`` when certainly nothing was started but it may be tried again:
        nobody listened, or this Master is not (yet) the active one.
        """
        master_url = self._own.master_url or self._masters.known_url
        if master_url is None:
            await self._masters.listing()
            master_url = self._masters.known_url or ""
        body = submissions.body(submission.job, submission.current.key, self._spec, self._place(submission, master_url))
        try:
            answer, reply = await self._masters.create(body)
        except Doubtful as error:
            return Unclear(str(error))
        if reply.not_active:
            raise BackendUnavailable(f"{answer.host} does not take submissions: {reply.words}")
        return _judge(answer.status, answer.host, reply)

    def _place(self, submission: Submission, master_url: str) -> submissions.Place:
        job, claim = submission.job, submission.current.claim
        if claim is None:
            raise ValueError("a submission to a standalone cluster needs a claim")
        meta = job.metadata
        path = self._tokens.path(meta.namespace or "", meta.name, meta.uid, submission.current.number, claim.number)
        return submissions.Place(
            claim=claim.number,
            claim_url=f"{self._gate_url}/{path.strip('/')}",
            master_url=master_url,
            spark_version=self._masters.version,
            secrets=submission.secrets,
        )

    async def observe(self) -> Snapshot:
        listing = await self._masters.listing()
        return Snapshot(incarnation=listing.life, runs=listing.runs())

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        """Drivers of ``key``, and the claim's winner by its id.

        "Unknown" of a driver is said by evicting, restarted and inactive Masters alike (200, success
        false): it counts only between two listings in which this Master is ALIVE.
        """
        listing = await self._masters.listing()
        runs = {run.id: run for run in listing.runs().get(key, ())}
        winner = current.claim.driver if current and current.claim else None
        if winner is not None and winner not in runs:
            listing, found = await self._by_id(winner, listing.url, key, current)
            runs = {run.id: run for run in (*listing.runs().get(key, ()), *found)}
        explained = [await self._explain(run) for run in list(runs.values())[-_EXPLAINED:]]
        return Sighting(runs=(*list(runs.values())[:-_EXPLAINED], *explained), incarnation=listing.life)

    async def _by_id(
        self, driver: str, master: str, key: str, current: Current | None
    ) -> tuple[Listing, tuple[Run, ...]]:
        status = await self._masters.status(driver)
        listing = await self._masters.listing()
        if listing.url != master:
            raise BackendUnavailable(f"{listing.url} took over from {master} during the look-up")
        if any(run.id == driver for run in listing.runs().get(key, ())) or not status.success:
            return listing, ()
        claim = current.claim.number if current and current.claim else None
        return listing, (_run(driver, claim, status),)

    async def _explain(self, run: Run) -> Run:
        """Add why the Master lost sight of a run: a listing does not carry the exception, the status does."""
        if run.verdict is not Verdict.UNKNOWN:
            return run
        words = (await self._masters.status(run.id)).words
        if _FETCH_FAILED.match(words):
            words += f" (the worker fetches {submissions.CLAIM_JAR} from the start gate at {self._gate_url})"
        return replace(run, message=f"{run.message}: {words}") if words else run

    async def kill(self, run: str) -> None:
        await self._masters.listing()  # the active Master, not the one that was active
        await self._masters.kill(run)

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        """Nothing outside: revoking the claim, which the engine writes into the resource, is the closing."""

    async def release(self, job: DurableJob, current: Current) -> None:
        """Nothing is held."""

    async def leftovers(self) -> tuple[Leftover, ...]:
        """None: a Master forgets by itself, and a driver does not say which resource it is of."""
        return ()

    async def discard(self, leftover: Leftover) -> None:
        """There is none."""

    async def aclose(self) -> None:
        await self._http.aclose()


def _judge(status: int, host: str, reply: Reply) -> Answer:
    if status == 200 and reply.action == "CreateSubmissionResponse":
        if reply.success:
            return Accepted(reply.submission)
        return Rejected("Rejected", f"Spark's Master refuses the submission: {reply.words}")
    # RestSubmissionServer: 400 malformed, 413 too large, 468 unknown protocol, each before anything is started.
    # Its 500 may hide an accepted driver (the Master's reply came too late).
    if status in (400, 413, 468) and reply.action == "ErrorResponse":
        return Rejected("Rejected", f"Spark's REST server refuses the submission: {reply.words}")
    return Unclear(f"{host} answered {status} with {reply.action[:40]}")


def _run(driver: str, claim: int | None, status: Reply) -> Run:
    state = status.driver_state or "UNKNOWN"
    message = ending(state, status.worker) if state in ("FAILED", "KILLED", "ERROR") else None
    return Run(id=driver, claim=claim, phase=phase(state), verdict=verdict(state), message=message)
