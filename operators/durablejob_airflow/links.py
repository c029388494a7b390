"""Links on the task's page. Airflow stores them as XComs at every exit of the task, deferral included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ExternalJobLink(BaseOperatorLink):
    """The external system's page on the job; while the task is deferred, the trigger stores it."""

    @property
    def name(self) -> str:
        return "External job"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return getattr(operator, "tracking_url", None) or ""


class ResourceLink(BaseOperatorLink):
    """The DurableJob itself: the dashboard's page named in the connection, or the API server's URL."""

    @property
    def name(self) -> str:
        return "DurableJob"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return getattr(operator, "resource_url", None) or ""
