"""Every reason and message that a user can read in a condition, an event or a task's log.

One place, so that the words stay the same everywhere and each says what to do next. A reason is one
CamelCase word for machines; the message is for the person who was woken up.
"""

from __future__ import annotations

from typing import NamedTuple


class Why(NamedTuple):
    """A reason and its message."""

    reason: str
    message: str


SUSPENDED = Why("Suspended", "spec.suspend is true: set it to false to start the job.")
NEXT_ATTEMPT = Why("NextAttempt", "The last attempt has ended, and the next one was asked for.")
SUBMITTING = Why("Submitting", "Reserved and recorded; the submission is on its way.")
SUBMITTED = Why("Submitted", "The external system has accepted the job.")
WAITING_FOR_GATE = Why("WaitingForStart", "The driver is up and asks the start gate for leave.")
RUNNING = Why("Running", "The program is running.")
NOT_STARTED = Why(
    "NotStarted",
    "There was a place for the program, and it had not begun there in time: it was given up.",
)
SUCCEEDED = Why("Succeeded", "The program ended successfully.")
RETURNED = Why(
    "Succeeded",
    "The program returned, as the driver itself reported last; the external system no longer knows how it ended.",
)
THREW = Why(
    "ProgramFailed",
    "The program threw an exception, as the driver itself reported last; see the driver's stderr.",
)
PROGRAM_FAILED = Why("ProgramFailed", "The program failed; see the driver's stderr for the exception or exit code.")
KILLED = Why("Killed", "The run was killed in the external system, not by durablejob.")
DELETED_EXTERNALLY = Why("DeletedExternally", "The run was deleted in the external system, not by durablejob.")
PREEMPTED = Why(
    "Preempted",
    "The run was suspended after it had begun (by Kueue, or by hand); it is not allowed to begin a second time. Retry "
    "the job.",
)
CONDEMNED = {why.reason: why for why in (PREEMPTED, DELETED_EXTERNALLY)}
"""Why a run that others have ended is killed."""
CANCELLED_BEFORE_START = Why("Cancelled", "Cancelled before the program started; it can no longer start.")
CANCELLED = Why("Cancelled", "Cancelled: the run was killed.")
CANCELLING = Why("Cancelling", "The end of the run was requested; waiting until the external system confirms it.")
DEADLINE = Why("DeadlineExceeded", "spec.activeDeadlineSeconds have passed since the submission.")
BODY_CHANGED = Why(
    "BodyChanged",
    "What would be submitted now differs from what was reserved (a new controller version, or edited defaults of the "
    "backend); nothing was started. Retry the job to submit the new form.",
)
FORGOTTEN_BEFORE_START = Why(
    "ForgottenBeforeStart",
    "The external system restarted without memory before the program started; it can no longer start. Retry the job.",
)
CLOSED_BEFORE_START = Why(
    "ClosedBeforeStart",
    "The submission was given up before the program started; it can no longer start. Retry the job.",
)
LOST = Why(
    "Lost",
    "The external system accepted the job and no longer knows it, and the program has not reported its end. It may "
    "still be running: look before you run it again.",
)
LOST_SIGHT = Why(
    "LostSight",
    "The external system lost sight of the run (a dead worker or node), and the program has not reported its end. It "
    "may still be running: look before you run it again.",
)
COPY = Why(
    "ForeignRun",
    "The external system knows only a copy under this job's id. An earlier run has ended and removed its files; how it "
    "ended is not known.",
)
FOREIGN_RUN = Why(
    "ForeignRun",
    "The external system knows another run under this job's id; of the run that was recorded nothing is known.",
)
ID_TAKEN = Why(
    "IdTaken",
    "Another application has taken the id that was reserved; the program was not started, and can no longer start. "
    "Retry the job.",
)
REFUSED_COPY = Why("RefusedCopy", "Only a copy that the fence turned away is known; of an earlier run nothing is.")
FOUND_WITHOUT_RESERVATION = Why(
    "FoundWithoutReservation",
    "The external system knows a run of this attempt that this resource does not (was etcd restored from a backup?). "
    "It is never submitted again: see what the run did, then set spec.acceptLost and clear the Airflow task (a job "
    "without one: raise spec.attempt as well).",
)


def restored(name: str, uid: str, how: str) -> Why:
    return Why(
        "Restored",
        f"This resource was made again from a copy without its status ({how}): its work may have run already, so it "
        f"does not run by itself. To run it: kubectl annotate dj {name} durablejob.io/run-restored={uid}. If it has "
        "run: delete it.",
    )


def storage_rolled_back(backend: str, mark: str) -> Why:
    return Why(
        "StorageRolledBack",
        "The API server's storage has gone back in time (etcd was restored from a backup): what ran since that backup "
        f"is not known here, so nothing is submitted to backend {backend}. Look at what it has run, cancel the jobs "
        f"that must not run again, then annotate the backend: durablejob.io/confirm-restore={mark}",
    )


def invalid_spec(errors: str) -> Why:
    return Why("InvalidSpec", f"spec: {errors}")


def controller_too_old(errors: str) -> Why:
    return Why(
        "ControllerTooOld",
        "This controller is older than the CRDs, and than who has written this resource, of which it cannot read all. "
        f"Nothing begins until the controller is upgraded; then it goes on by itself. Not understood: {errors}",
    )


def backend_not_found(kind: str, name: str, namespace: str) -> Why:
    where = f" in namespace {namespace}" if kind == "JobBackend" else ""
    return Why("BackendNotFound", f"There is no {kind} {name}{where}: create it, or correct spec.backendRef.")


def backend_not_allowed(name: str, namespace: str) -> Why:
    return Why(
        "BackendNotAllowed",
        f"ClusterJobBackend {name} does not admit namespace {namespace}: ask its administrator to add it to "
        "spec.namespaces.",
    )


def backend_type_mismatch(name: str, declared: str, actual: str) -> Why:
    return Why("BackendTypeMismatch", f"spec.backendRef.type is {declared}, but backend {name} is of type {actual}.")


def backend_not_ready(name: str, reason: str, message: str) -> Why:
    return Why("BackendNotReady", f"Backend {name} is not ready ({reason}): {message}")


def backend_replaced(name: str, cluster_id: str) -> Why:
    return Why(
        "BackendReplaced",
        f"Backend {name} is not the one that the reservation was made with (another uid, type or clusterID): "
        f"nothing is asked or submitted there. If it is the same cluster, set its spec.clusterID to {cluster_id!r}; if "
        'that cluster is gone for good, delete this job with the annotation durablejob.io/release: "true".',
    )


def not_judged(error: Exception) -> Why:
    return Why(
        "NotJudged",
        f"Whether the backend takes this work cannot be said (unexpected {type(error).__name__}, see the controller's "
        "log). It is judged again when the job or its backend changes.",
    )


def never_listed(times: int, doubt: str | None) -> Why:
    answered = f" (the last was answered: {doubt})" if doubt else ""
    return Why(
        "NeverListed",
        f"{times} submissions were sent{answered}, and the external system lists no run of any. Do the backend's "
        "addresses all belong to the same cluster? Nothing was started; it can no longer start.",
    )


def backend_unreachable(message: str) -> Why:
    return Why("BackendUnreachable", f"The external system gives no usable answer: {message}")


def gate_unreachable(times: int, last: str) -> Why:
    return Why(
        "GateUnreachable",
        f"{times} drivers ended before they were given leave to start the program. Can the workers reach the gate's "
        f"URL? See the drivers' stderr. The last one: {last}",
    )


def ended_before_start(message: str) -> Why:
    return Why("EndedBeforeStart", f"The run ended before the program started: {message}")
