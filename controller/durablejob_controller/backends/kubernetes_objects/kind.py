"""What differs from one kind of object to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.kubernetes_objects.calls import Calls
from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.backends.kubernetes_objects.tails import Tails

Right = tuple[str, str, str]
"""API group, resource (with a subresource after a slash), verb."""


class Companion(NamedTuple):
    """Something that is made beside an object, is owned by it, and has no effect of its own.

    Its name holds the object's uid: what already has that name is the same.
    """

    collection: str
    body: Object


class Kind(Protocol):
    """Jobs, or drivers' pods."""

    name: str
    """As Kubernetes calls it."""
    field: str
    """Where a DurableJob describes it, for what the API server says of it."""
    collection: str
    """API path and plural: ``/apis/batch/v1`` and ``jobs``, with a ``{}`` between for the namespace."""
    selector: str
    """Label selector of those that matter: one list of them is all that a look asks for."""
    rights: Sequence[Right]
    """Of every call that is made for it."""
    assumption: str
    """On which one object is one start: "it is assumed that ..."."""

    def suits(self, job: DurableJob) -> bool:
        """Whether this is what the job's work becomes."""
        ...

    def validate(self, job: DurableJob) -> None:
        """Raise ``InvalidWork`` when this work can never run here."""
        ...

    def body(self, job: DurableJob, key: str) -> Object:
        """The inert object with its hash. The same whoever builds it, whenever."""
        ...

    def body_hash(self, job: DurableJob, key: str) -> str: ...

    def activation(self, job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
        """JSON patch that activates ``found``, which is inert, if it has this uid and this form, and is unchanged."""
        ...

    def is_inert(self, found: Object) -> bool: ...

    def started(self, found: Object) -> str | None:
        """When it was started, where it can be stopped and started again; as its run says."""
        ...

    def companions(self, job: DurableJob, made: Object) -> Iterable[Companion]:
        """What is made beside this inert object."""
        ...

    async def runs(self, calls: Calls, tails: Tails, namespace: str | None, found: Sequence[Object]) -> list[Run]:
        """The run that each of these is, in their order; raises ``BackendUnavailable``.

        Of an object whose status is not what it should be reading may raise whatever it likes (``calls.SHAPE``).
        """
        ...

    def stays(self, found: Object) -> bool:
        """It has ended, and released would stay for ever: it becomes its DurableJob's again, and goes with it."""
        ...

    async def clear(self, calls: Calls, found: Object) -> None:
        """Remove what the program of one that ``stays`` has left in the cluster, before it is released; idempotent."""
        ...
