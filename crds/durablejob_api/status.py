"""What the controller knows about a DurableJob: its status.

``current`` is the heart: one object (not a list, so that CEL can guard it) that holds everything
needed to never start an attempt twice. It is written by compare-and-swap only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from durablejob_api import status_rules as cel
from durablejob_api.base import Condition, Line, ReadModel, Rule, Time, Word


class State(StrEnum):
    """The one-word summary in ``kubectl get``; the conditions are the contract."""

    PENDING = "Pending"
    SUBMITTING = "Submitting"
    SUBMITTED = "Submitted"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    LOST = "Lost"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST})


class Outcome(StrEnum):
    """How an attempt ended: the external system's truth, or ``Lost`` where it can no longer be known."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    LOST = "Lost"


class ClaimState(StrEnum):
    """A claim is the right to run the program of one attempt, handed out once."""

    OPEN = "Open"
    STARTED = "Started"
    ENDED = "Ended"
    REVOKED = "Revoked"


class Ending(StrEnum):
    """How the user's main ended, as the winner itself reported last of all."""

    RETURNED = "returned"
    THREW = "threw"
    EXIT = "exit"


class Claim(ReadModel):
    """The start gate's record. Claims with smaller numbers are revoked by construction."""

    rules: ClassVar[tuple[Rule, ...]] = cel.CLAIM

    number: int = Field(ge=1, le=1_000_000, description="Which claim of this attempt; each new one revokes the last.")
    state: ClaimState = Field(description="Open until a driver won it; Revoked: nobody may start any more.")
    nonce: Word | None = Field(default=None, description="Hash of what the winning JVM alone can say.")
    driver: Word | None = Field(default=None, description="External id of the run that won the claim.")
    how: Ending | None = Field(default=None, description="How the winner says that the program ended.")
    message: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="What the winner says about it: the exception, or the file that is missing."
    )
    unstarted: int = Field(default=0, ge=0, description="Claims of this attempt whose driver ended without starting.")


class Reservation(ReadModel):
    """What was set aside, without effect, before anything was started. Pins the backend (rule 11)."""

    backend_uid: Word = Field(description="uid of the backend resource.")
    backend_type: Word = Field(description="Type of the backend.")
    cluster_id: Word = Field(description="Identity of the external cluster, the same over its restarts.")
    incarnation: Word = Field(default="", description="Which life of the external system made the reservation.")
    application_id: Word | None = Field(default=None, description="Application id reserved on YARN.")
    object_uid: Word | None = Field(default=None, description="uid of the inert Kubernetes object.")
    staging: Annotated[str, Field(max_length=1536)] | None = Field(
        default=None, description="What was put into a staging area for it: where, and the submission's hash."
    )
    body_hash: Word = Field(description="Hash of the submission that belongs to this reservation; no other is sent.")
    at: Time = Field(description="When it was recorded; activeDeadlineSeconds counts from here.")


class Current(ReadModel):
    """Everything about the attempt that is under way, or that ended last."""

    rules: ClassVar[tuple[Rule, ...]] = cel.CURRENT

    number: int = Field(ge=1, description="Number of the attempt; compare with spec.attempt.")
    key: Annotated[str, Field(min_length=20, max_length=20)] = Field(
        description="Key of (uid, attempt), by which the external system knows it."
    )
    reservation: Reservation | None = Field(default=None, description="What was reserved; absent: nothing was started.")
    claim: Claim | None = Field(default=None, description="The start gate's record, where a gate is used.")
    run_started_time: Word | None = Field(
        default=None, description="Start time of the recorded run, where the external id alone does not identify it."
    )
    cancel_requested_at: Time | None = Field(default=None, description="When the wish to end it was noted.")
    started_at: Time | None = Field(default=None, description="When the program started.")
    finished_at: Time | None = Field(default=None, description="When the outcome was recorded.")
    exit_code: int | None = Field(default=None, description="Exit code of the program, where the system tells it.")
    outcome: Outcome | None = Field(default=None, description="The end; absent while it goes on. Never changes.")
    reason: Word | None = Field(default=None, description="One word for the end, or for what it waits for.")
    message: Line | None = Field(default=None, description="The same for people.")


class PastAttempt(ReadModel):
    """An earlier attempt in short; informative only."""

    number: int = Field(ge=1, description="Number of the attempt.")
    outcome: Outcome = Field(description="How it ended.")
    reason: Word | None = Field(default=None, description="One word for the end.")
    message: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="The same for people.")
    external_id: Word | None = Field(default=None, description="Its id in the external system.")
    started_at: Time | None = Field(default=None, description="When the program started.")
    finished_at: Time | None = Field(default=None, description="When the outcome was recorded.")


class Progress(ReadModel):
    """How far the work is, where the external system tells it."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, description="Per cent done.")
    message: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="In words.")


class DurableJobStatus(ReadModel):
    """The truth about the job, written by the controller only."""

    atomic: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = cel.STATUS

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec last acted upon.")
    state: State = Field(default=State.PENDING, description="One word for people; the conditions are the contract.")
    external_id: Word | None = Field(default=None, description="Id in the external system.")
    tracking_url: Line | None = Field(default=None, description="The external system's page on it.")
    progress: Progress | None = Field(default=None, description="How far the work is, where it is told.")
    current: Current | None = Field(default=None, description="The attempt under way, or that ended last.")
    history: Annotated[tuple[PastAttempt, ...], Field(max_length=10)] = Field(
        default=(), description="Earlier attempts, newest first."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="Accepted, Submitted, Running, Finished, Succeeded, Failed, BackendReachable.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
