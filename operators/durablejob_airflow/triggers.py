"""The trigger that waits for the end of one attempt of a DurableJob."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.xcom import BaseXCom
from airflow.triggers.base import BaseTrigger, TriggerEvent

from durablejob_airflow import DEFAULT_CONN_ID, story, wishes
from durablejob_airflow.airflow_side import map_index_of
from durablejob_airflow.links import ExternalJobLink
from durablejob_airflow.view import JobView
from durablejob_airflow.watch import GivenUp, Notice, watching

if TYPE_CHECKING:
    from durablejob_airflow.client_async import AsyncJobsClient
    from durablejob_airflow.observer import Question

log = logging.getLogger(__name__)

CANCEL_SECONDS = 60.0
"""For how long a cancel is tried while Kubernetes is away."""
ASK_AGAIN_SECONDS = 5.0
"""Between two questions for the task's state, where the answer was none, or not yet ``deferred``."""

SETTLE_SECONDS = 7.0
"""No event, and no failure, earlier than this after the trigger's start. Airflow 3.3 takes the late exit of the process
that deferred for the end of the one that resumed, where both are of one try, and counts it as a failed try. Its
supervisor may notice that exit ``[workers] min_heartbeat_interval`` (5 s) late: when the last of the process's sockets
closes a moment before the process can be waited for, nothing wakes it up any more (``supervisor.py``,
``_service_subprocess``; seen). The scheduler hears of it in its next round."""

_asking = ThreadPoolExecutor(max_workers=4, thread_name_prefix="durablejob-ask")
"""Where questions to Airflow wait for their answers. asgiref has one thread for all triggers of the process, also those
of other providers: who blocks it would keep us from asking."""

_handed_over: set[asyncio.Task[None]] = set()
"""Tasks that outlive the trigger which started them."""


@asynccontextmanager
async def connected(conn_id: str, namespace: str) -> AsyncIterator[AsyncJobsClient]:
    """A client by the connection as it is now."""
    # The Kubernetes clients take a second to import: neither DAG parsing nor the event loop is to wait for that.
    hooks = await asyncio.to_thread(importlib.import_module, "durablejob_airflow.hooks")
    client = await asyncio.to_thread(importlib.import_module, "durablejob_airflow.client_async")
    hook = hooks.AsyncDurableJobHook(conn_id=conn_id)
    async with hook.get_conn() as api:
        yield client.AsyncJobsClient(api, namespace, await hook.deployment_id())


async def ask_airflow(question: str, dag_id: str, **asked: Any) -> Any:
    """What a method of ``RuntimeTaskInstance`` says about a DAG; None where Airflow does not answer."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # loaded in a triggerer, not by parsing

    ask = partial(getattr(RuntimeTaskInstance, question), dag_id=dag_id, **asked)
    try:
        return await asyncio.get_running_loop().run_in_executor(_asking, ask)
    except Exception as error:  # whatever it is, it is no answer, and tells nothing about the task
        log.warning("Airflow does not answer %s for DAG %s: %s", question, dag_id, error)
        return None


async def state_in_airflow(ti: Any) -> wishes.SeenState:
    """The task instance's state; UNKNOWN where Airflow does not answer."""
    asked = {"task_ids": [ti.task_id], "run_ids": [ti.run_id], "map_index": map_index_of(ti)}
    states = await ask_airflow("get_task_states", ti.dag_id, **asked)
    return wishes.pick(states, ti.run_id, ti.task_id, map_index_of(ti))


async def answer(question: Question) -> object:
    """Airflow's answer to the observer; None where it does not know the DAG.

    Of a run that was deleted, Airflow knows other runs of the same DAG. Where it knows none, it may be another Airflow
    under the same deployment id: a copy, or one with a new database.
    """
    one = {} if question.mapped else {"map_index": -1}
    states = await ask_airflow(
        "get_task_states", question.dag_id, task_ids=list(question.task_ids), run_ids=list(question.run_ids), **one
    )
    if states != {}:
        return states
    runs = await ask_airflow("get_dr_count", question.dag_id)
    if runs == 0:
        log.warning(
            "This Airflow knows no run of DAG %s, whose jobs carry its deployment id: they are kept. Is the id another "
            "Airflow's, too? If not: `airflow durablejobs reconcile --yes` ends them",
            question.dag_id,
        )
    return states if runs else None


async def _until(time: float) -> None:
    """Sleep until the event loop's clock says so."""
    await asyncio.sleep(time - asyncio.get_running_loop().time())


class WatchingTrigger(BaseTrigger):
    """Watches one DurableJob until ``ending`` says that there is nothing more to wait for, and fires once.

    The event says only that: ``{"namespace", "name", "attempt", "state", "result"}``; the task reads the rest from
    the job. The result is for whoever comes when the job is gone. All triggers of a process share one watch per
    connection and namespace.

    :param durablejob_conn_id: connection of type ``durablejob``
    :param namespace: the job's namespace
    :param name: the job's name
    """

    holder_id: str | None = None
    """Id of the task instance whose own job it is; None: it is somebody else's."""

    def __init__(self, *, durablejob_conn_id: str, namespace: str, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Airflow
        self.durablejob_conn_id = durablejob_conn_id
        self.namespace = namespace
        self.name = name

    def ending(self, job: JobView | None) -> str | None:
        """The event's state if there is nothing more to wait for."""
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Tell each transition in the task's log, and fire at the end.

        :raises GivenUp: the jobs cannot be watched; the worker that Airflow then starts waits by itself
        """
        settled = asyncio.get_running_loop().time() + SETTLE_SECONDS
        try:
            told, state = await self._end()
        except GivenUp:
            await _until(settled)
            raise
        await _until(settled)
        await self._until_deferred()
        event: dict[str, Any] = {"namespace": self.namespace, "name": self.name, "state": state}
        event |= {"attempt": told.attempt if told else None, "result": told.result() if told else None}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # untyped in Airflow

    async def _end(self) -> tuple[JobView | None, str]:
        """The job as last seen and the state of the event, once there is nothing more to wait for."""
        told: JobView | None = None
        link: str | None = None
        connect = partial(connected, self.durablejob_conn_id, self.namespace)
        where = (self.durablejob_conn_id, self.namespace, self.name)
        async with watching(*where, connect, answer, self.holder_id) as mailbox:
            while True:
                job = await mailbox.get()
                if isinstance(job, Notice):
                    self._heed(job)
                    continue
                if job is not None:
                    for line in story.tell(told, job):
                        self.log.info(line)
                    told = job
                    if job.taken_up and job.tracking_url and job.tracking_url != link:
                        link = job.tracking_url
                        await self._show_link(link)
                state = self.ending(job)
                if state is not None:
                    return told, state

    def _heed(self, notice: Notice) -> None:
        """Tell in the task's log how the watch fares."""
        if notice.given_up:
            raise GivenUp(notice.text)
        self.log.warning(notice.text)

    async def _show_link(self, url: str) -> None:
        """The link on the task's page, as soon as it is known; it is no reason to fail."""
        ti = self.task_instance
        if ti is None:
            return
        try:
            await BaseXCom.aset(
                key=ExternalJobLink().xcom_key,
                value=url,
                dag_id=ti.dag_id,
                task_id=ti.task_id,
                run_id=ti.run_id,
                map_index=map_index_of(ti),
            )
        except Exception as error:  # whatever it is: the job is waited for without it
            self.log.warning("The link could not be stored: %s", error)

    async def _until_deferred(self) -> None:
        """An event that meets a task which is not deferred is lost, and Airflow starts the trigger again.

        After a clear of a deferred task its trigger runs on until the task is scheduled; then it is
        cancelled here.
        """
        while self.task_instance is not None:
            seen = await state_in_airflow(self.task_instance)
            if not seen.known or seen.state == "deferred":
                return
            await asyncio.sleep(ASK_AGAIN_SECONDS)


class DurableJobTrigger(WatchingTrigger):
    """Fires once, when the attempt it waits for has ended.

    State is the outcome, or ``Gone`` (the job was deleted), or ``Superseded`` (a later attempt was started).

    :param durablejob_conn_id: connection of type ``durablejob``
    :param namespace: the job's namespace
    :param name: the job's name
    :param uid: the job's uid; another job of that name is not waited for
    :param attempt: the attempt to wait for
    :param holder_id: id of the task instance; its cancel counts only while it holds the job
    """

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        attempt: int,
        holder_id: str,
        durablejob_conn_id: str = DEFAULT_CONN_ID,
    ) -> None:
        super().__init__(durablejob_conn_id=durablejob_conn_id, namespace=namespace, name=name)
        self.uid = uid
        self.attempt = attempt
        self.holder_id: str = holder_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What makes an equal trigger in another process."""
        fields = ("durablejob_conn_id", "namespace", "name", "uid", "attempt", "holder_id")
        path = f"{DurableJobTrigger.__module__}.{DurableJobTrigger.__qualname__}"
        return path, {field: getattr(self, field) for field in fields}

    def ending(self, job: JobView | None) -> str | None:
        """The event's state if there is nothing more to wait for."""
        if job is None or job.uid != self.uid:
            return "Gone"
        if job.attempt != self.attempt:
            return "Superseded"
        return job.ended

    async def on_kill(self) -> None:
        """Perhaps a person ended the task: find out, and cancel the job only then.

        Airflow grants about a second, and calls this for a trigger that moved to another triggerer too;
        so the work is handed to a task of this module.
        """
        if self.task_instance is None:
            return
        task = asyncio.get_running_loop().create_task(
            _cancel_if_wished(self, self.task_instance), context=contextvars.Context()
        )
        _handed_over.add(task)
        task.add_done_callback(_handed_over.discard)


def success_in(event: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The result of the succeeded attempt of which a trigger's event tells; None: it tells of none.

    An event of an older triggerer has no result.
    """
    return event.get("result") if event and event.get("state") == "Succeeded" else None


def failure_in(event: Mapping[str, Any] | None) -> str:
    """The other end of which a trigger's event tells, as a sentence; empty: it tells of none."""
    if event is None or event.get("state") not in ("Failed", "Cancelled", "Lost"):
        return ""
    return f"The trigger saw attempt {event.get('attempt')}: {event['state']}. "


async def _cancel_if_wished(trigger: DurableJobTrigger, ti: Any) -> None:
    """Ask Airflow what became of the task, and write the cancel if that is a person's wish."""
    seen = await state_in_airflow(ti)
    for _ in range(3):
        if seen.known:
            break
        await asyncio.sleep(ASK_AGAIN_SECONDS)
        seen = await state_in_airflow(ti)
    verdict = wishes.of_trigger(seen)
    if verdict.act is not wishes.Act.CANCEL:
        log.info("DurableJob %s goes on: its task is %s", trigger.name, seen.state if seen.known else "unknown")
        return
    try:
        async with connected(trigger.durablejob_conn_id, trigger.namespace) as jobs:
            done = await jobs.cancel(trigger.name, trigger.holder_id, verdict.cause, CANCEL_SECONDS)
    except Exception as error:  # whatever it is, it is told: nobody waits for this task
        why = f"{type(error).__name__}: {error}"
        log.warning("DurableJob %s could not be asked to end (%s): %s", trigger.name, verdict.cause, why)
    else:
        log.info("DurableJob %s: %s, cause %s", trigger.name, "asked to end" if done else "not ours", verdict.cause)


class DurableJobStateTrigger(WatchingTrigger):
    """Fires once, when the current attempt of a job has ended in one of some states, whoever holds the job.

    A job that is not there yet, or no more, is waited for.

    :param durablejob_conn_id: connection of type ``durablejob``
    :param namespace: the job's namespace
    :param name: the job's name
    :param states: ends to fire for: ``Succeeded``, ``Failed``, ``Cancelled``, ``Lost``
    """

    def __init__(
        self, *, namespace: str, name: str, states: Sequence[str], durablejob_conn_id: str = DEFAULT_CONN_ID
    ) -> None:
        super().__init__(durablejob_conn_id=durablejob_conn_id, namespace=namespace, name=name)
        self.states = tuple(states)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What makes an equal trigger in another process."""
        path = f"{DurableJobStateTrigger.__module__}.{DurableJobStateTrigger.__qualname__}"
        fields = {field: getattr(self, field) for field in ("durablejob_conn_id", "namespace", "name")}
        return path, fields | {"states": list(self.states)}

    def ending(self, job: JobView | None) -> str | None:
        """The end of the current attempt, if it is one of the states."""
        return job.ended if job is not None and job.ended in self.states else None
