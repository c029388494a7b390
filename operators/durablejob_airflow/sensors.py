"""A sensor for a DurableJob that somebody else created: another DAG, another Airflow, a person, GitOps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from durablejob_airflow import DEFAULT_CONN_ID, story
from durablejob_airflow.holder import believed
from durablejob_airflow.links import ExternalJobLink, ResourceLink
from durablejob_airflow.resource import Refused, Unavailable
from durablejob_airflow.triggers import DurableJobStateTrigger
from durablejob_airflow.view import JobView, view_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from durablejob_airflow.hooks import DurableJobHook

ENDS = ("Succeeded", "Failed", "Cancelled", "Lost")


class DurableJobSensor(BaseSensorOperator):
    """Waits for the end of a DurableJob that it did not create; it never changes or cancels it.

    A job that is not there yet is waited for: also one that has ended and expired before the sensor began. What counts
    is the job's current attempt.

    :param name: the job's name. (templated)
    :param namespace: its namespace; by default the connection's. (templated)
    :param durablejob_conn_id: connection of type ``durablejob``
    :param deferrable: wait in the triggerer, where all sensors and operators share one watch; False pokes
    :param allowed_states: ends that make the sensor succeed: ``Succeeded`` by default
    :param failed_states: ends that make it fail: ``Failed``, ``Cancelled`` and ``Lost`` by default. Leave out those
        after which the job's owner starts a next attempt: then that one is waited for

    All other parameters are those of every sensor; the time limit is ``timeout``.
    """

    template_fields: Sequence[str] = ("name", "namespace")
    operator_extra_links = (ExternalJobLink(), ResourceLink())
    ui_color = "#d9e8f6"

    def __init__(
        self,
        *,
        name: str,
        namespace: str | None = None,
        durablejob_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        allowed_states: Sequence[str] = ("Succeeded",),
        failed_states: Sequence[str] = ("Failed", "Cancelled", "Lost"),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.namespace = namespace
        self.durablejob_conn_id = durablejob_conn_id
        self.deferrable = deferrable
        self.allowed_states = tuple(allowed_states)
        self.failed_states = tuple(failed_states)
        self.tracking_url: str | None = None
        self.resource_url: str | None = None
        for state in (*self.allowed_states, *self.failed_states):
            if state not in ENDS:
                raise ValueError(f"{state!r} is no end of a DurableJob; it is one of {', '.join(ENDS)}")

    @cached_property
    def hook(self) -> DurableJobHook:
        """The connection."""
        from durablejob_airflow.hooks import DurableJobHook  # takes a second: not when a DAG is parsed

        return DurableJobHook(self.durablejob_conn_id)

    def poke(self, context: Context) -> PokeReturnValue:
        """Whether the job has ended as it should; the result is what its operator would return.

        :raises AirflowException: it has ended as it should not, or the API server refuses to tell
        """
        return self._found()

    def _found(self, event: Mapping[str, Any] | None = None) -> PokeReturnValue:
        """Judge the job, or what the trigger has seen of one that cannot be read any more."""
        try:
            job = self._look()
        except Exception as error:  # whatever it is, an end that the trigger has seen is one
            if event is None:
                raise
            self.log.warning("The job cannot be read: %s", error)
            job = None
        if job is not None:
            self.tracking_url = job.tracking_url if job.taken_up else None
            return self._judged(job.ended, job.result(), story.headline(job))
        if event is None:
            return PokeReturnValue(is_done=False)
        told = f"DurableJob {event['namespace']}/{event['name']}, attempt {event['attempt']}: {event['state']}"
        return self._judged(
            event["state"], event.get("result"), f"{told}, as the trigger saw it. It cannot be read now"
        )

    def _look(self) -> JobView | None:
        """The job; None where there is none, or no answer."""
        namespace = self.namespace or self.hook.namespace
        self.resource_url = self.hook.resource_url(namespace, self.name)
        try:
            raw = believed(lambda: self.hook.jobs(namespace).get(self.name), time.sleep, self.log)
        except Unavailable as error:
            self.log.warning("Kubernetes does not answer: %s", error)
            return None
        except Refused as error:
            raise self._failure(f"Kubernetes refuses (HTTP {error.status}) to {error}{error.hint}") from error
        if raw is None:
            self.log.info("There is no DurableJob %s/%s", namespace, self.name)
            return None
        return view_of(raw)

    def _judged(self, end: str | None, result: Any, told: str) -> PokeReturnValue:
        self.log.info("%s", told)
        if end in self.failed_states:
            raise self._failure(told)
        done = end in self.allowed_states
        return PokeReturnValue(is_done=done, xcom_value=result if done else None)

    def _failure(self, text: str) -> AirflowException:
        """(Airflow's own loop applies ``soft_fail`` to few exceptions only.)"""
        return AirflowSkipException(text) if self.soft_fail else AirflowException(text)

    def execute(self, context: Context) -> Any:
        """Look once; then wait in the triggerer, or poke."""
        if not self.deferrable:
            return super().execute(context)
        return self._look_or_defer(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the trigger's event; what counts is what the job says by now, if it still says anything."""
        return self._look_or_defer(context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As in every sensor; but a broken trigger burns no retry: what is left of the time is poked in the worker.

        When the time is over, a last look decides, as in poking: a trigger tells of an end only seconds after it.
        """
        kwargs = next_kwargs or {}
        if next_method != TRIGGER_FAIL_REPR:
            return super().resume_execution(next_method, next_kwargs, context)
        if kwargs.get("error") == TriggerFailureReason.TRIGGER_TIMEOUT:
            found = self._tolerated(self._found)
            return found.xcom_value if found.is_done else super().resume_execution(next_method, next_kwargs, context)
        self.log.warning("The trigger failed; poking instead.\n%s", "\n".join(kwargs.get("traceback") or ()))
        self.timeout = self._rest(context).total_seconds()
        return super().execute(context)

    def _rest(self, context: Context) -> timedelta:
        """What is left of the time, counted over deferrals; at least a second."""
        begun = context["ti"].start_date or datetime.now(UTC)
        return max(begun + timedelta(seconds=self.timeout) - datetime.now(UTC), timedelta(seconds=1))

    def _tolerated(self, look: Callable[[], PokeReturnValue]) -> PokeReturnValue:
        """A look under ``soft_fail``, ``never_fail`` and ``silent_fail``, as in ``BaseSensorOperator.execute``."""
        try:
            return look()
        except AirflowSkipException:
            raise
        except (AirflowFailException, AirflowTaskTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped, though it failed: {error}") from error
            raise
        except Exception as error:  # as in BaseSensorOperator: whatever a look raises
            if self.silent_fail:
                self.log.exception("The look failed; waiting on, for silent_fail is set")
                return PokeReturnValue(is_done=False)
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, though it failed: {error}") from error
            raise

    def _look_or_defer(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        found = self._tolerated(partial(self._found, event))
        if found.is_done:
            return found.xcom_value
        self.defer(
            trigger=DurableJobStateTrigger(
                durablejob_conn_id=self.durablejob_conn_id,
                namespace=self.namespace or self.hook.namespace,
                name=self.name,
                # With silent_fail a failed end is no end, in the worker neither: the job's next attempt may be.
                states=self.allowed_states if self.silent_fail else (*self.allowed_states, *self.failed_states),
            ),
            method_name="execute_complete",
            timeout=self._rest(context),
        )
        return None
