"""One event per transition, for people; and no event ever holds up a job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durablejob_api.job import DurableJob
from durablejob_api.status import DurableJobStatus
from durablejob_controller.errors import Forbidden, KubernetesUnavailable, Refused
from durablejob_controller.events import EventRecorder, Transition, transition
from durablejob_controller.kube import EVENTS
from tests.controller.fake_kube import FakeKube, job_object
from tests.controller.stage import until

KEY = "k" * 20


def status(state: str, reason: str | None = None, attempt: int = 1, **more: Any) -> DurableJobStatus:
    current = {"number": attempt, "key": KEY, "reason": reason, "message": f"because {reason}"}
    return DurableJobStatus.model_validate({"state": state, "current": current, **more})


def job(name: str = "load") -> DurableJob:
    raw = job_object(name)
    raw["metadata"]["uid"] = "uid-1"
    return DurableJob.model_validate(raw)


@pytest.mark.parametrize(
    ("old", "new", "word", "warning"),
    [
        (None, status("Submitting", "Submitting"), "Submitting", False),
        (None, status("Pending", "Suspended"), "Suspended", False),
        (None, status("Pending", "BackendNotFound"), "BackendNotFound", True),
        (status("Submitting", "Submitting"), status("Submitting", "BackendUnreachable"), "BackendUnreachable", True),
        (status("Submitting", "Submitting"), status("Running", "Running"), "Running", False),
        (status("Running", "Running"), status("Succeeded", "Succeeded"), "Succeeded", False),
        (status("Running", "Running"), status("Failed", "ProgramFailed"), "ProgramFailed", True),
        (status("Running", "Running"), status("Lost", "Lost"), "Lost", True),
        (status("Running", "Running"), status("Cancelling", "Cancelling"), "Cancelling", False),
        (status("Failed", "Killed"), status("Pending", "NextAttempt", 2), "NextAttempt", False),
        (status("Running", None), status("Running", "Running"), "Running", False),
    ],
)
def test_a_transition_is_told_once(
    old: DurableJobStatus | None, new: DurableJobStatus, word: str, warning: bool
) -> None:
    found = transition(old, new)
    assert found is not None
    assert (found.reason, found.warning) == (word, warning)
    assert transition(new, new) is None


def test_what_changes_besides_state_and_reason_is_no_transition() -> None:
    assert transition(status("Running", "Running"), status("Running", "Running", trackingURL="http://x")) is None
    assert transition(None, DurableJobStatus()) is None


def test_an_event_says_which_attempt_and_which_external_job() -> None:
    found = transition(None, status("Running", "Running", 3, externalID="driver-7"))
    assert found is not None
    assert found.note == "attempt 3 as driver-7: because Running"


async def test_an_event_is_posted_about_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    recorder = EventRecorder(kube, "replica-1")
    posting = asyncio.create_task(recorder.run())
    recorder.transition(job("a" * 199 + "-" + "b" * 20), None, status("Running", "Running"))
    await until(lambda: kube.written("events"))
    (event,) = kube.written("events")
    assert event["regarding"]["uid"] == "uid-1"
    assert (event["reason"], event["type"], event["reportingInstance"]) == ("Running", "Normal", "replica-1")
    assert "-." not in event["metadata"]["name"]  # no valid name, else
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


async def test_an_event_that_cannot_be_posted_does_not_stop_the_next() -> None:
    kube = FakeKube()
    recorder = EventRecorder(kube, "replica-1")
    kube.fail("create", EVENTS, KubernetesUnavailable("away"))
    kube.fail("create", EVENTS, Forbidden("namespace is going"))
    posting = asyncio.create_task(recorder.run())
    for reason in ("One", "Two", "Three"):
        recorder.transition(job(), None, status("Pending", reason))
    await until(lambda: kube.written("events"))
    assert [event["reason"] for event in kube.written("events")] == ["Three"]
    assert not posting.done()
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


@pytest.mark.parametrize("text", ["x" * 2000, "я" * 1000, "…" * 1000])
async def test_a_note_is_as_long_as_the_api_server_lets_it_be(text: str) -> None:
    recorder = EventRecorder(FakeKube(), "replica-1")
    recorder.post(job(), Transition("Failed", text, warning=True, action="Failed"))
    note = recorder._queue.get_nowait()["note"]
    assert text.startswith(note)
    assert 1021 <= len(note.encode()) <= 1024


async def test_an_event_that_is_refused_is_told(caplog: pytest.LogCaptureFixture) -> None:
    kube = FakeKube()
    recorder = EventRecorder(kube, "replica-1")
    kube.fail("create", EVENTS, Refused("note: can have at most 1024 bytes"))
    posting = asyncio.create_task(recorder.run())
    recorder.transition(job(), None, status("Running", "Running"))
    await until(lambda: caplog.text)
    assert "at most 1024 bytes" in caplog.text
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


def test_events_that_nobody_takes_are_dropped_and_not_heaped_up() -> None:
    recorder = EventRecorder(FakeKube(), "replica-1")
    assert recorder._queue.maxsize
    recorder._queue = asyncio.Queue(maxsize=5)
    for _ in range(9):
        recorder.transition(job(), None, status("Running", "Running"))
    assert recorder._queue.qsize() == 5
