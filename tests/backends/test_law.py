"""The law of ``backends/contract.py``, held against every registered backend."""

from __future__ import annotations

import asyncio
from importlib.metadata import entry_points

import pytest

from durablejob_api.backend import Guarantee
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_controller.backends.contract import (
    Accepted,
    Deferred,
    Identity,
    Offer,
    Phase,
    Rejected,
    Run,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.registry import ENTRY_POINTS, Registry
from durablejob_controller.errors import BackendError, BackendUnavailable, InvalidWork
from tests.backends.faulty_server import KINDS, faulty
from tests.backends.law import BEHAVIOURS, LAWS, Case, verbs

REGISTERED = sorted({point.name for point in entry_points(group=ENTRY_POINTS)})
every_backend = pytest.mark.parametrize("name", sorted(LAWS))


def test_every_registered_backend_is_held_to_the_law() -> None:
    assert sorted({name.partition("/")[0] for name in LAWS}) == REGISTERED
    Registry.installed()


async def runs(case: Case, job: DurableJob) -> tuple[Run, ...]:
    found = (await case.backend.observe()).runs.get(attempt_key(job.metadata.uid, 1), ())
    assert all(run.expires is None or run.phase is Phase.QUEUED for run in found)  # what has begun is not given up
    return found


def begun(found: tuple[Run, ...]) -> bool:
    """Something else than an inert object is there."""
    return any(run.phase is not Phase.INERT for run in found)


def ended(found: tuple[Run, ...]) -> bool:
    return bool(found) and all(run.phase is Phase.ENDED for run in found)


# --- reserve -------------------------------------------------------------------------------------------


@every_backend
async def test_reserving_has_no_effect_however_often(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        key = attempt_key(job.metadata.uid, 1)
        for _ in range(3):
            offer = await case.backend.reserve(job, key)
            assert isinstance(offer, Offer)
            assert offer.body_hash in ("", case.backend.body_hash(job, key))
        assert not begun(await runs(case, job))
        assert case.starts(job) == 0


@every_backend
async def test_what_finds_no_room_is_told_so_holds_nothing_and_is_set_aside_when_there_is(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        key = attempt_key(job.metadata.uid, 1)
        if not case.fill(True):
            return
        for _ in range(2):
            answer = await case.backend.reserve(job, key)
            assert isinstance(answer, Deferred)
            assert answer.reason.isalnum()
            assert answer.message
            assert await runs(case, job) == ()
            assert (await case.backend.look_up(key, None)).runs == ()
        case.fill(False)
        assert isinstance(await case.backend.reserve(job, key), Offer)
        assert case.starts(job) == 0


@every_backend
async def test_what_was_set_aside_before_is_offered_again_where_there_is_no_more_room(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        key = attempt_key(job.metadata.uid, 1)
        offer = await case.backend.reserve(job, key)
        if not case.fill(True):
            return
        assert await case.backend.reserve(job, key) == offer
        assert not begun(await runs(case, job))


# --- submit --------------------------------------------------------------------------------------------


@every_backend
async def test_a_submission_that_is_repeated_and_doubled_starts_one_program(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        submission = await case.reserved(job)
        assert isinstance(await case.backend.submit(submission), Accepted)
        await asyncio.gather(*(case.backend.submit(submission) for _ in range(5)))
        assert case.starts(job) == 1


@every_backend
async def test_a_submission_that_arrives_after_the_end_starts_nothing(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        submission = await case.reserved(job)
        await case.backend.submit(submission)
        await case.finish(job)
        await case.backend.submit(submission)
        await case.finish(job)
        case.forget()
        await case.backend.submit(submission)
        assert case.starts(job) == 1


@every_backend
async def test_a_lost_answer_is_unclear_and_looking_finds_what_it_started(name: str) -> None:
    async with LAWS[name].opened("unclear") as case:
        job = case.job()
        submission = await case.reserved(job)
        assert isinstance(await case.backend.submit(submission), Unclear)
        assert any(run.active for run in await runs(case, job))
        await case.backend.submit(submission)
        assert case.starts(job) == 1


@every_backend
async def test_a_definite_refusal_has_started_nothing_and_says_why(name: str) -> None:
    async with LAWS[name].opened("reject") as case:
        job = case.job()
        answer = await case.backend.submit(await case.reserved(job))
        assert isinstance(answer, Rejected)
        assert answer.reason.isalnum()
        assert answer.message
        assert not begun(await runs(case, job))
        assert case.starts(job) == 0


# --- observe and look_up -------------------------------------------------------------------------------


@every_backend
async def test_one_look_shows_every_job_under_its_own_key(name: str) -> None:
    async with LAWS[name].opened() as case:
        jobs = [case.job(f"job-{number}") for number in range(5)]
        for job in jobs:
            await case.backend.submit(await case.reserved(job))
        snapshot = await case.backend.observe()
        assert set(snapshot.runs) == {attempt_key(job.metadata.uid, 1) for job in jobs}
        assert all(len(found) == 1 and found[0].active for found in snapshot.runs.values())
        assert snapshot.incarnation
        await case.finish(jobs[0])
        assert ended(await runs(case, jobs[0]))


@every_backend
async def test_looking_one_up_agrees_with_looking_at_all(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        submission = await case.reserved(job)
        key = submission.current.key
        assert not begun((await case.backend.look_up(key, submission.current)).runs)
        await case.backend.submit(submission)
        sighting = await case.backend.look_up(key, submission.current)
        assert [run.id for run in sighting.runs] == [run.id for run in await runs(case, job)]
        assert sighting.incarnation == (await case.backend.observe()).incarnation
        assert (await case.backend.look_up(attempt_key("nobody", 1), None)).runs == ()


@every_backend
async def test_an_absence_counts_only_in_a_life_that_knows_what_the_reservations_own_has_accepted(name: str) -> None:
    async with LAWS[name].opened() as case:
        if case.backend.traits.identity is not Identity.RESERVED_ID:
            return  # a claim is revoked before the next; an object is there, or is not
        submission = await case.reserved(case.job())
        current = submission.current
        assert (await case.backend.look_up(current.key, current)).remembers
        reservation = submission.reservation.model_copy(update={"incarnation": "a life that kept nothing"})
        earlier = current.model_copy(update={"reservation": reservation})
        assert not (await case.backend.look_up(current.key, earlier)).remembers
        assert not (await case.backend.look_up(current.key, None)).remembers


# --- kill, close, release ------------------------------------------------------------------------------


@every_backend
async def test_a_kill_ends_the_run_that_it_names_and_may_be_repeated(name: str) -> None:
    async with LAWS[name].opened() as case:
        job, other = case.job(), case.job("other")
        for each in (job, other):
            await case.backend.submit(await case.reserved(each))
        (run,) = await runs(case, job)
        for _ in range(3):
            await case.backend.kill(run.id)
        (found,) = await runs(case, job)
        # Who deleted an object, it does not say: that is for the engine to know.
        deletes = case.backend.traits.identity is Identity.OBJECT
        assert found.verdict is (Verdict.DELETED if deletes else Verdict.KILLED)
        assert all(found.active for found in await runs(case, other))
        await case.backend.kill("nobody-0001")


@every_backend
async def test_what_can_never_begin_says_why_and_until_when_it_may_and_starts_nothing_once_it_is_killed(
    name: str,
) -> None:
    async with LAWS[name].opened() as case:
        if not case.hinder():
            return
        job = case.job()
        submission = await case.reserved(job)
        await case.backend.submit(submission)
        (run,) = await runs(case, job)
        assert run.phase is Phase.QUEUED
        assert run.reason is not None
        assert run.message
        assert run.expires is not None
        assert run.expires.tzinfo is not None
        await case.backend.kill(run.id)
        assert ended(await runs(case, job))
        await case.backend.submit(submission)
        assert ended(await runs(case, job))
        assert case.starts(job) == 0


@every_backend
async def test_a_run_that_had_ended_before_the_kill_keeps_its_own_end(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        await case.backend.submit(await case.reserved(job))
        await case.finish(job)
        (run,) = await runs(case, job)
        await case.backend.kill(run.id)
        assert [found.verdict for found in await runs(case, job)] == [Verdict.SUCCEEDED]


@every_backend
async def test_after_the_close_no_run_begins_however_late_a_submission_comes(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        submission = await case.reserved(job)
        for _ in range(2):
            await case.shut(job, submission.current)
        await case.backend.submit(submission)
        await case.backend.submit(submission)
        assert case.starts(job) == 0
        assert not any(run.active for run in await runs(case, job))


@every_backend
async def test_which_run_was_seen_is_known_from_the_close_on(name: str) -> None:
    async with LAWS[name].opened() as case:
        if case.backend.traits.identity is not Identity.RESERVED_ID:
            return
        job = case.job()
        submission = await case.reserved(job)
        key, current = submission.current.key, submission.current
        for seen, told in ((None, None), ("77", "77"), (None, "77"), ("78", "77")):
            await case.backend.close(job, current, seen=seen)
            found = await case.backend.look_up(key, current)
            assert (found.closed, found.seen) == (True, told)
        other = await case.reserved(case.job("other"))
        await case.backend.close(other.job, other.current, seen="77")
        found = await case.backend.look_up(other.current.key, other.current)
        assert (found.closed, found.seen) == (True, "77")


@every_backend
async def test_letting_go_may_be_repeated(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        submission = await case.reserved(job)
        await case.backend.submit(submission)
        await case.finish(job)
        for _ in range(2):
            await case.backend.release(job, submission.current)
        assert case.starts(job) == 1


# --- what it is ----------------------------------------------------------------------------------------


@every_backend
async def test_a_probe_says_what_is_guaranteed_before_the_first_job(name: str) -> None:
    async with LAWS[name].opened() as case:
        probe = await case.backend.probe()
        assert probe.ready
        assert probe.guarantee in (Guarantee.EXACT, Guarantee.CONDITIONAL)
        assert probe.message
        assert case.backend.cluster_id


@every_backend
async def test_work_of_another_kind_is_refused_with_the_field(name: str) -> None:
    async with LAWS[name].opened() as case:
        job = case.job()
        case.backend.validate(job)
        nothing = {"spark": None, "kubernetes_job": None, "yarn": None, "plugin": None}
        other = job.model_copy(update={"spec": job.spec.model_copy(update=nothing)})
        with pytest.raises(InvalidWork) as caught:
            case.backend.validate(other)
        assert caught.value.reason == "WrongWork"
        assert caught.value.field


@every_backend
async def test_the_hash_is_the_works_own(name: str) -> None:
    async with LAWS[name].opened() as case:
        job, other = case.job(), case.job(message="other")
        key = attempt_key(job.metadata.uid, 1)
        assert case.backend.body_hash(job, key) == case.backend.body_hash(case.job(), key)
        assert case.backend.body_hash(job, key) != case.backend.body_hash(other, key)
        assert 0 < len(case.backend.body_hash(job, key)) <= 128


# --- errors --------------------------------------------------------------------------------------------


@every_backend
async def test_a_system_that_is_away_says_nothing_about_anything(name: str) -> None:
    async with LAWS[name].opened("well") as well, LAWS[name].opened("unavailable") as case:
        submission = await well.reserved(well.job())
        called = verbs(submission, case.backend)
        found = dict(zip(called, await asyncio.gather(*called.values(), return_exceptions=True), strict=True))
        for verb in ("observe", "look_up"):
            assert isinstance(found[verb], BackendUnavailable), verb
        assert not isinstance(found["submit"], (Accepted, Rejected))
        for verb, answer in found.items():
            assert not isinstance(answer, Exception) or isinstance(answer, BackendError), verb


@pytest.mark.parametrize("kind", KINDS)
@every_backend
async def test_no_wrong_answer_is_taken_for_an_answer(name: str, kind: str) -> None:
    async with LAWS[name].opened() as well, faulty(kind) as server, LAWS[name].pointed_at(server.url) as backend:
        if backend is None:
            return  # speaks no HTTP
        submission = await well.reserved(well.job())
        called = verbs(submission, backend)
        async with asyncio.timeout(30):
            found = dict(zip(called, await asyncio.gather(*called.values(), return_exceptions=True), strict=True))
    for verb in ("observe", "look_up"):
        assert isinstance(found[verb], BackendUnavailable), (verb, found[verb])
    assert isinstance(found["submit"], (Unclear, BackendUnavailable)), found["submit"]
    assert not getattr(found["probe"], "ready", False)
    for verb, answer in found.items():
        assert not isinstance(answer, BaseException) or isinstance(answer, BackendError), (verb, answer)
        assert "secret words" not in str(answer), verb
        assert "hush" not in str(answer), verb
    assert server.lured == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://127.0.0.1:0", "http://xn--", "http://[::1", "http://nobody.invalid"]
)
@every_backend
async def test_an_endpoint_that_is_none_is_an_error_of_ours(name: str, url: str) -> None:
    async with LAWS[name].opened() as well, LAWS[name].pointed_at(url) as backend:
        if backend is None:
            return
        submission = await well.reserved(well.job())
        for verb, call in verbs(submission, backend).items():
            try:
                answer = await call
            except BackendError:
                continue
            assert verb in ("submit", "close", "release", "leftovers", "discard", "probe"), (verb, answer)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@every_backend
async def test_a_closed_backend_raises_errors_of_ours_only(name: str, behaviour: str) -> None:
    async with LAWS[name].opened("well") as well, LAWS[name].opened(behaviour) as case:
        submission = await well.reserved(well.job())
        await case.backend.aclose()
        called = verbs(submission, case.backend)
        for answer in await asyncio.gather(*called.values(), return_exceptions=True):
            assert not isinstance(answer, BaseException) or isinstance(answer, BackendError), answer
