"""What all durable operators share, and DurableJobOperator, which takes a spec as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)
from pydantic import BaseModel

from durablejob_airflow import DEFAULT_CONN_ID, airflow_side, cancel, story, wishes
from durablejob_airflow.contract import CannotRun, Policy, Stale
from durablejob_airflow.holder import JobHolder
from durablejob_airflow.identity import OnLost
from durablejob_airflow.links import ExternalJobLink, ResourceLink
from durablejob_airflow.operators.refused import Refusals, take_out
from durablejob_airflow.patience import KillWatch, Patience
from durablejob_airflow.payload import WrongArguments, build_spec, check_shape, spec_mapping
from durablejob_airflow.resource import Refused
from durablejob_airflow.triggers import DurableJobTrigger, failure_in, success_in

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from durablejob_airflow.hooks import DurableJobHook
    from durablejob_airflow.view import JobView
    from durablejob_api.spec import DurableJobSpec

ON_KILL_SECONDS = 4.0
"""The supervisor sends SIGKILL 5 s after SIGTERM."""


class DurableOperator(BaseOperator):
    """Runs external work through a DurableJob; subclasses say which.

    The work is submitted once per attempt, whatever crashes: a retry, a restarted worker or triggerer
    finds the same DurableJob and goes on waiting. Clearing the task starts a new attempt, after the old
    one has ended. A retry after a failure starts the next attempt with the arguments as they are then.

    :param backend: where to run: ``[Kind/]name[:Type]`` (``ClusterJobBackend/spark-prod:SparkStandalone``)
        or a mapping with name, kind and type; what is left out is looked up. By default the
        connection's. (templated)
    :param namespace: Kubernetes namespace of the DurableJob; by default the connection's. (templated)
    :param durablejob_conn_id: connection of type ``durablejob``
    :param deferrable: wait in the triggerer, without a worker slot; False polls in the worker
    :param durable: False: a retry cancels what runs and submits anew
    :param poll_interval: seconds between two looks where the worker polls
    :param on_lost: what a retry does when it can no longer be known whether the program ran: ``fail``
        (default: no program runs twice by our guess) or ``resubmit``
    :param on_work_changed: what a retry does that finds its job still running with other arguments than
        today's: ``log`` the difference and keep waiting (default), or ``fail``
    :param active_deadline_seconds: seconds from the submission of an attempt to its forced end
    :param ttl_seconds_after_finished: seconds from the attempt's end until the DurableJob is deleted; four times as
        long, and an hour at least, where no task has taken a result from it
    :param deletion_policy: ``Cancel`` ends the external job when its DurableJob is deleted, ``Orphan``
        leaves it
    :param labels: further labels for the DurableJob. (templated)
    """

    refused: ClassVar[Refusals] = {}
    """Arguments of the provider's operator that this one does not take."""
    template_fields: Sequence[str] = ("backend", "namespace", "labels")
    operator_extra_links = (ExternalJobLink(), ResourceLink())
    ui_color = "#d9e8f6"

    def __init__(
        self,
        *,
        backend: str | dict[str, Any] | None = None,
        namespace: str | None = None,
        durablejob_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        durable: bool = True,
        poll_interval: float = 10.0,
        on_lost: OnLost = "fail",
        on_work_changed: Literal["log", "fail"] = "log",
        active_deadline_seconds: int | None = None,
        ttl_seconds_after_finished: int | None = None,
        deletion_policy: str | None = None,
        labels: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backend = backend
        self.namespace = namespace
        self.durablejob_conn_id = durablejob_conn_id
        self.deferrable = deferrable
        self.durable = durable
        self.poll_interval = poll_interval
        self.on_lost = on_lost
        self.on_work_changed = on_work_changed
        self.active_deadline_seconds = active_deadline_seconds
        self.ttl_seconds_after_finished = ttl_seconds_after_finished
        self.deletion_policy = deletion_policy
        self.labels = labels
        self.tracking_url: str | None = None
        self.resource_url: str | None = None
        self._patience: Patience | None = None
        self._holder: JobHolder | None = None
        self._over = False
        self._success: dict[str, Any] | None = None
        self._check_choices()

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """As in every operator; refused arguments are told as by the operator itself.

        Airflow makes no operator when a mapped task is parsed, and knows arguments only by their names.
        """
        take_out(cls.__name__, cls.refused, kwargs)
        return super().partial(**kwargs)

    def _check_choices(self) -> None:
        for name, allowed in (("on_lost", ("fail", "resubmit")), ("on_work_changed", ("log", "fail"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(allowed)}")
        if not self.retries:
            warnings.warn(
                f"Task {self.task_id!r} has retries=0: where its worker is lost it fails, and its job is cancelled, "
                "since only a retry takes it over. Set retries=1 or more; a retry does not submit what still runs.",
                UserWarning,
                stacklevel=4,
            )

    def work(self) -> Mapping[str, Any]:
        """The work as part of a DurableJob's spec, for instance ``{"spark": {…}}``; after rendering."""
        raise NotImplementedError

    def fill_in(self, context: Context) -> None:
        """Set the arguments that are known in the worker only.

        Called before ``work()``, once in a try, and only where its work is submitted or compared with what runs: a
        failure here does not part a retry from its job.
        """

    def is_skip(self, job: JobView) -> bool:
        """Whether this end makes the task skipped; never, unless a subclass says so."""
        return False

    @cached_property
    def hook(self) -> DurableJobHook:
        """The connection."""
        from durablejob_airflow.hooks import DurableJobHook  # takes a second: not when a DAG is parsed

        return DurableJobHook(self.durablejob_conn_id)

    def execute(self, context: Context) -> Any:
        """Have the job (made, adopted or raised to its next attempt), then wait for it."""
        return self._guarded(partial(self._enter, context))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the trigger's event; what counts is what the job says, or a success that the trigger has seen."""
        return self._guarded(partial(self._resume, context, self.deferrable, event), success_in(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As in every operator; but a timeout cancels the job, and a broken trigger burns no retry."""
        if next_method != TRIGGER_FAIL_REPR:
            return super().resume_execution(next_method, next_kwargs, context)
        kwargs = next_kwargs or {}
        if kwargs.get("error") == TriggerFailureReason.TRIGGER_TIMEOUT:
            return self._guarded(partial(self._timed_out, context))
        self.log.warning(
            "The trigger failed; waiting in the worker instead.\n%s", "\n".join(kwargs.get("traceback") or ())
        )
        return self._guarded(partial(self._resume, context, False))

    def on_kill(self) -> None:
        """A signal says nothing about the job: what it meant is asked beside the main thread."""
        if self._patience is not None and not self._over:
            self._patience.kill.asked(self._cancel)

    def _enter(self, context: Context) -> Any:
        job_holder = self._hold(context)
        found = job_holder.enter()
        if isinstance(found, dict):
            self.log.info("Returning the result that was recorded")
            return found
        return self._settle(job_holder, found, self.deferrable and not airflow_side.in_test_mode())

    def _resume(self, context: Context, may_defer: bool, event: Mapping[str, Any] | None = None) -> Any:
        job_holder = self._hold(context)
        if self._success is None:
            return self._settle(job_holder, job_holder.again(failure_in(event)), may_defer)
        self._over = True
        job = job_holder.glance(self._success)
        if job is not None:
            return self._finish(job_holder, job)
        self.tracking_url = self._success.get("trackingUrl")
        return job_holder.take_result(self._success, acknowledge=False)

    def _timed_out(self, context: Context) -> Any:
        job_holder = self._hold(context)
        job = job_holder.again()
        if job.ended is not None:
            return self._finish(job_holder, job)
        self._cancel("Timeout")
        raise TaskDeferralTimeout(f"execution_timeout of {self.execution_timeout} is over; {story.headline(job)}")

    def _hold(self, context: Context) -> JobHolder:
        """This try and its job, not yet brought together."""
        started = getattr(context["ti"], "start_date", None)
        # Counted over deferrals, where Airflow itself would start anew at each.
        deadline = started + self.execution_timeout if self.execution_timeout and started else None
        self._patience = Patience(KillWatch(context), deadline)
        todays_work = cache(partial(self._todays_work, context))
        store = airflow_side.MemoryStore() if airflow_side.in_test_mode() else None
        self._holder = JobHolder(
            jobs=self.hook.jobs(self.namespace or None),
            identity=airflow_side.identity_of(context["ti"], self.hook.deployment_id),
            facts=airflow_side.facts_of(context),
            store=store or airflow_side.TaskStore(context["task_state_store"]),
            log=self.log,
            work=todays_work,
            spec=lambda: self._spec(todays_work()),
            pause=self._patience.pause,
            is_skip=self.is_skip,
            count=partial(airflow_side.count, context),
            policy=Policy(self.on_lost, self.durable, self.on_work_changed == "fail"),
            labels=self.labels or {},
        )
        self.resource_url = self.hook.resource_url(self._holder.jobs.namespace, self._holder.identity.name)
        return self._holder

    def _todays_work(self, context: Context) -> dict[str, Any]:
        self.fill_in(context)
        return spec_mapping(self.work())

    def _spec(self, work: Mapping[str, Any]) -> dict[str, Any]:
        assert self._holder is not None  # noqa: S101 -- only the holder calls this
        spec: DurableJobSpec = build_spec(
            work,
            self._holder.patiently(lambda: self.hook.backend_ref(self.backend, self.namespace or None)),
            activeDeadlineSeconds=self.active_deadline_seconds,
            ttlSecondsAfterFinished=self.ttl_seconds_after_finished,
            deletionPolicy=self.deletion_policy,
        )
        return spec.to_api()

    def _settle(self, job_holder: JobHolder, job: JobView, may_defer: bool) -> Any:
        """Wait for the attempt's end, in the triggerer or here, and turn it into the task's."""
        if self._patience is not None:
            self._patience.settle(ON_KILL_SECONDS)
        if job.ended is None and may_defer:
            job_holder.tell(job)
            self.tracking_url = job.tracking_url if job.taken_up else None
            self._over = True  # from here on the trigger answers for the job
            self.defer(
                trigger=DurableJobTrigger(
                    durablejob_conn_id=self.durablejob_conn_id,
                    namespace=job.namespace,
                    name=job.name,
                    uid=job.uid,
                    attempt=job.attempt,
                    holder_id=job_holder.facts.id,
                ),
                method_name="execute_complete",
                timeout=self._patience.rest if self._patience else None,
            )
        return self._finish(job_holder, job_holder.wait(job, self.poll_interval))

    def _finish(self, job_holder: JobHolder, job: JobView) -> dict[str, Any]:
        """The attempt's end as the task's: a result, or the right exception."""
        self._over = True
        self._success = job.result() if job.ended == "Succeeded" else None
        self.tracking_url = job.tracking_url
        job_holder.tell(job)
        if self._success is not None:
            return job_holder.take_result(self._success)
        if self.is_skip(job):
            raise AirflowSkipException(story.headline(job))
        if job.ended == "Lost" and self.on_lost != "resubmit":
            raise AirflowFailException(story.lost_text(job))
        if story.is_final(job):
            raise AirflowFailException(story.headline(job))
        raise AirflowException(story.headline(job))

    def _guarded(self, step: Callable[[], Any], success: dict[str, Any] | None = None) -> Any:
        """Run a step; what the job's side raises becomes what Airflow understands.

        :param success: the job's result, if it is known to have succeeded
        """
        self._success = success
        try:
            return self._unless_succeeded(step)
        except AirflowTaskTimeout:
            self._over = True
            self._cancel("Timeout")
            raise
        except Stale as error:
            raise AirflowException(f"This try has been superseded and leaves the job alone: {error}") from error
        except (CannotRun, WrongArguments) as error:
            raise AirflowFailException(str(error)) from error
        except Refused as error:
            raise AirflowFailException(f"Kubernetes refuses (HTTP {error.status}) to {error}{error.hint}") from error
        finally:
            self._clean_up()

    def _unless_succeeded(self, step: Callable[[], Any]) -> Any:
        """Run a step; once the job has succeeded, nothing that fails, and no time limit, fails the task."""
        try:
            return step()
        except (Exception, AirflowTaskTimeout) as error:  # what stops the process, or defers the task, is none of these
            if self._success is None:
                raise
            self.log.warning("The job has succeeded, which counts more than %s: %s", type(error).__name__, error)
            return self._success

    def _clean_up(self) -> None:
        """A wish that was learnt before the job was there is carried out now; a test leaves nothing running."""
        verdict = self._patience.kill.verdict if self._patience else wishes.KEEP
        if verdict.act is wishes.Act.CANCEL:
            self._cancel(verdict.cause)
        elif airflow_side.in_test_mode():
            self._cancel("User")

    def _cancel(self, cause: str) -> None:
        """Write the wish that the job ends; refused if another try holds it."""
        if self._holder is None:
            return
        identity, try_id = self._holder.identity.name, self._holder.facts.id
        try:
            if cancel.cancel(self._holder.jobs, identity, try_id, cause, ON_KILL_SECONDS):
                self.log.info("Asked DurableJob %s to end, cause %s", identity, cause)
        except Exception as error:  # whatever it is, it is told, and does not hide why the job should end
            why = f"{type(error).__name__}: {error}"
            self.log.warning("DurableJob %s could not be asked to end (cause %s): %s", identity, cause, why)


class DurableJobOperator(DurableOperator):
    """Runs the work of a DurableJob's spec: a Spark application, a Kubernetes Job, a YARN application or a plugin's.

    :param spec: the work as in the DurableJob API, for instance ``{"spark": {"mainApplicationFile": …}}``,
        as a mapping or a ``DurableJobSpec``; without backendRef, attempt, holder, cancel. (templated)

    All other parameters are described at :class:`DurableOperator`.
    """

    template_fields: Sequence[str] = ("spec", *DurableOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"spec": "json"}

    def __init__(self, *, spec: dict[str, Any] | DurableJobSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        if isinstance(spec, Mapping | BaseModel):  # else it is another task's output, known at run time only
            check_shape(spec)

    def work(self) -> Mapping[str, Any]:
        return spec_mapping(self.spec)
