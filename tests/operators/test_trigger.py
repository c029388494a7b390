"""The trigger: against a real API server, and what it makes of being killed."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.module_loading import import_string
from asgiref.sync import sync_to_async

from durablejob_airflow import triggers, wishes
from durablejob_airflow.observer import Question
from durablejob_airflow.triggers import DurableJobStateTrigger, DurableJobTrigger, WatchingTrigger
from durablejob_airflow.view import CancelView, JobView
from durablejob_airflow.watch import GivenUp, Mailbox, Notice
from durablejob_api import API_VERSION, FINALIZER, GROUP, VERSION
from tests.operators.scripted import Controller

SETTLE = 0.5
TI = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1)


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert triggers.SETTLE_SECONDS > 5, "Airflow's supervisor may notice an exit 5 s late"
    monkeypatch.setattr(triggers, "SETTLE_SECONDS", SETTLE)


@pytest.fixture
def job(controller: Controller) -> dict[str, Any]:
    """A job that runs until it is told otherwise."""
    name = f"job-{secrets.token_hex(3)}"
    body = {
        "apiVersion": API_VERSION,
        "kind": "DurableJob",
        "metadata": {"name": name, "finalizers": [FINALIZER]},
        "spec": {
            "backendRef": {"name": "fake", "type": "Plugin"},
            "plugin": {"parameters": {"hold": "yes"}},
            "holder": {"incarnation": "n", "id": "ti-1"},
        },
    }
    made: dict[str, Any] = controller._api.create_namespaced_custom_object(
        GROUP, VERSION, controller.namespace, "durablejobs", body
    )
    return made


@pytest.fixture
def trigger(job: dict[str, Any], conn_id: str, controller: Controller) -> DurableJobTrigger:
    meta = job["metadata"]
    return DurableJobTrigger(
        durablejob_conn_id=conn_id,
        namespace=controller.namespace,
        name=meta["name"],
        uid=meta["uid"],
        attempt=1,
        holder_id="ti-1",
    )


def view(**fields: Any) -> JobView:
    return JobView(**{"namespace": "ns", "name": "job", "uid": "u1", "number": 1} | fields)


def test_it_survives_the_way_to_another_process(trigger):
    path, kwargs = trigger.serialize()
    again = import_string(path)(**kwargs)
    assert type(again) is DurableJobTrigger
    assert again.serialize() == trigger.serialize()


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (view(), None),
        (view(outcome="Failed"), "Failed"),
        (view(outcome="Succeeded", cancel=CancelView(1, "User")), "Succeeded"),
        (view(uid="u2", outcome="Succeeded"), "Gone"),
        (None, "Gone"),
        (view(attempt=2, outcome="Failed"), "Superseded"),
    ],
)
def test_it_fires_for_the_end_of_its_own_attempt_only(job, state):
    trigger = DurableJobTrigger(namespace="ns", name="job", uid="u1", attempt=1, holder_id="ti-1")
    assert trigger.ending(job) == state


def test_the_end_of_the_attempt_before_is_not_its_own():
    trigger = DurableJobTrigger(namespace="ns", name="job", uid="u1", attempt=2, holder_id="ti-1")
    assert trigger.ending(view(attempt=2, number=1, outcome="Failed")) is None


async def events(trigger: WatchingTrigger) -> list[Any]:
    return [event.payload async for event in trigger.run()]


OWN = DurableJobTrigger(namespace="ns", name="job", uid="u1", attempt=1, holder_id="ti-1")
SENSORS = DurableJobStateTrigger(namespace="ns", name="job", states=["Succeeded"])


@pytest.fixture
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> list[Mailbox]:
    """The mailboxes that triggers were given, with nothing in them and no watch behind them."""
    given: list[Mailbox] = []

    @asynccontextmanager
    async def watching(*args: Any) -> AsyncIterator[Mailbox]:
        given.append(Mailbox(args[-1]))
        yield given[-1]

    monkeypatch.setattr(triggers, "watching", watching)
    return given


class Supervisor:
    """Airflow's side of the line over which a trigger asks."""

    def __init__(self, states: dict[str, Any], runs: int | Exception) -> None:
        self.states = states
        self.runs = runs

    def send(self, message: Any) -> Any:
        if isinstance(message, comms.GetTaskStates):
            return comms.TaskStatesResult(task_states=self.states)
        assert isinstance(message, comms.GetDRCount)
        if isinstance(self.runs, Exception):
            raise self.runs
        return comms.DRCount(count=self.runs)


@pytest.mark.parametrize(
    ("states", "runs", "answer"),
    [
        ({"run": {"task": "failed"}}, 1, {"run": {"task": "failed"}}),
        ({}, 3, {}),  # the run was deleted: the task is gone
        ({}, 0, None),  # the DAG was deleted, or this is another Airflow: that says nothing
        ({}, OSError("away"), None),
    ],
)
async def test_an_airflow_that_knows_no_run_of_a_dag_says_nothing_of_its_jobs(
    monkeypatch, caplog, states, runs, answer
):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(states, runs), raising=False)
    question = Question("dag", ("run",), ("task",), mapped=False)
    assert await triggers.answer(question) == answer
    assert ("knows no run of DAG dag" in caplog.text) == (runs == 0)


async def test_a_trigger_of_another_provider_that_blocks_does_not_keep_us_from_asking(monkeypatch):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor({"run": {"task": "deferred"}}, 1), raising=False)
    end = threading.Event()
    blocking = asyncio.create_task(sync_to_async(end.wait)())
    await asyncio.sleep(0.05)
    try:
        seen = await asyncio.wait_for(triggers.state_in_airflow(TI), 5)
    finally:
        end.set()
        await blocking
    assert seen == wishes.SeenState(state="deferred")


async def test_questions_do_not_wait_for_each_other(monkeypatch):
    together = threading.Barrier(3)

    class Slow(Supervisor):
        def send(self, message: Any) -> Any:
            together.wait(5)
            return super().send(message)

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Slow({"run": {"task": "deferred"}}, 1), raising=False)
    seen = await asyncio.gather(*(triggers.state_in_airflow(TI) for _ in range(3)))
    assert seen == [wishes.SeenState(state="deferred")] * 3


@pytest.mark.parametrize(("trigger", "holder"), [(OWN, "ti-1"), (SENSORS, None)], ids=["the task's own", "a sensor's"])
async def test_only_the_tasks_own_trigger_waits_on_behalf_of_its_holder(mailboxes, trigger, holder):
    waiting = asyncio.create_task(events(trigger))
    await asyncio.sleep(0.01)
    mailboxes[0].put_nowait(view(outcome="Succeeded"))
    assert [event["state"] for event in await asyncio.wait_for(waiting, 5)] == ["Succeeded"]
    assert mailboxes[0].holder_id == holder


@pytest.mark.parametrize("trigger", [OWN, SENSORS], ids=["the task's own", "a sensor's"])
async def test_how_the_watch_fares_stands_in_the_tasks_log(mailboxes, trigger, capsys):
    waiting = asyncio.create_task(events(trigger))
    await asyncio.sleep(0.01)
    mailboxes[0].put_nowait(Notice("cannot be seen now: 100% of requests fail"))
    mailboxes[0].put_nowait(Notice("can be seen again"))
    mailboxes[0].put_nowait(view(outcome="Succeeded"))
    assert [event["state"] for event in await asyncio.wait_for(waiting, 5)] == ["Succeeded"]
    told = capsys.readouterr().out
    assert told.index("cannot be seen now: 100% of") < told.index("can be seen again") < told.index("Succeeded")


@pytest.mark.parametrize("trigger", [OWN, SENSORS], ids=["the task's own", "a sensor's"])
async def test_a_watch_that_was_given_up_ends_the_trigger(mailboxes, trigger):
    """Airflow then resumes the task in a worker, which waits by itself (``test_a_broken_trigger_burns_no_retry``)."""
    begun = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(events(trigger))
    await asyncio.sleep(0.01)
    mailboxes[0].put_nowait(Notice("the account may not", given_up=True))
    with pytest.raises(GivenUp, match="the account may not"):
        await asyncio.wait_for(waiting, 5)
    assert asyncio.get_running_loop().time() - begun >= SETTLE  # the process that deferred is gone


async def test_it_fires_once_with_little_data(trigger, controller):
    waiting = asyncio.create_task(events(trigger))
    await asyncio.sleep(1)
    assert not waiting.done()
    controller.release(trigger.name)
    (event,) = await asyncio.wait_for(waiting, 20)
    result = event.pop("result")
    assert event == {"namespace": controller.namespace, "name": trigger.name, "attempt": 1, "state": "Succeeded"}
    assert (result["uid"], result["externalId"]) == (trigger.uid, "run-1")


async def test_it_fires_for_a_job_that_is_done_already_when_the_process_that_deferred_is_gone(trigger, controller):
    controller.release(trigger.name)
    await asyncio.sleep(1)
    begun = asyncio.get_running_loop().time()
    assert [event["state"] for event in await asyncio.wait_for(events(trigger), 20)] == ["Succeeded"]
    assert asyncio.get_running_loop().time() - begun >= SETTLE


async def test_it_fires_when_the_job_is_deleted(trigger, controller):
    waiting = asyncio.create_task(events(trigger))
    await asyncio.sleep(1)
    controller.delete(trigger.name)
    assert [event["state"] for event in await asyncio.wait_for(waiting, 20)] == ["Gone"]


async def test_it_waits_with_the_event_until_its_task_is_deferred(trigger, controller, monkeypatch):
    answers = iter(
        [wishes.SeenState(state=None), wishes.SeenState(state="scheduled"), wishes.SeenState(state="deferred")]
    )
    asked = []

    async def state(_: Any) -> wishes.SeenState:
        asked.append(1)
        return next(answers)

    async def no_link(self: Any, url: str) -> None:
        pass

    monkeypatch.setattr(triggers, "state_in_airflow", state)
    monkeypatch.setattr(triggers, "ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(DurableJobTrigger, "_show_link", no_link)
    trigger.task_instance = TI
    controller.release(trigger.name)
    assert len(await asyncio.wait_for(events(trigger), 20)) == 1
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (wishes.SeenState(state="failed"), "MarkedFailed"),
        (wishes.SeenState(state="success"), "MarkedSuccess"),
        (wishes.ABSENT, "User"),
        (wishes.SeenState(state="deferred"), None),
        (wishes.SeenState(state=None), None),
        (wishes.UNKNOWN, None),
    ],
)
async def test_a_kill_cancels_only_upon_a_persons_wish(trigger, controller, monkeypatch, seen, cause):
    async def state(_: Any) -> wishes.SeenState:
        return seen

    monkeypatch.setattr(triggers, "state_in_airflow", state)
    monkeypatch.setattr(triggers, "ASK_AGAIN_SECONDS", 0.01)
    trigger.task_instance = TI
    await trigger.on_kill()
    await asyncio.wait_for(asyncio.gather(*triggers._handed_over), 20)
    assert (controller.job(trigger.name)["spec"].get("cancel") or {}).get("cause") == cause


async def test_a_kill_outlives_the_trigger_that_was_cancelled(trigger, controller, monkeypatch):
    """Airflow cancels the trigger's task again one second into on_kill."""

    async def state(_: Any) -> wishes.SeenState:
        await asyncio.sleep(0.3)
        return wishes.SeenState(state="failed")

    monkeypatch.setattr(triggers, "state_in_airflow", state)
    trigger.task_instance = TI
    killing = asyncio.create_task(trigger.on_kill())
    await asyncio.sleep(0.05)
    killing.cancel()
    await asyncio.wait_for(asyncio.gather(*triggers._handed_over), 20)
    assert controller.job(trigger.name)["spec"]["cancel"]["cause"] == "MarkedFailed"


async def test_a_cancel_of_a_try_that_no_longer_holds_the_job_is_not_written(trigger, controller, monkeypatch):
    async def state(_: Any) -> wishes.SeenState:
        return wishes.SeenState(state="failed")

    monkeypatch.setattr(triggers, "state_in_airflow", state)
    trigger.task_instance, trigger.holder_id = TI, "ti-0"
    await trigger.on_kill()
    await asyncio.wait_for(asyncio.gather(*triggers._handed_over), 20)
    assert "cancel" not in controller.job(trigger.name)["spec"]


async def test_a_kill_that_finds_no_connection_is_told(monkeypatch, caplog):
    """Nobody else would say that the job goes on: the trigger and its task are gone."""

    async def state(_: Any) -> wishes.SeenState:
        return wishes.SeenState(state="failed")

    @asynccontextmanager
    async def connected(*_: str) -> AsyncIterator[Any]:
        raise AirflowNotFoundException("The conn_id `gone` isn't defined")
        yield

    monkeypatch.setattr(triggers, "state_in_airflow", state)
    monkeypatch.setattr(triggers, "connected", connected)
    trigger = DurableJobTrigger(namespace="ns", name="job", uid="u1", attempt=1, holder_id="ti-1")
    trigger.task_instance = TI
    await trigger.on_kill()
    assert await asyncio.wait_for(asyncio.gather(*triggers._handed_over), 5) == [None]
    assert "job could not be asked to end (MarkedFailed): AirflowNotFoundException: The conn_id `gone`" in caplog.text
