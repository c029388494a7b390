"""The sensor and its trigger, against a real API server: jobs that somebody else made."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowException, AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from airflow.sdk.module_loading import import_string

from durablejob_airflow import holder, sensors, triggers
from durablejob_airflow.client import JobsClient
from durablejob_airflow.resource import Refused, Unavailable
from durablejob_airflow.sensors import DurableJobSensor
from durablejob_airflow.triggers import DurableJobStateTrigger
from durablejob_api import API_VERSION, FINALIZER, GROUP, VERSION
from tests.operators.scripted import Controller

Make = Callable[..., str]


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "SETTLE_SECONDS", 0.1)


@pytest.fixture
def make(controller: Controller) -> Make:
    """Create a job, as a person does; returns its name."""

    def made(name: str = "", **parameters: str) -> str:
        name = name or f"theirs-{secrets.token_hex(3)}"
        spec = {"backendRef": {"name": "fake", "type": "Plugin"}, "plugin": {"parameters": parameters}}
        meta = {"name": name, "finalizers": [FINALIZER]}
        body = {"apiVersion": API_VERSION, "kind": "DurableJob", "metadata": meta, "spec": spec}
        controller._api.create_namespaced_custom_object(GROUP, VERSION, controller.namespace, "durablejobs", body)
        return name

    return made


def sensor(conn_id: str, name: str, **arguments: Any) -> DurableJobSensor:
    defaults: dict[str, Any] = {"deferrable": False, "poke_interval": 0.1, "timeout": 30}
    return DurableJobSensor(task_id="wait", name=name, durablejob_conn_id=conn_id, **defaults | arguments)


def context(started: datetime | None = None) -> Any:
    return {"ti": SimpleNamespace(start_date=started or datetime.now(UTC))}


def ended(controller: Controller, name: str, state: str) -> None:
    controller.await_job(
        lambda job: job["metadata"]["name"] == name and (job.get("status") or {}).get("state") == state
    )


def test_it_returns_what_the_jobs_own_task_would(make, conn_id, controller):
    name = make()
    found = sensor(conn_id, name).execute(context())
    assert (found["name"], found["attempt"], found["externalId"]) == (name, 1, "run-1")
    assert "cancel" not in controller.job(name)["spec"]
    assert "holder" not in controller.job(name)["spec"]


def test_a_job_that_is_not_there_yet_is_waited_for(make, conn_id):
    name = f"later-{secrets.token_hex(3)}"
    waiting = sensor(conn_id, name)
    assert not waiting.poke(context()).is_done
    make(name)
    assert waiting.execute(context())["name"] == name


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowException), (True, AirflowSkipException)])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_that_failed_fails_the_sensor_or_skips_it(make, conn_id, controller, soft_fail, error, deferrable):
    name = make(outcome="fail")
    ended(controller, name, "Failed")
    with pytest.raises(error, match="the program ended: Failed") as found:
        sensor(conn_id, name, soft_fail=soft_fail, deferrable=deferrable).execute(context())
    assert isinstance(found.value, AirflowSkipException) is soft_fail


def test_a_failed_attempt_is_not_the_end_where_the_owner_retries(make, conn_id, controller):
    name = make(outcome="fail")
    ended(controller, name, "Failed")
    waiting = sensor(conn_id, name, failed_states=("Cancelled", "Lost"))
    assert not waiting.poke(context()).is_done
    controller.patch(name, {"spec": {"attempt": 2, "plugin": {"parameters": {"outcome": "succeed"}}}})
    assert waiting.execute(context())["attempt"] == 2


def test_a_state_that_is_no_end_is_refused():
    with pytest.raises(ValueError, match="'Running' is no end of a DurableJob"):
        DurableJobSensor(task_id="wait", name="job", allowed_states=("Running",))


def test_an_outage_of_kubernetes_is_waited_for_and_a_refusal_is_told(make, conn_id, monkeypatch):
    waiting, refused, pauses = sensor(conn_id, make()), Refused(403, "read job: forbidden"), list[float]()
    answers = [Unavailable("away"), *[refused] * 3, Unavailable("away"), *[refused] * 4]

    def get(self: JobsClient, name: str) -> Any:
        raise answers.pop(0)

    monkeypatch.setattr(JobsClient, "get", get)
    monkeypatch.setattr(sensors.time, "sleep", pauses.append)
    assert not waiting.poke(context()).is_done
    assert not waiting.poke(context()).is_done
    with pytest.raises(AirflowException, match=r"HTTP 403.*needs get, list"):
        waiting.poke(context())
    assert len(pauses) == 6
    assert answers == []


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("why", ["the job failed", "the look is refused"])
@pytest.mark.parametrize(
    ("setting", "outcome"),
    [
        ({}, AirflowException),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
        ({"silent_fail": True}, AirflowSensorTimeout),
    ],
)
def test_airflows_settings_for_failures_mean_the_same_in_worker_and_triggerer(
    conn_id, monkeypatch, deferrable, why, setting, outcome
):
    ended = {"state": "Failed", "current": {"number": 1, "outcome": "Failed"}}

    def get(self: JobsClient, name: str) -> Any:
        if why == "the look is refused":
            raise Refused(403, "read job: forbidden")
        return {"metadata": {"name": name}, "spec": {"attempt": 1}, "status": ended}

    monkeypatch.setattr(JobsClient, "get", get)
    monkeypatch.setattr(holder, "_DISBELIEF", {})
    waiting = sensor(conn_id, "job", deferrable=deferrable, timeout=0.3, **setting)
    waits_on = deferrable and "silent_fail" in setting
    with pytest.raises(TaskDeferred if waits_on else outcome) as found:
        waiting.execute(context())
    if waits_on:
        assert found.value.trigger.states == ("Succeeded",), "else the end that is no end would wake it up for ever"
    else:
        assert type(found.value) is outcome


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sensor_that_never_fails_is_skipped_where_its_connection_is_missing(deferrable):
    with pytest.raises(AirflowSkipException):
        sensor("nowhere", "job", deferrable=deferrable, namespace="ns", never_fail=True).execute(context())


def test_a_deferral_has_what_is_left_of_the_time(make, conn_id):
    waiting = sensor(conn_id, make(hold="yes"), deferrable=True, timeout=60)
    with pytest.raises(TaskDeferred) as first:
        waiting.execute(context())
    assert timedelta(seconds=50) < first.value.timeout <= timedelta(seconds=60)
    with pytest.raises(TaskDeferred) as second:
        waiting.execute_complete(context(datetime.now(UTC) - timedelta(seconds=40)), {"state": "Succeeded"})
    assert timedelta(0) < second.value.timeout <= timedelta(seconds=20)


@pytest.mark.parametrize("answer", [None, Unavailable("away")])
def test_an_end_that_the_trigger_has_seen_counts_where_the_job_is_gone(conn_id, monkeypatch, answer):
    def get(self: JobsClient, name: str) -> None:
        if answer is not None:
            raise answer

    monkeypatch.setattr(JobsClient, "get", get)
    waiting, result = sensor(conn_id, "short-lived", deferrable=True), {"name": "short-lived", "externalId": "run-1"}
    event = {"namespace": "ns", "name": "short-lived", "attempt": 1, "state": "Succeeded", "result": result}
    assert waiting.execute_complete(context(), event) == result
    with pytest.raises(AirflowException, match=r"ns/short-lived, attempt 1: Lost, as the trigger saw it"):
        waiting.execute_complete(context(), event | {"state": "Lost"})
    with pytest.raises(TaskDeferred):
        sensor(conn_id, "short-lived", deferrable=True).execute(context())


def without_kubernetes(error: Exception | None, state: str = "Running", **arguments: Any) -> DurableJobSensor:
    """A sensor whose look at the job is answered like this."""
    raw = {"metadata": {"name": "job"}, "status": {"state": state, "current": {"number": 1, "outcome": state}}}

    def get(name: str) -> Any:
        if error is not None:
            raise error
        return raw

    waiting = sensor("unused", "job", **arguments)
    waiting.hook = SimpleNamespace(
        namespace="ns", resource_url=lambda *_: "", jobs=lambda namespace: SimpleNamespace(get=get)
    )
    return waiting


@pytest.mark.parametrize("error", [Refused(403, "forbidden"), Unavailable("away"), OSError("no kubeconfig")])
def test_an_end_that_the_trigger_has_seen_counts_where_the_job_may_not_be_read(monkeypatch, error):
    monkeypatch.setattr(holder, "_DISBELIEF", {})
    waiting, result = without_kubernetes(error, deferrable=True), {"name": "job"}
    event = {"namespace": "ns", "name": "job", "attempt": 1, "state": "Succeeded", "result": result}
    assert waiting.execute_complete(context(), event) == result
    with pytest.raises(AirflowException, match="attempt 1: Failed, as the trigger saw it"):
        waiting.execute_complete(context(), event | {"state": "Failed"})


@pytest.mark.parametrize(
    ("state", "setting", "outcome"),
    [
        ("Succeeded", {}, None),
        ("Failed", {}, AirflowException),
        ("Failed", {"soft_fail": True}, AirflowSkipException),
        ("Failed", {"silent_fail": True}, AirflowSensorTimeout),
        ("Running", {}, AirflowSensorTimeout),
        ("Running", {"soft_fail": True}, AirflowSkipException),
    ],
)
def test_a_deferral_whose_time_is_over_ends_with_a_last_look_as_poking_does(state, setting, outcome):
    """The trigger tells of an end some seconds after it has seen it (``SETTLE_SECONDS``)."""
    waiting = without_kubernetes(None, state, deferrable=True, **setting)
    over = {"error": TriggerFailureReason.TRIGGER_TIMEOUT, "traceback": []}
    with pytest.raises(outcome) if outcome else nullcontext() as found:
        assert waiting.resume_execution(TRIGGER_FAIL_REPR, over, context())["name"] == "job"
    assert found is None or type(found.value) is outcome


def test_a_next_attempt_counts_more_than_what_the_trigger_has_seen(make, conn_id):
    name = make(hold="yes")
    with pytest.raises(TaskDeferred):
        sensor(conn_id, name, deferrable=True).execute_complete(context(), {"state": "Succeeded"})


def test_a_done_job_needs_no_deferral(make, conn_id, controller):
    name = make()
    ended(controller, name, "Succeeded")
    assert sensor(conn_id, name, deferrable=True).execute(context())["name"] == name


async def test_its_trigger_waits_for_the_job_and_for_its_end(make, conn_id, controller):
    name = f"later-{secrets.token_hex(3)}"
    trigger = DurableJobStateTrigger(
        durablejob_conn_id=conn_id, namespace=controller.namespace, name=name, states=["Succeeded"]
    )
    path, kwargs = trigger.serialize()
    trigger = import_string(path)(**kwargs)
    assert trigger.serialize() == (path, kwargs)

    async def events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    waiting = asyncio.create_task(events())
    await asyncio.sleep(0.5)
    await asyncio.to_thread(make, name, outcome="fail")
    await asyncio.to_thread(ended, controller, name, "Failed")
    assert not waiting.done()
    again = {"spec": {"attempt": 2, "plugin": {"parameters": {"outcome": "succeed"}}}}
    await asyncio.to_thread(controller.patch, name, again)
    (event,) = await asyncio.wait_for(waiting, 20)
    seen = {"namespace": controller.namespace, "name": name, "attempt": 2, "state": "Succeeded"}
    assert event == seen | {"result": event["result"]}
    assert event["result"] == await asyncio.to_thread(sensor(conn_id, name).execute, context())
    await trigger.on_kill()
    assert "cancel" not in (await asyncio.to_thread(controller.job, name))["spec"]


def test_a_trigger_that_fails_is_followed_by_poking_for_what_is_left_of_the_time(make, conn_id):
    waiting = sensor(conn_id, make(), deferrable=True, timeout=30)
    failed = {"error": TriggerFailureReason.TRIGGER_FAILURE, "traceback": ["no rights"]}
    ten_seconds_ago = context(datetime.now(UTC) - timedelta(seconds=10))
    assert waiting.resume_execution(TRIGGER_FAIL_REPR, failed, ten_seconds_ago)["attempt"] == 1
    assert waiting.timeout <= 20
    never = sensor(conn_id, "never", deferrable=True, timeout=10)
    late = {"error": TriggerFailureReason.TRIGGER_TIMEOUT, "traceback": []}
    with pytest.raises(AirflowSensorTimeout):
        never.resume_execution(TRIGGER_FAIL_REPR, late, context())
    with pytest.raises(AirflowSensorTimeout):
        never.resume_execution(TRIGGER_FAIL_REPR, failed, ten_seconds_ago)


def test_an_event_of_an_older_triggerer_has_no_result(conn_id):
    event = {"namespace": "ns", "name": "gone", "attempt": 1, "state": "Succeeded"}
    assert sensor(conn_id, "gone").execute_complete(context(), event) is None
