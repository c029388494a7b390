"""What others write while the reconciler waits for an answer: it acts upon the version that it has decided upon."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from durablejob_controller import reconcile
from durablejob_controller.backends.contract import Identity, Phase, Rejected, Run, Submission, Traits, Unclear
from durablejob_controller.kube import JOBS, SECRETS, Object
from durablejob_controller.views import NoSite, Site
from tests.controller.stage import Stage, pause, staged

ENV = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]
SPARK = {"mainApplicationFile": "local:///a.py", "env": ENV}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pause(monkeypatch, lambda times, *_: 0.01 * 2 ** min(times, 5))


def with_secret(stage: Stage) -> None:
    """A job that needs a Secret."""
    stage.kube.add(SECRETS, {"metadata": {"name": "db", "namespace": "data"}, "data": {"password": "eA=="}})
    stage.job(spark=SPARK)


def cancels(stage: Stage) -> Callable[[], object]:
    return lambda: stage.kube.change(JOBS, "data", "load", spec={"cancel": {"attempt": 1, "cause": "User"}})


async def test_a_cancel_that_comes_while_a_secret_is_read_keeps_the_job_from_being_reserved() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        stage.kube.meanwhile["get", SECRETS.plural] = cancels(stage)
        with_secret(stage)
        await stage.work(lambda: stage.state() == "Cancelled")
        assert [raw["status"]["current"].get("reservation") for raw in stage.status_writes()] == [None]
        assert backend.submitted == []


async def test_a_cancel_that_comes_right_after_the_reserving_write_keeps_the_job_from_being_submitted() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()

        def reserved(_: str, raw: Object) -> None:
            if "reservation" in ((raw.get("status") or {}).get("current") or {}):
                stage.kube.watchers.remove(reserved)
                cancels(stage)()

        stage.job()
        stage.kube.watchers.append(reserved)
        await stage.work(lambda: stage.state() == "Cancelled")
        assert stage.status()["current"]["reservation"]
        assert backend.submitted == []


@pytest.mark.parametrize("call", [("get", SECRETS.plural), ("check", JOBS.plural)])
async def test_a_cancel_that_comes_before_a_submission_is_repeated_keeps_it_from_being(call: tuple[str, str]) -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.answer = Unclear("no complete answer")

        def sent(_: Submission) -> None:
            stage.kube.meanwhile[call] = cancels(stage)

        backend.on_submit = sent
        with_secret(stage)
        await stage.work(lambda: stage.state() == "Cancelled")
        assert len(backend.submitted) == 1


async def test_a_winner_that_the_gate_writes_while_a_secret_is_read_is_not_written_over() -> None:
    """The CRD would refuse the claim after it, and the job be parked."""
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.CLAIM, gated=True)

        def won() -> None:
            current = stage.status()["current"]
            claim = {"number": 1, "state": "Started", "nonce": "n", "driver": "d1"}
            stage.kube.change(JOBS, "data", "load", status={"current": {**current, "claim": claim}, "state": "Running"})

        def sent(_: Submission) -> None:
            stage.kube.meanwhile["get", SECRETS.plural] = won

        backend.on_submit = sent
        with_secret(stage)
        await stage.work(lambda: stage.state() == "Running")
        await stage.work(lambda: "look_up" in backend.done)
        claims = [raw["status"]["current"]["claim"] for raw in stage.status_writes()]
        assert {claim["number"] for claim in claims} == {1}
        assert len(backend.submitted) == 1


async def test_a_refusal_of_a_claim_that_was_replaced_meanwhile_is_not_the_end_of_the_next() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        backend.traits = Traits(Identity.CLAIM, gated=True)
        backend.answer = Rejected("NoSuchQueue", "there is no queue night")

        def sent(submission: Submission) -> None:
            backend.on_submit = lambda _: None
            claim = {"number": 2, "state": "Open"}
            current = {**stage.status()["current"], "claim": claim}
            stage.kube.change(JOBS, "data", "load", status={"current": current})
            backend.runs[submission.current.key] = (Run("d2", Phase.QUEUED, claim=2),)

        backend.on_submit = sent
        uid = stage.job()
        await stage.work(lambda: backend.submitted and stage.entry(uid).fresh)
        assert stage.state() == "Submitting"


async def test_what_is_decided_is_decided_about_the_version_that_the_site_was_found_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged() as stage:
        await stage.use_scripted()
        uid = stage.job()
        real, decided = reconcile.decide, []
        find = stage.sites.site

        async def site(entry: object) -> Site | NoSite:
            found = await find(stage.entry(uid))
            if not decided:
                stage.kube.change(JOBS, "data", "load", metadata={"annotations": {"a": "b"}})
            decided.append("site")
            return found

        def decide(*given: object) -> object:
            decided.append("decide")
            return real(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(stage.sites, "site", site)
        monkeypatch.setattr(reconcile, "decide", decide)
        await stage.work(lambda: "decide" in decided)
        assert decided[:3] == ["site", "site", "decide"]


async def test_what_was_set_aside_for_an_attempt_that_is_over_is_not_the_next_ones() -> None:
    async with staged() as stage:
        backend = await stage.use_scripted()
        uid = stage.job()
        reserve = backend.reserve

        async def slow(*given: object) -> object:
            offer = await reserve(*given)  # type: ignore[arg-type]
            current = {"number": 2, "key": "k" * 20}
            stage.kube.change(
                JOBS, "data", "load", spec={"attempt": 2}, status={"state": "Pending", "current": current}
            )
            return offer

        backend.reserve = slow  # type: ignore[method-assign,assignment]
        entry = stage.entry(uid)
        await stage.reconciler._external.reserve(entry)
        assert (entry.job.spec.attempt, entry.offer) == (2, None)
