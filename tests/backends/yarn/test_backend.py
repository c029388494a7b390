"""The backend against the stand-in: what is reserved, what is sent and when, and what an absence means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from durablejob_api.backend import Guarantee
from durablejob_api.job import DurableJob
from durablejob_api.status import Claim, Outcome
from durablejob_controller.backends.contract import (
    Accepted,
    Backend,
    Offer,
    Phase,
    Rejected,
    Sighting,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.backends.yarn import plugin
from durablejob_controller.errors import BackendUnavailable, InvalidBackend
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.backends.yarn import works
from tests.backends.yarn.scripted_yarn import STORES, ScriptedYarn

SURROUNDINGS = Surroundings("Cluster-UID", "http://gate:1", Paths(), timeout=10.0)


@asynccontextmanager
async def opened(**spec: Any) -> AsyncIterator[tuple[Backend, ScriptedYarn]]:
    async with works.serving(ScriptedYarn()) as cluster:
        backend = plugin.make(works.backend(cluster.url, **spec), SURROUNDINGS)
        try:
            await backend.probe()
            yield backend, cluster
        finally:
            await backend.aclose()


def _kept(cluster: ScriptedYarn) -> bytes:
    """The one submission that is kept in the staging area."""
    (kept,) = [file for path, file in cluster.files.items() if path.endswith(".json") and file]
    return kept.content


def entries(body: dict[str, Any], what: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in body["am-container-spec"][what]["entry"]}


# --- reserve -------------------------------------------------------------------------------------------


async def test_all_that_is_localized_is_written_before_the_reservation_is_known_and_nothing_after() -> None:
    async with opened() as (backend, cluster):
        job = works.job(**works.JAR)
        submission = await works.reserve(job, backend)
        written = dict(cluster.files)
        cluster.calls.clear()
        assert isinstance(await backend.submit(submission), Accepted)
        assert cluster.files == written
        assert not [call for call in cluster.calls if call.startswith(("PUT CREATE", "PUT MKDIRS", "PUT /data"))]
        assert cluster.starts(works.key(job)) == 1


async def test_two_reservations_of_one_attempt_share_nothing() -> None:
    async with opened() as (backend, _):
        offers = [await backend.reserve(works.job(), works.key(works.job())) for _ in range(2)]
        ids = {offer.application_id for offer in offers if isinstance(offer, Offer)}
        folders = {(offer.staging or "").rsplit("/", 2)[1] for offer in offers if isinstance(offer, Offer)}
        assert (len(ids), len(folders)) == (2, 2)


async def test_a_file_that_is_missing_is_refused_by_its_field_before_anything_is_submitted() -> None:
    async with opened() as (backend, _):
        job = works.job(spark={**works.JAR["spark"], "jars": ["hdfs://nn:8020/apps/absent.jar"]})
        answer = await backend.reserve(job, works.key(job))
        words = "spec.spark.jars[0]: hdfs://nn:8020/apps/absent.jar does not exist"
        assert answer == Rejected("FileNotFound", words)


async def test_a_name_that_hdfs_does_not_take_is_refused_by_its_field() -> None:
    async with opened() as (backend, _):
        job = works.job(spark={**works.JAR["spark"], "jars": ["hdfs://nn:8020/apps/a:b.jar"]})
        answer = await backend.reserve(job, works.key(job))
        assert isinstance(answer, Rejected)
        assert answer.reason == "InvalidSpec"
        assert "spec.spark.jars[0]: hdfs://nn:8020/apps/a:b.jar: " in answer.message


@pytest.mark.parametrize(
    ("own", "missing"),
    [
        ({"archive": "hdfs://nn:8020/spark/later.zip"}, "backend.yarn.spark.archive: .* does not exist"),
        ({"jars": "hdfs://nn:8020/spark/later"}, "backend.yarn.spark.jars: "),
        ({**works.SPARK, "pythonLibs": ["hdfs://nn:8020/spark/later.zip"]}, r"backend.yarn.spark.pythonLibs\[0\]: "),
    ],
)
async def test_what_the_backend_itself_lacks_is_waited_for_and_fails_no_job(own: Any, missing: str) -> None:
    async with opened(yarn={"spark": {"version": "4.3.0", **own}}) as (backend, cluster):
        job = works.job(**works.PYTHON)
        with pytest.raises(BackendUnavailable, match=missing):
            await backend.reserve(job, works.key(job))
        for path in ("/spark/later.zip", "/spark/later/a.jar"):
            cluster.put(path, b"")
        assert isinstance(await backend.reserve(job, works.key(job)), Offer)


@pytest.mark.parametrize("call", ["PUT CREATE", "PUT /data"])
async def test_a_reservation_that_comes_to_nothing_leaves_no_folder(call: str) -> None:
    async with opened() as (backend, cluster):
        job = works.job()
        cluster.fails = call
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                await backend.reserve(job, works.key(job))
        left = [path for path in cluster.files if path.startswith(f"/staging/{works.key(job)}/") and "/of~" not in path]
        assert left == []


async def test_a_folder_of_jars_on_hdfs_is_localized_jar_by_jar() -> None:
    folder = {"spark": {"version": "4.3.0", "jars": "hdfs://nn:8020/spark/jars"}}
    async with opened(yarn=folder) as (backend, cluster):
        for name in ("a.jar", "b.jar", "README"):
            cluster.put(f"/spark/jars/{name}", b"")
        await backend.submit(await works.reserve(works.job(**works.JAR), backend))
        files = entries(cluster.runs[0].body, "local-resources")
        assert {name for name in files if name.startswith("__spark_libs__")} == {
            "__spark_libs__/a.jar", "__spark_libs__/b.jar",
        }  # fmt: skip
        assert files["__spark_libs__/a.jar"]["visibility"] == "PUBLIC"
        assert files["__spark_libs__/a.jar"]["resource"] == "hdfs://nn:8020/spark/jars/a.jar"
        assert cluster.runs[0].program


async def test_a_secret_is_sent_and_never_lies_in_the_staging_area() -> None:
    async with opened() as (backend, cluster):
        ref = {"secretKeyRef": {"name": "s", "key": "k"}}
        env = [{"name": "PASSWORD", "valueFrom": ref}, {"name": "PLAIN", "value": "a $b"}]
        job = works.job(spark={**works.JAR["spark"], "env": env})
        submission = await works.reserve(job, backend, {("s", "k"): "hush `x`"})
        await backend.submit(submission)
        assert not any(file and b"hush" in file.content for file in cluster.files.values())
        sent = entries(cluster.runs[0].body, "environment")
        assert (sent["PASSWORD"], sent["PLAIN"]) == ("hush \\`x\\`", "a \\$b")


# --- submit --------------------------------------------------------------------------------------------


async def test_what_was_reserved_is_sent_also_by_another_process_and_after_the_files_have_changed() -> None:
    async with opened() as (backend, cluster):
        job = works.job(**works.JAR)
        submission = await works.reserve(job, backend)
        kept = cluster.files["/apps/etl.jar"]
        assert kept is not None
        cluster.put("/apps/etl.jar", b"another version")
        heir = plugin.make(works.backend(cluster.url), SURROUNDINGS)
        await heir.submit(submission)
        await heir.aclose()
        sent = entries(cluster.runs[0].body, "local-resources")["__app__.jar"]
        assert (sent["size"], sent["timestamp"]) == (len(kept.content), kept.modified)
        assert cluster.starts(works.key(job)) == 0  # and YARN itself refuses the other version


async def test_a_submission_that_was_tampered_with_is_not_sent() -> None:
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        path = next(path for path in cluster.files if path.endswith(".json"))
        cluster.put(path, b"{}")
        with pytest.raises(BackendUnavailable, match="not the one that was recorded"):
            await backend.submit(submission)
        assert cluster.runs == []


async def test_nothing_is_posted_while_the_resource_manager_recovers() -> None:
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        cluster.ha_state = "INITIALIZING"
        with pytest.raises(BackendUnavailable, match="INITIALIZING"):
            await backend.submit(submission)
        with pytest.raises(BackendUnavailable, match="INITIALIZING"):
            await backend.look_up(submission.current.key, submission.current)
        assert cluster.runs == []


async def test_a_post_goes_over_the_connection_that_said_active_or_not_at_all() -> None:
    """The stand-in hangs up after it has said that it knows no such application, as one that restarts does."""
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        cluster.hang_up_after = "GET /ws/v1/cluster/apps/"
        with pytest.raises(BackendUnavailable, match="nothing was sent"):
            await backend.submit(submission)
        assert cluster.runs == []
        cluster.hang_up_after = None
        assert isinstance(await backend.submit(submission), Accepted)


async def test_an_id_of_an_earlier_life_is_not_submitted_to_one_without_memory() -> None:
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        cluster.restart(recovery=False)
        answer = await backend.submit(submission)
        assert isinstance(answer, Unclear)
        assert cluster.runs == []


@pytest.mark.parametrize(
    ("before", "after", "remembers"),
    [(True, True, True), (True, False, False), (False, False, False), (False, True, False)],
)
async def test_whether_an_absence_counts_is_told_by_both_lives_and_by_no_probe(
    before: bool, after: bool, remembers: bool
) -> None:
    """Recovery that is on by now does not bring back what a life without it had accepted."""
    async with opened() as (backend, cluster):
        cluster.restart(recovery=before)
        job = works.job()
        submission = await works.reserve(job, backend)
        cluster.accept(json.loads(_kept(cluster)))  # by a POST whose answer nobody saw
        cluster.finish(works.key(job))
        assert (await backend.look_up(works.key(job), submission.current)).remembers
        cluster.restart(recovery=after, kept=remembers)
        heir = plugin.make(works.backend(cluster.url), SURROUNDINGS)  # a new process, which has probed nothing
        found = await heir.look_up(works.key(job), submission.current)
        assert (found.remembers, bool(found.runs)) == (remembers, remembers)
        await heir.submit(submission)
        await heir.aclose()
        assert cluster.starts(works.key(job)) == 1


async def test_a_probe_that_failed_takes_no_memory_away() -> None:
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        cluster.ha_state = "INITIALIZING"
        assert not (await backend.probe()).ready
        cluster.restart(recovery=True)
        cluster.ha_state = "ACTIVE"
        assert (await backend.look_up(submission.current.key, submission.current)).remembers


async def test_another_store_knows_nothing_of_what_the_first_has_kept() -> None:
    async with opened() as (backend, cluster):
        submission = await works.reserve(works.job(), backend)
        cluster.restart(recovery=True)
        cluster.store = cluster.store.replace("ZK", "FileSystem")
        assert not (await backend.look_up(submission.current.key, submission.current)).remembers


async def test_an_application_under_our_id_that_is_not_ours_is_neither_adopted_nor_taken_for_nothing() -> None:
    for forged in ({"user": "mallory"}, {"tag": "durablejob-somebodyelse"}):
        async with opened() as (backend, cluster):
            job = works.job()
            submission = await works.reserve(job, backend)
            body = json.loads(_kept(cluster))
            if "tag" in forged:
                body["application-tags"]["tag"] = [forged["tag"]]
            cluster.accept(body)
            cluster.runs[0].user = forged.get("user", "etl")
            answer = await backend.submit(submission)
            assert isinstance(answer, Unclear)
            assert "not the one reserved" in answer.message
            found = await backend.look_up(works.key(job), submission.current)
            assert [(run.id, run.foreign) for run in found.runs] == [(submission.reservation.application_id, True)]
            assert (await backend.observe()).runs == {}
            assert (await backend.look_up(works.key(job), None)).runs == ()


async def test_after_the_close_a_post_that_was_on_its_way_starts_nothing_even_when_all_was_forgotten() -> None:
    async with opened() as (backend, cluster):
        job = works.job()
        submission = await works.reserve(job, backend)
        await backend.submit(submission)
        late = cluster.runs[0].body
        cluster.finish(works.key(job))
        await backend.close(job, submission.current)
        cluster.forget()
        cluster.accept(late)
        assert cluster.starts(works.key(job)) == 1
        sighting = await backend.look_up(works.key(job), submission.current)
        assert [run.verdict for run in sighting.runs] == [Verdict.REFUSED]
        assert sighting.closed


# --- observe and look_up -------------------------------------------------------------------------------


async def test_a_round_is_one_call_however_many_jobs_there_are() -> None:
    async with opened() as (backend, cluster):
        for number in range(20):
            await backend.submit(await works.reserve(works.job(f"job-{number}"), backend))
        await backend.observe()
        cluster.calls.clear()
        for _ in range(3):
            snapshot = await backend.observe()
        assert cluster.calls == ["GET /ws/v1/cluster/apps"] * 3
        assert len(snapshot.runs) == 20


async def test_what_has_left_the_list_is_asked_for_by_its_id_once_and_nothing_else_is() -> None:
    async with opened() as (backend, cluster):
        jobs = [works.job(f"job-{number}") for number in range(5)]
        for job in jobs:
            await backend.submit(await works.reserve(job, backend))
        await backend.observe()
        for job in jobs[:2]:
            cluster.finish(works.key(job))
        cluster.calls.clear()
        snapshot = await backend.observe()
        single = [call for call in cluster.calls if "/apps/application" in call]
        assert len(single) == 2
        assert [run.phase for job in jobs for run in snapshot.runs[works.key(job)]].count(Phase.ENDED) == 2
        cluster.calls.clear()
        assert (await backend.observe()).runs == snapshot.runs
        assert cluster.calls == ["GET /ws/v1/cluster/apps"]


async def test_who_has_just_begun_to_watch_lists_what_a_look_up_has_found_ended() -> None:
    """Else each batch of the next leader contradicts each look-up, and nothing is ever concluded from either."""
    async with opened() as (before, cluster):
        job = works.job()
        submission = await works.reserve(job, before)
        await before.submit(submission)
        heir = plugin.make(works.backend(cluster.url), SURROUNDINGS)
        cluster.finish(works.key(job))
        assert works.key(job) not in (await heir.observe()).runs
        exact = await heir.look_up(works.key(job), submission.current)
        assert [run.phase for run in exact.runs] == [Phase.ENDED]
        assert (await heir.observe()).runs[works.key(job)] == exact.runs
        await heir.aclose()


async def test_one_application_that_cannot_be_read_hides_none_of_the_others() -> None:
    async with opened() as (backend, cluster):
        odd, other = works.job("odd"), works.job("other")
        submission = await works.reserve(odd, backend)
        for submitted in (submission, await works.reserve(other, backend)):
            await backend.submit(submitted)
        await backend.observe()
        (app,) = [app for app in cluster.runs if app.key == works.key(odd)]
        for state in ("RUNNING", "FINISHED"):  # in the list, and asked for by itself
            app.state, app.final = state, None  # type: ignore[assignment]
            assert list((await backend.observe()).runs) == [works.key(other)]
            with pytest.raises(BackendUnavailable, match="not as a ResourceManager does"):
                await backend.look_up(works.key(odd), submission.current)
        with pytest.raises(BackendUnavailable):  # before it is reserved, each counts
            await backend.look_up(works.key(odd), None)


async def test_a_list_that_is_made_while_it_recovers_ends_nothing() -> None:
    async with opened() as (backend, cluster):
        await backend.submit(await works.reserve(works.job(), backend))
        await backend.observe()
        known, cluster.known = cluster.known, {}
        cluster.ha_state = "INITIALIZING"
        with pytest.raises(BackendUnavailable):
            await backend.observe()
        cluster.known, cluster.ha_state = known, "ACTIVE"
        assert [run.phase for runs in (await backend.observe()).runs.values() for run in runs] == [Phase.RUNNING]


async def test_without_a_reservation_all_that_carry_the_key_are_found_also_what_has_ended() -> None:
    async with opened() as (backend, cluster):
        job = works.job()
        await backend.submit(await works.reserve(job, backend))
        cluster.finish(works.key(job))
        found = await backend.look_up(works.key(job), None)
        assert [run.verdict for run in found.runs] == [Verdict.SUCCEEDED]


async def test_the_fence_is_told_there_closed_gone_or_swept() -> None:
    async with opened() as (backend, cluster):
        job, clean = works.job(), works.job("clean")
        submission, other = await works.reserve(job, backend), await works.reserve(clean, backend)

        async def fence(of: Any) -> tuple[bool, bool, bool]:
            found = await backend.look_up(of.current.key, of.current)
            return found.closed, found.ended_cleanly, found.held

        assert await fence(submission) == (False, False, True)
        for _ in range(2):
            await backend.close(job, submission.current)
            assert await fence(submission) == (True, False, True)
        folder = (other.reservation.staging or "").rsplit("/", 2)[1]
        cluster.remove(f"/staging/{other.current.key}/{folder}")  # as Spark does at a clean end
        assert await fence(other) == (True, True, True)
        for each, of in ((job, submission), (clean, other)):
            for _ in range(2):
                await backend.release(each, of.current)
            assert await fence(of) == (True, True, False)


async def test_behind_the_gate_the_fence_is_looked_at_before_the_start_and_when_there_is_something_to_sweep() -> None:
    async with opened(gated=True) as (backend, cluster):
        job = works.job(**works.JAR)
        submission = await works.reserve(job, backend)

        async def look(state: str, outcome: Outcome | None = None) -> Sighting:
            claim = Claim.model_validate({"number": 1, "state": state})
            current = submission.current.model_copy(update={"claim": claim, "outcome": outcome})
            cluster.calls.clear()
            return await backend.look_up(current.key, current)

        assert not (await look("Open")).closed
        found = await look("Started")
        assert (found.closed, found.held) == (False, False)
        assert "GET GETFILESTATUS" not in cluster.calls
        assert (await look("Ended", Outcome.SUCCEEDED)).held
        folder = (submission.reservation.staging or "").rsplit("/", 2)[1]
        cluster.remove(f"/staging/{submission.current.key}/{folder}")
        found = await look("Open")
        assert (found.closed, found.ended_cleanly) == (True, True)  # and is not submitted for ever


async def test_what_a_gone_job_has_left_is_found_and_swept_unless_it_runs() -> None:
    async with opened() as (backend, cluster):
        ended, running = works.job("ended"), works.job("running")
        for job in (ended, running):
            await backend.submit(await works.reserve(job, backend))
        cluster.finish(works.key(ended))
        found = {leftover.id: leftover for leftover in await backend.leftovers()}
        assert set(found) == {works.key(ended), works.key(running)}
        assert [found[works.key(job)].runs for job in (ended, running)] == [False, True]
        one = found[works.key(ended)]
        assert (one.namespace, one.job, one.job_uid) == ("data", "ended", "uid-of-ended")
        for leftover in found.values():
            await backend.discard(leftover)
        assert [leftover.job for leftover in await backend.leftovers()] == ["running"]
        stranger = plugin.make(works.backend(cluster.url), replace(SURROUNDINGS, cluster_uid="another"))
        assert await stranger.leftovers() == ()  # another Kubernetes cluster's
        await stranger.aclose()


async def test_the_folders_of_many_are_read_side_by_side() -> None:
    async with opened() as (backend, cluster):
        jobs = [works.job(f"job-{number}") for number in range(40)]
        await asyncio.gather(*(works.reserve(job, backend) for job in jobs))
        cluster.delay = 0.1
        assert len(await backend.leftovers()) == 40
        assert cluster.most_at_once >= 8


async def test_a_folder_of_many_files_is_listed_whole() -> None:
    """Those of jobs that have ended stay for days: their list is longer than an ordinary answer."""
    async with opened(yarn={"spark": {"version": "4.3.0", "jars": "hdfs://nn:8020/spark/jars"}}) as (backend, cluster):
        for number in range(9000):
            cluster.put(f"/spark/jars/{number:05d}{'x' * 60}.jar", b"")
        assert isinstance(await backend.reserve(works.job(**works.JAR), "key"), Offer)


# --- a backend that is edited while jobs run -------------------------------------------------------------


async def test_a_fence_is_found_and_closed_where_it_was_put_although_the_staging_area_is_another_now() -> None:
    async with opened() as (before, cluster):
        job = works.job()
        submission = await works.reserve(job, before)
        elsewhere = {"dir": "hdfs://nn:8020/elsewhere", "webhdfs": works.webhdfs(cluster.url)}
        after = plugin.make(works.backend(cluster.url, yarn={"staging": elsewhere}), SURROUNDINGS)
        found = await after.look_up(works.key(job), submission.current)
        assert (found.closed, found.held) == (False, True)
        await after.close(job, submission.current)
        cluster.accept(json.loads(_kept(cluster)))  # a POST that was on its way
        assert cluster.starts(works.key(job)) == 0
        found = await after.look_up(works.key(job), submission.current)
        assert (found.closed, found.ended_cleanly) == (True, False)
        await after.release(job, submission.current)
        assert not any(works.key(job) in path for path in cluster.files)
        await after.aclose()


async def test_in_another_hdfs_no_fence_counts_as_closed() -> None:
    async with opened() as (before, cluster), works.serving(ScriptedYarn()) as other:
        job = works.job()
        submission = await works.reserve(job, before)
        staging = {"dir": "hdfs://nn:8020/staging", "webhdfs": works.webhdfs(other.url)}
        after = plugin.make(works.backend(cluster.url, yarn={"staging": staging}), SURROUNDINGS)
        assert (await after.probe()).ready
        for call in (after.look_up(works.key(job), submission.current), after.close(job, submission.current)):
            with pytest.raises(BackendUnavailable, match=r"yarn\.staging edited"):
                await call
        await after.aclose()
        assert not (await before.look_up(works.key(job), submission.current)).closed


async def test_what_has_no_claim_is_closed_by_its_files_also_when_the_backend_has_got_a_gate() -> None:
    async with opened() as (before, cluster):
        job = works.job(**works.JAR)
        submission = await works.reserve(job, before)
        after = plugin.make(works.backend(cluster.url, gated=True), SURROUNDINGS)
        assert not (await after.look_up(works.key(job), submission.current)).closed
        await after.close(job, submission.current)
        assert (await after.look_up(works.key(job), submission.current)).closed
        await after.aclose()


async def test_an_application_stays_ours_when_the_backends_user_is_another_now() -> None:
    async with opened() as (before, cluster):
        job = works.job()
        submission = await works.reserve(job, before)
        await before.submit(submission)
        after = plugin.make(works.backend(cluster.url, yarn={"user": "batch"}), SURROUNDINGS)
        found = await after.look_up(works.key(job), submission.current)
        assert [(run.active, run.foreign) for run in found.runs] == [(True, False)]
        assert (await after.observe()).runs[works.key(job)] == found.runs
        cluster.finish(works.key(job))
        assert [run.phase for run in (await after.observe()).runs[works.key(job)]] == [Phase.ENDED]
        await after.aclose()


@pytest.mark.parametrize("seen", [None, "1790000001000"])
async def test_a_folder_that_was_made_anew_after_the_close_takes_no_tombstone_away(seen: str | None) -> None:
    """By who still takes himself for the leader, for a reservation that is none."""
    async with opened() as (backend, _):
        job = works.job()
        submission = await works.reserve(job, backend)
        await backend.close(job, submission.current)
        await works.reserve(job, backend)
        for _ in range(2):
            await backend.close(job, submission.current, seen=seen)
        found = await backend.look_up(works.key(job), submission.current)
        assert (found.closed, found.seen, found.ended_cleanly) == (True, seen, False)


# --- what it is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "gated", "guarantee", "words"),
    [
        ("ZKRMStateStore", False, Guarantee.CONDITIONAL, "remembers 1000 ended applications"),
        ("ZKRMStateStore", False, Guarantee.CONDITIONAL, "over its own restart 500 (yarn.resourcemanager.state-store."),
        ("NullRMStateStore", False, Guarantee.NONE, "Recovery is off"),
        ("ZKRMStateStore", True, Guarantee.EXACT, "every driver reaches http://gate:1"),
        ("NullRMStateStore", True, Guarantee.EXACT, "Recovery is off"),
    ],
)
async def test_the_guarantee_follows_from_fence_and_recovery(
    store: str, gated: bool, guarantee: Guarantee, words: str
) -> None:
    async with opened(gated=gated) as (backend, cluster):
        cluster.store = f"org.apache.hadoop.yarn.server.resourcemanager.recovery.{store}"
        probe = await backend.probe()
        assert (probe.ready, probe.guarantee) == (True, guarantee)
        assert words in probe.message
        assert backend.traits.gated is gated


@pytest.mark.parametrize(("gated", "ready"), [(False, False), (True, True)])
async def test_several_resource_managers_without_recovery_are_not_ready_for_the_staging_fence(
    gated: bool, ready: bool
) -> None:
    """One that was active, and standby, and is active again, is the same process and has forgotten all."""
    async with works.serving(ScriptedYarn()) as cluster, works.serving(ScriptedYarn()) as standby:
        cluster.store, standby.ha_state = f"{STORES}.NullRMStateStore", "STANDBY"
        urls = [cluster.url, standby.url]
        backend = plugin.make(works.backend(cluster.url, gated=gated, yarn={"resourceManagers": urls}), SURROUNDINGS)
        found = await backend.probe()
        assert (found.ready, found.reason) == (ready, "Ready" if ready else "RecoveryIsOff")
        await backend.aclose()


async def test_a_backend_in_safe_mode_is_not_ready_where_its_folder_is_still_to_be_made() -> None:
    async with works.serving(ScriptedYarn()) as cluster:
        cluster.safe_mode = True
        backend = plugin.make(works.backend(cluster.url), SURROUNDINGS)
        probe = await backend.probe()
        await backend.aclose()
        assert (probe.ready, probe.reason) == (False, "HdfsUnavailable")
        assert "safe mode" in probe.message


async def test_of_two_name_nodes_the_active_one_is_found_and_its_refusal_is_final() -> None:
    async with works.serving(ScriptedYarn()) as cluster, works.serving(ScriptedYarn()) as standby:
        standby.standby = True
        nodes = [standby.url, "http://127.0.0.1:9", cluster.url]
        staging = {"dir": "hdfs://nn:8020/staging", "webhdfs": {"nameNodes": nodes, "dataNodes": [cluster.url]}}
        backend = plugin.make(works.backend(cluster.url, yarn={"staging": staging}), SURROUNDINGS)
        assert isinstance(await backend.submit(await works.reserve(works.job(), backend)), Accepted)
        asked = len(standby.calls)
        cluster.safe_mode = True
        with pytest.raises(BackendUnavailable, match="safe mode"):
            await backend.reserve(works.job("late"), works.key(works.job("late")))
        assert len(standby.calls) == asked
        await backend.aclose()


async def test_content_is_sent_to_no_host_that_is_not_listed() -> None:
    async with opened() as (backend, cluster):
        cluster.url = "http://elsewhere.invalid:9864"
        with pytest.raises(BackendUnavailable, match=r"not among yarn\.staging\.webhdfs\.dataNodes"):
            await backend.reserve(works.job(), works.key(works.job()))


def test_a_backend_without_data_nodes_is_refused() -> None:
    staging = {"dir": "hdfs://nn/staging", "webhdfs": {"nameNodes": ["http://nn:9870"]}}
    with pytest.raises(InvalidBackend, match="dataNodes"):
        plugin.make(works.backend(yarn={"staging": staging}), SURROUNDINGS)


async def test_many_submissions_at_once_have_a_connection_each() -> None:
    async with opened() as (backend, cluster):
        jobs = [works.job(f"job-{number}") for number in range(30)]

        async def run(job: DurableJob) -> None:
            assert isinstance(await backend.submit(await works.reserve(job, backend)), Accepted)

        await asyncio.gather(*map(run, jobs))
        assert [cluster.starts(works.key(job)) for job in jobs] == [1] * 30


async def test_the_kept_submission_is_exactly_what_is_sent() -> None:
    async with opened() as (backend, cluster):
        await backend.submit(await works.reserve(works.job(), backend))
        (kept,) = [file for path, file in cluster.files.items() if path.endswith(".json") and file]
        assert json.loads(kept.content) == cluster.runs[0].body
