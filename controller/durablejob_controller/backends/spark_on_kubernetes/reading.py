"""What a driver's Pod says of the run; pure.

Facts, seen on Kubernetes 1.34 with Spark 4.3: a Pod that is deleted has a deletionTimestamp that lies its grace period
after the request; one that never had a node keeps phase Pending, without container statuses; the annotation
spark.exit-exception is the stack trace of what ended the driver, if Spark itself saw it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_objects.objects import Object, is_held
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER, is_inert

EXCEPTION = "spark.exit-exception"
"""Annotation that Spark 4.1 and newer leave on the driver's Pod."""
_EXCERPT = 480


def run_of(pod: Object, tail: str | None = None) -> Run:
    """The run that this Pod is; ``tail``: the last lines of its log."""
    meta, status = pod["metadata"], pod.get("status") or {}
    facts: dict[str, Any] = {
        "id": meta["uid"],
        "namespace": meta["namespace"],
        "external_id": f"Pod/{meta['name']}",
        "held": is_held(pod),
    }
    if is_inert(pod):
        return Run(phase=Phase.INERT, **facts)
    phase, end = status.get("phase"), _end(pod)
    if _ended_by_deletion(pod, end):
        words = "the driver's Pod was deleted before it had ended"
        return Run(phase=Phase.ENDED, verdict=Verdict.DELETED, message=words, **facts)
    if phase == "Succeeded":
        return Run(phase=Phase.ENDED, verdict=Verdict.SUCCEEDED, exit_code=0, **facts)
    if phase == "Failed":
        return Run(phase=Phase.ENDED, verdict=Verdict.FAILED, **_failure(pod, end, tail), **facts)
    if phase == "Running":
        return Run(phase=Phase.RUNNING, **facts)
    reason, message = _waiting(status)
    return Run(phase=Phase.QUEUED, reason=reason, message=message, **facts)


def has_failed(pod: Object) -> bool:
    """It has failed of itself, and is not released: its log says why."""
    end = _end(pod)
    return (
        (pod.get("status") or {}).get("phase") == "Failed"
        and bool(end)
        and is_held(pod)
        and (not _ended_by_deletion(pod, end))
    )


def _end(pod: Object) -> Mapping[str, Any]:
    """How the driver's container ended; empty: it has not, or never began."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            ended: Mapping[str, Any] = (container.get("state") or {}).get("terminated") or {}
            return ended
    return {}


def _ended_by_deletion(pod: Object, end: Mapping[str, Any]) -> bool:
    """It is over, and ended after somebody had asked for its deletion."""
    meta, status = pod["metadata"], pod.get("status") or {}
    if not meta.get("deletionTimestamp"):
        return False
    if status.get("phase") in ("Pending", None):
        return not status.get("containerStatuses") or not status.get("hostIP")
    if status.get("phase") not in ("Failed", "Succeeded"):
        return False
    if not end:
        return status.get("phase") == "Failed"
    grace = timedelta(seconds=int(meta.get("deletionGracePeriodSeconds") or 0))
    asked = datetime.fromisoformat(str(meta["deletionTimestamp"])) - grace
    # Whole seconds: a program that fails in the second in which it is deleted counts as deleted.
    return status["phase"] == "Failed" and datetime.fromisoformat(str(end["finishedAt"])) >= asked


def _failure(pod: Object, end: Mapping[str, Any], tail: str | None) -> dict[str, Any]:
    status = pod.get("status") or {}
    why = str(status.get("reason") or end.get("reason") or "Error")
    code = end.get("exitCode")
    words = f"the driver ended with exit code {code} ({why})" if code is not None else f"the driver's Pod: {why}"
    thrown = str((pod["metadata"].get("annotations") or {}).get(EXCEPTION) or "").strip()
    said = thrown or str(end.get("message") or "").strip()
    if said:
        words += f": {said[:_EXCERPT]}" if thrown else f": …{said[-_EXCERPT:]}"
    elif status.get("message"):
        words += f": {status['message'][:_EXCERPT]}"
    if tail:
        words += f". Its last lines:\n{tail}"
    return {"reason": None if why == "Error" else why[:128], "message": words, "exit_code": code}


def _waiting(status: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What hinders it: the cluster's word for it, and in words."""
    for container in status.get("containerStatuses") or ():
        why = (container.get("state") or {}).get("waiting") or {}
        reason = why.get("reason")
        if reason not in (None, "ContainerCreating", "PodInitializing"):
            # A kubelet says one and the other in turns, once for each try.
            known = "ImagePullBackOff" if reason == "ErrImagePull" else reason
            return str(known)[:128], f"{reason}: {why.get('message') or container['name']}"[:512]
    for condition in status.get("conditions") or ():
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            reason = str(condition.get("reason") or "Unschedulable")
            return reason[:128], f"{reason}: {condition.get('message')}"[:512]
    return None, None
