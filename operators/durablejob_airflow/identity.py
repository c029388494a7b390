"""Which DurableJob belongs to a task, and what a starting try is to it. Pure: no I/O, no clock.

The name comes from the task's identity, so that a retry finds what a dead worker made. What the try
may do is decided by :func:`decide` from four things only: the record in ``task_state_store`` (it dies
with the DAG run), the job, and the facts of this try. The rules, the first that holds:

1. no record, or the job carries another incarnation: the run was re-created, a new attempt
2. same task instance id: the same try goes on
3. try number not larger: somebody else has taken over; stop and touch nothing
4. ``max_tries`` differs from the recorded one: cleared, a new attempt
5. the attempt is being cancelled because it was cleared: the same (whatever ``max_tries`` says)
6. clear number equal: a retry
7. otherwise Airflow does not tell: as a retry, for no program may run twice by our guess
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from durablejob_airflow.view import DEPLOYMENT_ANNOTATION, HolderView, JobView
from durablejob_api import GROUP
from durablejob_api.names import job_name, label_value

OnLost = Literal["fail", "resubmit"]


@dataclass(frozen=True)
class TaskIdentity:
    """What makes the work what it is: one task (index) of one run of one Airflow."""

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    private: str = ""
    """Not empty for ``airflow tasks test``: a name of its own, which no scheduled run can meet."""

    @property
    def name(self) -> str:
        """The DurableJob's name: the same whoever computes it."""
        identity = [self.deployment, self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        index = [str(self.map_index)] if self.map_index >= 0 else []
        return job_name(identity + ([self.private] if self.private else []), [self.dag_id, self.task_id, *index])

    def _parts(self) -> dict[str, str]:
        parts = {"dag-id": self.dag_id, "task-id": self.task_id, "run-id": self.run_id}
        return parts | ({"map-index": str(self.map_index)} if self.map_index >= 0 else {})

    @property
    def labels(self) -> dict[str, str]:
        """Labels to select jobs by; values that fit no label are shortened and hashed."""
        return {f"{GROUP}/{key}": label_value(value) for key, value in self._parts().items()}

    @property
    def annotations(self) -> dict[str, str]:
        """The same in full, and the Airflow that owns the job."""
        return {f"{GROUP}/{key}": value for key, value in self._parts().items()} | {
            DEPLOYMENT_ANNOTATION: self.deployment
        }


@dataclass(frozen=True)
class TryFacts:
    """What Airflow tells a task about its try."""

    id: str
    try_number: int
    max_tries: int
    clear_number: int = 0


@dataclass(frozen=True)
class Record:
    """What is kept in ``task_state_store``: it survives retries and clears, and dies with the run."""

    nonce: str
    uid: str | None = None
    max_tries: int = 0
    clear_number: int = 0
    result: dict[str, Any] | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, raw: object) -> Record | None:
        """The stored value as a record; anything else than a record counts as absent."""
        if not isinstance(raw, dict) or not isinstance(raw.get("nonce"), str):
            return None
        known = {key: raw[key] for key in ("nonce", "uid", "max_tries", "clear_number", "result") if key in raw}
        return cls(**known)


class Relation(Enum):
    """What a starting try is to the job it finds."""

    RECREATED = "the DAG run was created anew"
    SAME = "this try holds it"
    STALE = "another try has taken over"
    CLEARED = "the task was cleared"
    RETRY = "a retry"
    UNKNOWN = "a retry, as far as Airflow tells"


class Verb(Enum):
    """What to do next. After each of the first five, look again and decide again.

    A job to be taken over that has ended needs no holder any more: its end is the try's.
    """

    CREATE = "create the job"
    TAKE_OVER = "take the job over as it is"
    CANCEL = "take the job over and cancel its attempt, as cleared"
    AWAIT_END = "wait until the cancelled attempt has ended"
    RAISE = "start the next attempt"
    RESUME = "wait for the attempt"
    RETURN_RESULT = "return the recorded result"
    STALE = "stop, touch nothing"
    GONE = "fail: the job was deleted"
    LOST = "fail: the attempt is lost"
    ENDED_BY_USER = "fail: a person cancelled the job"


@dataclass(frozen=True)
class Decision:
    """What to do, and why (for the task's log)."""

    verb: Verb
    why: str
    accept_lost: int = 0
    """With RAISE after a lost attempt: the number of that attempt, whose survival is accepted."""


def relate(record: Record | None, job: JobView, facts: TryFacts) -> Relation:
    """What this try is to the job: the rules at the head of this module."""
    holder: HolderView | None = job.holder
    if holder is None:
        return Relation.UNKNOWN if record else Relation.RECREATED
    if record is None or record.nonce != holder.incarnation:
        return Relation.RECREATED
    if facts.id == holder.id:
        return Relation.SAME
    if facts.try_number <= holder.try_number:
        return Relation.STALE
    if facts.max_tries != holder.max_tries or job.cancelled_for == "Cleared":
        return Relation.CLEARED
    return Relation.RETRY if facts.clear_number == holder.clear_number else Relation.UNKNOWN


def _without_job(record: Record | None, facts: TryFacts) -> Decision:
    if record is None or record.uid is None:
        return Decision(Verb.CREATE, "first try of this task")
    if (record.max_tries, record.clear_number) != (facts.max_tries, facts.clear_number):
        return Decision(Verb.CREATE, "the task was cleared, and its earlier job is gone")
    if record.result is not None:
        return Decision(Verb.RETURN_RESULT, "it had succeeded, and its job is gone since")
    return Decision(Verb.GONE, f"its job (uid {record.uid}) was deleted, and nobody cleared the task")


def _next_attempt(job: JobView, why: str, on_lost: OnLost) -> Decision:
    """The next attempt of a job whose attempt has ended."""
    if job.ended != "Lost":
        return Decision(Verb.RAISE, f"{why}; attempt {job.attempt} has ended: {job.ended}")
    if on_lost == "resubmit" or job.accept_lost >= job.attempt:
        by = "on_lost='resubmit'" if on_lost == "resubmit" else "spec.acceptLost"
        return Decision(Verb.RAISE, f"{why}; attempt {job.attempt} is lost, accepted by {by}", job.attempt)
    return Decision(Verb.LOST, f"{why}; attempt {job.attempt} is lost and may still run")


def decide(
    record: Record | None,
    job: JobView | None,
    facts: TryFacts,
    on_lost: OnLost = "fail",
    durable: bool = True,
    skips: bool = False,
) -> Decision:
    """What a try does on entering ``execute``. Total: every combination has a verdict.

    ``record`` is what the store held **before** this try; None only if a write to the store has proven
    since that this try is live (a read under an archived id finds nothing, too).

    :param skips: the job's end makes the task skipped, so that it is no failure to be tried again
    """
    if job is None:
        return _without_job(record, facts)
    relation = relate(record, job, facts)
    why = relation.value
    if relation is Relation.STALE:
        holder = job.holder
        number = holder.try_number if holder else 0
        return Decision(Verb.STALE, f"try {number} holds the job, this is try {facts.try_number}")
    if relation is Relation.SAME and job.cancelled_for != "Cleared":
        return Decision(Verb.RESUME, why)
    anew = relation in (Relation.RECREATED, Relation.CLEARED, Relation.SAME) or not durable
    if job.ended is None:
        if job.cancelled_for is not None:
            return Decision(Verb.AWAIT_END, f"{why}; attempt {job.attempt} is being cancelled ({job.cancelled_for})")
        return Decision(Verb.CANCEL if anew else Verb.TAKE_OVER, f"{why}; attempt {job.attempt} is active")
    if anew:
        return _next_attempt(job, why, on_lost)
    if job.ended == "Succeeded":
        return Decision(Verb.TAKE_OVER, f"{why}; attempt {job.attempt} has succeeded, nothing is submitted")
    if skips:
        return Decision(Verb.TAKE_OVER, f"{why}; attempt {job.attempt} has ended as skipped, nothing is submitted")
    if job.ended == "Cancelled" and job.cancelled_for == "User":
        return Decision(Verb.ENDED_BY_USER, f"attempt {job.attempt} was cancelled by a person")
    return _next_attempt(job, why, on_lost)
