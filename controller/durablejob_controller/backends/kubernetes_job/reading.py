"""What a Job and its pods say of the run; pure.

Facts of the Job controller (Kubernetes 1.32 to 1.34, ``pkg/controller/job``): a Job ends by a condition Complete
or Failed, which with ``podReplacementPolicy: Failed`` is set only when no pod of it runs any more; resuming a
suspended Job sets ``status.startTime`` anew, and Kueue removes it when it suspends one; pods that are deleted for
a suspension count neither as failed nor as succeeded; a Job that is being deleted gets no new pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from durablejob_controller import reasons
from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_job.manifest import QUEUE, is_inert, is_suspended
from durablejob_controller.backends.kubernetes_objects.objects import Object, is_held
from durablejob_controller.backends.kubernetes_objects.pods import (
    containers,
    expires,
    obstacle,
    phase,
    reason,
)

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
"""Label that the Job controller puts on the pods of a Job."""
_FOREGROUND = "foregroundDeletion"
"""Finalizer of the garbage collector, until all pods of a deleted Job are gone."""
_ACTIVE = ("Pending", "Running", "Unknown")


def needs_pods(job: Object) -> bool:
    """Its pods say what the Job does not: whether one is left, how it ended, what it waits for."""
    if is_inert(job):
        return False
    if _ended(job) is not None:
        return is_held(job)
    return _is_deleting(job) or not _count(job, "ready")


def run_of(job: Object, pods: Sequence[Object], start_deadline: int, tail: str | None = None) -> Run:
    """The run that this Job is, with its pods (which may be left out unless ``needs_pods``).

    ``start_deadline``: seconds that its pods may need to start. ``tail``: the last lines of the failed program's log.
    """
    meta = job["metadata"]
    facts: dict[str, Any] = {
        "id": meta["uid"],
        "namespace": meta["namespace"],
        "external_id": f"Job/{meta['name']}",
        "held": is_held(job),
        "started_time": started(job),
    }
    if is_inert(job):
        return Run(phase=Phase.INERT, **facts)
    ended = _ended(job)
    if ended is not None and not _ended_by_deletion(job, ended):
        return _ending(ended, pods, facts, tail)
    if _is_deleting(job) and not _is_foreground(job) and not any(phase(pod) in _ACTIVE for pod in pods):
        words = "the Job was deleted before it had ended"
        return Run(phase=Phase.ENDED, verdict=Verdict.DELETED, message=words, **facts)
    begun = _count(job, "ready") or any(phase(pod) != "Pending" for pod in pods)
    if begun:
        return Run(phase=Phase.RUNNING, condemned=_condemned(job), **facts)
    return Run(phase=Phase.QUEUED, condemned=_condemned(job), **_waiting(job, pods, start_deadline), **facts)


def started(job: Object) -> str | None:
    """When it was resumed last."""
    return (job.get("status") or {}).get("startTime")


def culprit(job: Object, pods: Sequence[Object]) -> tuple[str, str, str] | None:
    """Namespace, pod and container whose log says why this Job, which is not released yet, has failed."""
    ended = _ended(job)
    if ended is None or ended["type"] != "Failed" or not is_held(job) or _ended_by_deletion(job, ended):
        return None
    failed = _failed_container(pods)
    return (job["metadata"]["namespace"], failed[0]["metadata"]["name"], failed[1]["name"]) if failed else None


# --- how it ended ---------------------------------------------------------------------------------------


def _ended(job: Object) -> Mapping[str, Any] | None:
    """The condition that says that it has ended."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def _ended_by_deletion(job: Object, ended: Mapping[str, Any]) -> bool:
    """It failed because it was deleted: its pods were told to end, and did so with whatever exit code."""
    deleted = job["metadata"].get("deletionTimestamp")
    if not deleted or ended["type"] != "Failed":
        return False
    since = ended.get("lastTransitionTime")
    # Whole seconds: a program that fails in the second in which it is deleted counts as deleted.
    return not since or _time(since) >= _time(deleted)


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def _ending(ended: Mapping[str, Any], pods: Sequence[Object], facts: dict[str, Any], tail: str | None) -> Run:
    if ended["type"] == "Complete":
        return Run(phase=Phase.ENDED, verdict=Verdict.SUCCEEDED, exit_code=0, **facts)
    why, said = str(ended.get("reason") or "Failed"), str(ended.get("message") or "the Job failed")
    code, cause, words = _cause(pods)
    parts = (f"{why}: {said}", f"; {words}" if words else "", f". Its last lines:\n{tail}" if tail else "")
    return Run(
        phase=Phase.ENDED,
        verdict=Verdict.FAILED,
        reason=(cause or why)[:128],
        message="".join(parts),
        exit_code=code,
        **facts,
    )


def _cause(pods: Sequence[Object]) -> tuple[int | None, str | None, str | None]:
    """Exit code, reason where it is more than that, and words, of the first container that failed."""
    failed = _failed_container(pods)
    if failed is not None:
        pod, container, end = failed
        why = end.get("reason") or "Error"
        words = f"container {container['name']} of pod {pod['metadata']['name']} ended with exit code"
        cause = reason(pod) or (None if why == "Error" else why)
        return end["exitCode"], cause, f"{words} {end['exitCode']} ({why})"
    gone = next((pod for pod in _failed_first(pods) if reason(pod)), None)
    if gone is None:
        return None, None, None
    return None, reason(gone), f"pod {gone['metadata']['name']}: {reason(gone)}"


def _failed_container(pods: Sequence[Object]) -> tuple[Object, Mapping[str, Any], Mapping[str, Any]] | None:
    """Pod, container status and its end, of the first that failed."""
    for pod in _failed_first(pods):
        for container in containers(pod):
            end = (container.get("state") or {}).get("terminated") or {}
            if end.get("exitCode"):
                return pod, container, end
        if reason(pod):
            return None  # it was taken off its node: no program of it has failed
    return None


def _failed_first(pods: Sequence[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: phase(pod) != "Failed")


# --- how it goes ----------------------------------------------------------------------------------------


def _condemned(job: Object) -> str | None:
    """Others have ended it, and it may run on (deleted without its pods) or begin again (suspended)."""
    if _is_deleting(job):
        return None if _is_foreground(job) else reasons.DELETED_EXTERNALLY.reason
    if not is_suspended(job):
        return None
    queued = QUEUE in (job["metadata"].get("labels") or {})
    return None if queued and started(job) is None else reasons.PREEMPTED.reason


def _waiting(job: Object, pods: Sequence[Object], start_deadline: int) -> dict[str, Any]:
    """What the program waits for: the cluster's word for it, if it has one, and in words; and how long it may."""
    if is_suspended(job) and not _is_deleting(job):
        queue = (job["metadata"].get("labels") or {}).get(QUEUE)
        return {"message": f"waiting for Kueue to admit it, queue {queue}" if queue else None}
    ends = [at for pod in pods if (at := expires(pod, start_deadline)) is not None]
    waits: dict[str, Any] = {"expires": min(ends, default=None)}
    hindered = next((found for pod in pods if phase(pod) == "Pending" and (found := obstacle(pod))), None)
    return waits if hindered is None else {"reason": hindered.reason, "message": hindered.message, **waits}


def _is_deleting(job: Object) -> bool:
    return bool(job["metadata"].get("deletionTimestamp"))


def _is_foreground(job: Object) -> bool:
    return _FOREGROUND in (job["metadata"].get("finalizers") or ())


def _count(job: Object, name: str) -> int:
    return int((job.get("status") or {}).get(name) or 0)
