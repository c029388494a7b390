"""What a Job and its pods say of the run; pure.

Facts of the Job controller (Kubernetes 1.32 to 1.34, ``pkg/controller/job``): a Job ends by a condition Complete
or Failed, which with ``podReplacementPolicy: Failed`` is set only when no pod of it runs any more; resuming a
suspended Job sets ``status.startTime`` anew, and Kueue removes it when it suspends one; pods that are deleted for
a suspension count neither as failed nor as succeeded; a Job that is being deleted gets no new pods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from durablejob_controller import reasons
from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_job.manifest import (
    KEY,
    QUEUE,
    Object,
    is_held,
    is_inert,
    is_suspended,
)

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
"""Label that the Job controller puts on the pods of a Job."""
_FOREGROUND = "foregroundDeletion"
"""Finalizer of the garbage collector, until all pods of a deleted Job are gone."""
_ACTIVE = ("Pending", "Running", "Unknown")


def key_of(job: Object) -> str | None:
    """Key of the attempt that this Job says to be of."""
    key = (job["metadata"].get("labels") or {}).get(KEY)
    return key if isinstance(key, str) else None


def needs_pods(job: Object) -> bool:
    """Its pods say what the Job does not: whether one is left, how it ended, what it waits for."""
    if is_inert(job):
        return False
    if _ended(job) is not None:
        return is_held(job)
    return _is_deleting(job) or not _count(job, "ready")


def run_of(job: Object, pods: Sequence[Object], tail: str | None = None) -> Run:
    """The run that this Job is, with its pods (which may be left out unless ``needs_pods``).

    ``tail``: the last lines of the failed program's log.
    """
    meta = job["metadata"]
    facts: dict[str, Any] = {
        "id": meta["uid"],
        "namespace": meta["namespace"],
        "external_id": f"Job/{meta['name']}",
        "held": is_held(job),
        "started_time": (job.get("status") or {}).get("startTime"),
    }
    if is_inert(job):
        return Run(phase=Phase.INERT, **facts)
    ended = _ended(job)
    if ended is not None and not _ended_by_deletion(job, ended):
        return _ending(ended, pods, facts, tail)
    if _is_deleting(job) and not _is_foreground(job) and not any(_phase(pod) in _ACTIVE for pod in pods):
        words = "the Job was deleted before it had ended"
        return Run(phase=Phase.ENDED, verdict=Verdict.DELETED, message=words, **facts)
    begun = _count(job, "ready") or any(_phase(pod) != "Pending" for pod in pods)
    phase = Phase.RUNNING if begun else Phase.QUEUED
    reason, message = _waiting(job, pods)
    return Run(phase=phase, reason=reason, message=message, condemned=_condemned(job), **facts)


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
    # Whole seconds: a program that fails in the second in which it is deleted counts as deleted.
    return _time(ended.get("lastTransitionTime")) >= _time(deleted)


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def _ending(ended: Mapping[str, Any], pods: Sequence[Object], facts: dict[str, Any], tail: str | None) -> Run:
    if ended["type"] == "Complete":
        return Run(phase=Phase.ENDED, verdict=Verdict.SUCCEEDED, exit_code=0, **facts)
    reason, said = str(ended.get("reason") or "Failed"), str(ended.get("message") or "the Job failed")
    code, cause, words = _cause(pods)
    parts = (f"{reason}: {said}", f"; {words}" if words else "", f". Its last lines:\n{tail}" if tail else "")
    return Run(
        phase=Phase.ENDED,
        verdict=Verdict.FAILED,
        reason=(cause or reason)[:128],
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
        cause = _pod_reason(pod) or (None if why == "Error" else why)
        return end["exitCode"], cause, f"{words} {end['exitCode']} ({why})"
    gone = next((pod for pod in _failed_first(pods) if _pod_reason(pod)), None)
    if gone is None:
        return None, None, None
    return None, _pod_reason(gone), f"pod {gone['metadata']['name']}: {_pod_reason(gone)}"


def _failed_container(pods: Sequence[Object]) -> tuple[Object, Mapping[str, Any], Mapping[str, Any]] | None:
    """Pod, container status and its end, of the first that failed."""
    for pod in _failed_first(pods):
        for container in _containers(pod):
            end = (container.get("state") or {}).get("terminated") or {}
            if end.get("exitCode"):
                return pod, container, end
        if _pod_reason(pod):
            return None  # it was taken off its node: no program of it has failed
    return None


def _failed_first(pods: Sequence[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: _phase(pod) != "Failed")


def _pod_reason(pod: Object) -> str | None:
    """Evicted, DeadlineExceeded: what happened to the pod as a whole."""
    return (pod.get("status") or {}).get("reason")


def _containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


# --- how it goes ----------------------------------------------------------------------------------------


def _condemned(job: Object) -> str | None:
    """Others have ended it, and it may run on (deleted without its pods) or begin again (suspended)."""
    if _is_deleting(job):
        return None if _is_foreground(job) else reasons.DELETED_EXTERNALLY.reason
    if not is_suspended(job):
        return None
    queued = QUEUE in (job["metadata"].get("labels") or {})
    started = (job.get("status") or {}).get("startTime") is not None
    return None if queued and not started else reasons.PREEMPTED.reason


def _waiting(job: Object, pods: Sequence[Object]) -> tuple[str | None, str | None]:
    """What the program waits for: the cluster's word for it, if it has one, and in words."""
    if is_suspended(job) and not _is_deleting(job):
        queue = (job["metadata"].get("labels") or {}).get(QUEUE)
        return None, f"waiting for Kueue to admit it, queue {queue}" if queue else None
    for pod in pods:
        if _phase(pod) != "Pending":
            continue
        for container in _containers(pod):
            why = (container.get("state") or {}).get("waiting") or {}
            reason = why.get("reason")
            if reason not in (None, "ContainerCreating", "PodInitializing"):
                # A kubelet says one and the other in turns, once for each try.
                known = "ImagePullBackOff" if reason == "ErrImagePull" else reason
                return str(known)[:128], f"{reason}: {why.get('message') or container['name']}"[:512]
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
                reason = str(condition.get("reason") or "Unschedulable")
                return reason[:128], f"{reason}: {condition.get('message')}"[:512]
    return None, None


def _is_deleting(job: Object) -> bool:
    return bool(job["metadata"].get("deletionTimestamp"))


def _is_foreground(job: Object) -> bool:
    return _FOREGROUND in (job["metadata"].get("finalizers") or ())


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def _count(job: Object, name: str) -> int:
    return int((job.get("status") or {}).get(name) or 0)
