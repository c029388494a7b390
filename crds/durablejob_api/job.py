"""DurableJob: one piece of external work and everything known about it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from durablejob_api import API_VERSION, FINALIZER
from durablejob_api import rules as cel
from durablejob_api.base import ObjectMeta, ReadModel, Rule
from durablejob_api.spec import DurableJobSpec
from durablejob_api.status import Current, DurableJobStatus


class DurableJob(ReadModel):
    """One piece of external work, started at most once per attempt, and everything known about it."""

    rules: ClassVar[tuple[Rule, ...]] = cel.JOB

    api_version: Annotated[str, Field(max_length=64)] = API_VERSION
    kind: Annotated[str, Field(max_length=63)] = "DurableJob"
    metadata: ObjectMeta = ObjectMeta()
    spec: DurableJobSpec = Field(description="What is wished for.")
    status: DurableJobStatus | None = Field(default=None, description="What is known.")

    @property
    def current(self) -> Current | None:
        """The attempt under way, or that ended last."""
        return self.status.current if self.status else None

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def guarded(self) -> bool:
        """Our finalizer is present: the resource cannot go while something may run outside."""
        return FINALIZER in self.metadata.finalizers
