"""The parts of a state, and what may happen in a world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from durablejob_api.spec import DeletionPolicy
from tests.model.resource import Resource


class Plan:
    """What a controller is about to do. Equal plans are identical."""

    __slots__ = ("arg", "kind", "number", "seen", "target", "then")

    def __init__(self, number: int, kind: str, arg: Any, seen: Resource | None, target: Resource | None, then: Any):
        self.number = number
        self.kind = kind
        self.arg = arg
        self.seen = seen
        self.target = target
        self.then = then

    def __str__(self) -> str:
        if self.target is None:
            return f"{self.kind} {self.arg}" if self.arg is not None else self.kind
        current = self.target.current
        said = "to let the resource go" if self.target.wishes.gone else "nothing yet"
        if current is not None and not self.target.wishes.gone:
            claim = f", claim {current.claim.number} {current.claim.state.value}" if current.claim else ""
            said = f"attempt {current.number} {current.outcome.value if current.outcome else 'goes on'}{claim}"
            said += ", cancel noted" if current.cancel_requested_at and not current.outcome else ""
        return f"a write: {said}" + (f", then {self.then}" if self.then else "")


class Universe(NamedTuple):
    """One state of the whole."""

    resource: Resource
    controllers: tuple[Plan | None, ...]
    outside: Any
    listed: Any = None
    """An older answer of the external system, that a poller may still hold."""
    cached: Resource | None = None
    """An older version of the resource, that a watch cache may still hold."""
    wrong: str | None = None
    """A violation that lies in a step, not in a state."""


@dataclass(frozen=True)
class Options:
    """What may happen in a world, and which precondition is taken away."""

    controllers: int = 1
    cancel: bool = False
    delete: bool = False
    raise_attempt: bool = False
    stale_list: bool = False
    """A poller's old answer may be used as well."""
    old_cache: bool = False
    """A controller may decide on an old version of the resource, with a fresh look at the external system."""
    restore: bool = False
    """The status is rolled back once."""
    noticed: bool = False
    """The controller notices the restore, and the external system has forgotten by then what had ended."""
    reject: bool = False
    """The external system may refuse a submission for certain."""
    preempt: bool = False
    """A queue may suspend what runs, once and for all: it is assumed not to admit it again before it is killed."""
    quota: bool = False
    """There may be no room for a while: for what would be set aside, or for what goes beside it."""
    slow: bool = False
    """What was activated begins some time later, or never: it is given up some day."""
    upgrade: bool = False
    """What would be submitted may change."""
    deadline: bool = False
    backend_goes: bool = False
    """The backend resource may be missing for a while."""
    policy: DeletionPolicy = DeletionPolicy.CANCEL
    relaunch: bool = False
    """A worker may launch a driver's JVM again."""
    exits: bool = False
    """A program may call System.exit: its report then says nothing of how it ended."""
    persistent: bool = False
    """What is once sent may arrive at any time and any number of times; otherwise each message is lost, or
    repeated, at the cost of a fault."""
    whole_status: bool = False
    """Versions that differ only in what informs are kept apart."""
    rules: bool = True
    """The CRD's own rules are in force."""
    ablate: str = ""

    def but(self, **changes: Any) -> Options:
        return replace(self, **changes)
