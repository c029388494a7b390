"""Whatever a backend's code does, the engine sees an answer or an error of ours, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Current
from durablejob_controller.backends.bounded import Bounded
from durablejob_controller.backends.contract import Accepted, Submission, Unclear
from durablejob_controller.errors import BackendError, BackendUnavailable, CredentialsRefused
from tests.controller.fake_kube import job_object
from tests.controller.scripted_backend import READY, ScriptedBackend

VERBS = ("probe", "reserve", "submit", "observe", "look_up", "kill", "close", "release")


def calls(backend: Bounded) -> dict[str, Callable[[], Awaitable[object]]]:
    job = DurableJob.model_validate({**job_object(), "metadata": {"name": "load", "uid": "u"}})
    current = Current(number=1, key=attempt_key("u", 1))
    return {
        "probe": backend.probe,
        "reserve": lambda: backend.reserve(job, current.key),
        "submit": lambda: backend.submit(Submission(job, current)),
        "observe": backend.observe,
        "look_up": lambda: backend.look_up(current.key, current),
        "kill": lambda: backend.kill("run"),
        "close": lambda: backend.close(job, current),
        "release": lambda: backend.release(job, current),
    }


def raising(error: BaseException | None) -> ScriptedBackend:
    """Every verb raises ``error``; None: it never comes back."""
    backend = ScriptedBackend()

    async def verb(*_: object, **__: object) -> object:
        if error is not None:
            raise error
        await asyncio.sleep(3600)
        raise AssertionError

    for name in VERBS:
        setattr(backend, name, verb)
    return backend


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_that_hangs_is_no_answer(verb: str) -> None:
    call = calls(Bounded(raising(None), 0.02))[verb]
    if verb == "submit":
        assert await call() == Unclear("no answer within 0.02 s")
    else:
        with pytest.raises(BackendUnavailable, match=r"no answer within 0\.02 s"):
            await call()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), ExceptionGroup("x", [OSError()]), KeyError("secret")])
async def test_a_verb_that_stumbles_is_no_answer_and_its_words_are_kept_back(verb: str, error: Exception) -> None:
    call = calls(Bounded(raising(error), 1.0))[verb]
    if verb == "submit":
        answer = await call()
        assert isinstance(answer, Unclear)
        said = answer.message
    else:
        with pytest.raises(BackendUnavailable) as caught:
            await call()
        said = str(caught.value)
    assert type(error).__name__ in said
    assert "secret" not in said


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", [BackendUnavailable("away"), CredentialsRefused("401"), BackendError("no")])
async def test_errors_of_ours_come_through_as_they_are(verb: str, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await calls(Bounded(raising(error), 1.0))[verb]()
    assert caught.value is error


async def test_a_cancellation_is_no_answer_of_the_backend() -> None:
    call = asyncio.ensure_future(calls(Bounded(raising(None), 60))["observe"]())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_answers_come_through_as_they_are() -> None:
    inner = ScriptedBackend()
    backend = Bounded(inner, 1.0)
    found = {name: await call() for name, call in calls(backend).items()}
    assert found["probe"] is READY
    assert found["submit"] == Accepted()
    assert (backend.traits, backend.cluster_id) == (inner.traits, "scripted")
    await backend.aclose()
    assert inner.ended
