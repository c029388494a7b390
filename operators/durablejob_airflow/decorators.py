"""``@task.durable_spark`` and ``@task.durable_kubernetes_job``: a function that returns its program's arguments.

The function runs in the worker, as with ``@task.bash`` and ``@task.kubernetes_cmd``, where its program is submitted, or
compared with the one that a retry finds: once in a try, and not after a deferral. If it fails beside a job that is
there, the retry holds that job all the same. Its source is not sent anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    SET_DURING_EXECUTION,
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from durablejob_airflow.operators import DurableKubernetesJobOperator, DurableSparkSubmitOperator
from durablejob_airflow.operators.base import DurableOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class _ReturnsArguments(DecoratedOperator, DurableOperator):
    """A task whose function returns the arguments of the program."""

    custom_operator_name: ClassVar[str]
    filled: ClassVar[str]
    """The operator's parameter that the function's value becomes."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.filled in kwargs:
            raise ValueError(f"{self.custom_operator_name}: the function returns {self.filled!r}: leave it out")
        kwargs[self.filled] = SET_DURING_EXECUTION
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def fill_in(self, context: Context) -> None:
        """Ask the function."""
        super().fill_in(context)
        context_merge(context, self.op_kwargs)
        found = self.python_callable(*self.op_args, **determine_kwargs(self.python_callable, self.op_args, context))
        if not isinstance(found, list | tuple):
            raise TypeError(
                f"{self.python_callable.__name__} returned {type(found).__name__}; {self.custom_operator_name} needs "
                "the program's arguments, as a list"
            )
        setattr(self, self.filled, list(found))
        self.overwrite_rtif_after_execution = True  # the task's page shows them; a resumption does not know them


class _DurableSparkTask(_ReturnsArguments, DurableSparkSubmitOperator):
    """The operator behind ``@task.durable_spark``."""

    custom_operator_name = "@task.durable_spark"
    filled = "application_args"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *DurableSparkSubmitOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **DurableSparkSubmitOperator.template_fields_renderers,
    }


class _DurableKubernetesJobTask(_ReturnsArguments, DurableKubernetesJobOperator):
    """The operator behind ``@task.durable_kubernetes_job``."""

    custom_operator_name = "@task.durable_kubernetes_job"
    filled = "arguments"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *DurableKubernetesJobOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **DurableKubernetesJobOperator.template_fields_renderers,
    }


def durable_spark_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """A Spark application whose arguments (``application_args``) the function returns, as a list.

    :param python_callable: the function
    :param kwargs: arguments of ``DurableSparkSubmitOperator``
    """
    return task_decorator_factory(python_callable=python_callable, decorated_operator_class=_DurableSparkTask, **kwargs)


def durable_kubernetes_job_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """A Kubernetes Job whose container's arguments (``arguments``) the function returns, as a list.

    :param python_callable: the function
    :param kwargs: arguments of ``DurableKubernetesJobOperator``
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_DurableKubernetesJobTask, **kwargs
    )
