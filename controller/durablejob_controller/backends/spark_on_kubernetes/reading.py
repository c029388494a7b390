"""What a driver's Pod says of the run; pure.

Facts, seen on Kubernetes 1.34 with Spark 4.3: a Pod that is deleted has a deletionTimestamp that lies its grace period
after the request, until its kubelet has ended it and deletes it for the last time: that sets the grace period to 0 and
the timestamp to then (``BeforeDelete`` in the API server's delete.go), and when it was asked for is no more known. One
that never had a node keeps phase Pending, and can get none any more; the annotation spark.exit-exception is the stack
trace of what ended the driver, if Spark itself saw it (4.1 and newer).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_objects import pods
from durablejob_controller.backends.kubernetes_objects.objects import Object, is_held
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER, is_inert

EXCEPTION = "spark.exit-exception"
"""Annotation that Spark 4.1 and newer leave on the driver's Pod."""
_EXCERPT = 480
_SIGNALLED = (128 + 15, 128 + 9)
_LOADING = 101
"""With this, spark-submit ends when it cannot load what it is to run."""
_PYTHONS = "org.apache.spark.SparkUserAppException"
"""A Python program has ended with another exit code than 0: which, and no more."""
_CHATTER = re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN) ")
"""Spark's own lines about itself, by its default log4j2 pattern: they come after what the program said last."""


def run_of(pod: Object, start_deadline: int, url: str | None = None, tail: str | None = None) -> Run:
    """The run that this Pod is.

    ``start_deadline``: seconds that it may need to start on its node. ``url``: of its UI, while it runs. ``tail``: the
    last lines of its log.
    """
    meta, phase = pod["metadata"], _phase(pod)
    facts: dict[str, Any] = {
        "id": meta["uid"],
        "namespace": meta["namespace"],
        "external_id": f"Pod/{meta['name']}",
        "held": is_held(pod),
    }
    if is_inert(pod):
        return Run(phase=Phase.INERT, **facts)
    if phase == "Succeeded":
        return Run(phase=Phase.ENDED, verdict=Verdict.SUCCEEDED, exit_code=0, **facts)
    taken = pods.disruption(pod)
    if _ended_by_deletion(pod):
        words = "the driver's Pod was deleted before it had ended"
        if taken is not None:
            said: dict[str, Any] = {"reason": taken.reason, "message": f"{words}: {taken.message}"}
            return Run(phase=Phase.ENDED, verdict=Verdict.FAILED, **said, **facts)
        return Run(phase=Phase.ENDED, verdict=Verdict.DELETED, message=words, **facts)
    if phase == "Failed":
        return Run(phase=Phase.ENDED, verdict=Verdict.FAILED, **_failure(pod, tail), **facts)
    if phase != "Pending":  # Running; Unknown: its node is silent
        return Run(phase=Phase.RUNNING, tracking_url=url, **facts)
    hindered = pods.obstacle(pod)
    return Run(
        phase=Phase.QUEUED,
        reason=hindered.reason if hindered else None,
        message=hindered.message if hindered else None,
        expires=pods.expires(pod, start_deadline),
        **facts,
    )


def has_failed(pod: Object) -> bool:
    """It has failed of itself, and is not released: its log says why."""
    return _phase(pod) == "Failed" and bool(_end(pod)) and is_held(pod) and not _ended_by_deletion(pod)


def is_worth_telling(line: str) -> bool:
    """Whether a line of a log is more than Spark's own chatter."""
    return _CHATTER.match(line) is None


def _phase(pod: Object) -> str:
    """The Pod's, but for the end of the driver's own container, which is never restarted.

    What others have put beside it may run on, or fail.
    """
    end = _end(pod)
    if not end:
        return pods.phase(pod)
    return "Failed" if end["exitCode"] else "Succeeded"


def _end(pod: Object) -> Mapping[str, Any]:
    """How the driver's container ended; empty: it has not, or never began."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            ended: Mapping[str, Any] = (container.get("state") or {}).get("terminated") or {}
            return ended
    return {}


def _ended_by_deletion(pod: Object) -> bool:
    """It is over, and ended after somebody had asked for its deletion."""
    meta = pod["metadata"]
    if not meta.get("deletionTimestamp"):
        return False
    if _phase(pod) == "Pending":
        return not pod["spec"].get("nodeName")  # no Pod that is being deleted is given a node
    if _phase(pod) != "Failed":
        return False
    finished = _end(pod).get("finishedAt")
    if not finished:
        return True  # it never began, or its node is gone
    grace = timedelta(seconds=int(meta.get("deletionGracePeriodSeconds") or 0))
    if not grace and _ended_by_signal(pod):
        return True  # its kubelet has had its last word, and such an end is the deletion's own
    asked = datetime.fromisoformat(str(meta["deletionTimestamp"])) - grace
    # Whole seconds: a program that fails in the second in which it is deleted counts as deleted.
    return datetime.fromisoformat(str(finished)) >= asked


def _ended_by_signal(pod: Object) -> bool:
    """The driver's container was told to end (SIGTERM), or was killed for not ending; not for its memory."""
    end = _end(pod)
    return end.get("exitCode") in _SIGNALLED and end.get("reason") != "OOMKilled"


def _failure(pod: Object, tail: str | None) -> dict[str, Any]:
    end, taken = _end(pod), pods.disruption(pod)
    why = pods.reason(pod) or (taken.reason if taken else None) or str(end.get("reason") or "Error")
    code = end.get("exitCode")
    words = f"the driver ended with exit code {code} ({why})" if code is not None else f"the driver's Pod: {why}"
    thrown = str((pod["metadata"].get("annotations") or {}).get(EXCEPTION) or "")
    said = _without_frames(thrown) or str(end.get("message") or "").strip()
    message = (pod.get("status") or {}).get("message")
    if said and not (tail and said.startswith(_PYTHONS)):
        words += f": {said[:_EXCERPT]}"
    elif message:
        words += f": {message[:_EXCERPT]}"
    elif code == _LOADING:
        words += ", as Spark does when the application's class or file is not there"
    if tail:
        words += f". Its last lines:\n{tail}"
    return {"reason": None if why == "Error" else why[:128], "message": words, "exit_code": code}


def _without_frames(trace: str) -> str:
    """The exceptions of a stack trace, without the places."""
    lines = (line.strip() for line in trace.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("at ", "... ")))
