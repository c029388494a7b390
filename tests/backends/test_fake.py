"""The in-memory backend: what its parameters say happens, and its ledger tells the truth about it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from durablejob_api.backend import Guarantee, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.spec import DurableJobSpec
from durablejob_api.status import Current, Reservation
from durablejob_controller.backends.contract import (
    Accepted,
    Backend,
    Identity,
    Phase,
    Rejected,
    Run,
    Submission,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.fake import plugin, world
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import BackendUnavailable, InvalidBackend, InvalidWork
from tests.backends.spark_standalone.scripted_gate import Paths

REF = {"kind": "JobBackend", "name": "fake", "type": "Plugin"}
KEY = attempt_key("uid-1", 1)


def make(cluster: str | None = None, **parameters: str) -> Backend:
    spec = {"clusterID": cluster or uuid.uuid4().hex, "plugin": {"name": "fake", "parameters": parameters}}
    return plugin.make(JobBackendSpec.model_validate(spec), Surroundings("c", "", Paths()))


def job(**parameters: str) -> DurableJob:
    spec = DurableJobSpec.model_validate({"backendRef": REF, "plugin": {"parameters": parameters}})
    return DurableJob.model_validate({"metadata": {"name": "load", "uid": "uid-1"}, "spec": spec})


async def reserved(backend: Backend, work: DurableJob) -> Submission:
    offer = await backend.reserve(work, KEY)
    record: dict[str, Any] = {"backendUID": "b", "backendType": "Plugin", "clusterID": "c", "bodyHash": "h"}
    record |= {"at": "2026-01-01T00:00:00Z", "applicationID": offer.application_id, "incarnation": offer.incarnation}
    return Submission(work, Current(number=1, key=KEY, reservation=Reservation.model_validate(record)))


async def run_of(backend: Backend) -> Run:
    (run,) = (await backend.observe()).runs[KEY]
    return run


async def test_a_program_waits_runs_and_ends_as_its_parameters_say() -> None:
    backend = make(queueSeconds="0.1")
    submission = await reserved(backend, job(seconds="0.1", outcome="fail", exitCode="3", message="no data"))
    assert await backend.submit(submission) == Accepted(submission.reservation.application_id)
    assert (await run_of(backend)).phase is Phase.QUEUED
    await asyncio.sleep(0.12)
    assert (await run_of(backend)).phase is Phase.RUNNING
    await asyncio.sleep(0.12)
    run = await run_of(backend)
    assert (run.verdict, run.exit_code, run.message) == (Verdict.FAILED, 3, "no data")


@pytest.mark.parametrize(
    ("parameters", "verdict", "code"),
    [
        ({}, Verdict.SUCCEEDED, 0),
        ({"outcome": "succeed"}, Verdict.SUCCEEDED, 0),
        ({"outcome": "fail"}, Verdict.FAILED, 1),
    ],
)
async def test_an_outcome_has_its_usual_exit_code(parameters: dict[str, str], verdict: Verdict, code: int) -> None:
    backend = make()
    await backend.submit(await reserved(backend, job(seconds="0", **parameters)))
    run = await run_of(backend)
    assert (run.verdict, run.exit_code) == (verdict, code)


async def test_a_killed_program_ends_as_killed() -> None:
    backend = make()
    await backend.submit(await reserved(backend, job(seconds="600")))
    await backend.kill((await run_of(backend)).id)
    run = await run_of(backend)
    assert (run.verdict, run.exit_code) == (Verdict.KILLED, 137)


async def test_two_backends_of_one_cluster_see_the_same() -> None:
    name = uuid.uuid4().hex
    one, two, other = make(name), make(name), make()
    await one.submit(await reserved(one, job()))
    assert (await run_of(two)).id == (await run_of(one)).id
    assert (await other.observe()).runs == {}
    assert len(world(name).ledger) == 1
    await one.aclose()
    assert (await run_of(two)).active


async def test_every_other_submission_is_dropped_when_that_is_asked_for() -> None:
    name = uuid.uuid4().hex
    backend = make(name, fault="dropped")
    submission = await reserved(backend, job())
    assert isinstance(await backend.submit(submission), Unclear)
    assert world(name).ledger == []
    assert isinstance(await backend.submit(submission), Accepted)
    assert len(world(name).ledger) == 1


async def test_other_faults_do_what_their_names_say() -> None:
    backend = make(fault="reject")
    assert isinstance(await backend.submit(await reserved(backend, job())), Rejected)
    backend = make(fault="unclear")
    assert isinstance(await backend.submit(await reserved(backend, job())), Unclear)
    assert (await run_of(backend)).active
    backend = make(fault="unavailable")
    for call in (backend.probe(), backend.observe(), backend.look_up(KEY, None), backend.kill("x")):
        with pytest.raises(BackendUnavailable):
            await call


async def test_what_was_closed_is_seen_closed() -> None:
    backend = make()
    submission = await reserved(backend, job())
    assert not (await backend.look_up(KEY, submission.current)).closed
    await backend.close(submission.job, submission.current)
    assert (await backend.look_up(KEY, submission.current)).closed


async def test_it_says_that_it_forgets() -> None:
    backend = make()
    probe = await backend.probe()
    assert probe.guarantee is Guarantee.EXACT
    submission = await reserved(backend, job())
    assert (await backend.look_up(KEY, submission.current)).remembers
    reservation = submission.reservation.model_copy(update={"incarnation": "an earlier life"})
    earlier = submission.current.model_copy(update={"reservation": reservation})
    assert not (await backend.look_up(KEY, earlier)).remembers
    assert (backend.traits.identity, backend.traits.gated) == (Identity.RESERVED_ID, False)
    assert probe.incarnation == (await backend.observe()).incarnation


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"second": "1"}, "plugin.parameters.second"),
        ({"seconds": "soon"}, "plugin.parameters.seconds"),
        ({"seconds": "-1"}, "plugin.parameters.seconds"),
        ({"seconds": "nan"}, "plugin.parameters.seconds"),
        ({"exitCode": "x"}, "plugin.parameters.exitCode"),
        ({"outcome": "explode"}, "plugin.parameters.outcome"),
    ],
)
def test_work_that_it_does_not_know_is_refused_with_the_field(parameters: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidWork) as caught:
        make().validate(job(**parameters))
    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", field)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"fault": "flood"}, r"spec\.plugin\.parameters\.fault: must be one of none, .* not 'flood'"),
        ({"faults": "none"}, r"spec\.plugin\.parameters\.faults: unknown; there is fault, queueSeconds"),
        ({"queueSeconds": "long"}, r"spec\.plugin\.parameters\.queueSeconds: must be a number from 0"),
    ],
)
def test_a_backend_with_wrong_parameters_is_refused_with_the_field(parameters: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidBackend, match=words):
        make(**parameters)


def test_it_has_no_fence_and_says_so() -> None:
    spec = JobBackendSpec.model_validate({"plugin": {"name": "fake"}, "fence": {"mode": "Gate"}})
    with pytest.raises(InvalidBackend, match=r"spec\.fence: .*leave it out"):
        plugin.make(spec, Surroundings("c", "", Paths()))


def test_it_serves_no_files() -> None:
    assert plugin.artifact("claim.jar", KEY, 1) is None
