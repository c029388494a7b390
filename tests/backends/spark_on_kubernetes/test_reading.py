"""What a driver's Pod means, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_controller.backends.contract import Phase, Verdict
from durablejob_controller.backends.kubernetes_objects.objects import HOLD
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER, GATE
from durablejob_controller.backends.spark_on_kubernetes.reading import EXCEPTION, has_failed, run_of

Object = dict[str, Any]
OWNED = {"ownerReferences": [{"kind": "DurableJob", "uid": "u"}], "finalizers": []}
ASKED, EARLIER, LATER = "2026-01-01T00:01:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:01:02Z"
DELETED = {"deletionTimestamp": "2026-01-01T00:01:30Z", "deletionGracePeriodSeconds": 30}
"""Asked for at ``ASKED``."""


def pod(phase: str, state: Object | None = None, gates: tuple[str, ...] = (), **meta: Any) -> Object:
    given = {"uid": "o1", "name": "dj-k", "namespace": "n", "finalizers": [HOLD], **meta}
    spec = {"schedulingGates": [{"name": name} for name in gates]}
    status: Object = {"phase": phase}
    if state is not None:
        status |= {"containerStatuses": [{"name": CONTAINER, "state": state}], "hostIP": "10.0.0.1"}
    return {"metadata": given, "spec": spec, "status": status}


def ended(code: int, reason: str = "Error", at: str = EARLIER, **fields: str) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at, **fields}}


CASES: dict[str, tuple[Object, Phase | Verdict]] = {
    "inert": (pod("Pending", gates=(GATE,), **OWNED), Phase.INERT),
    "activated, no node yet": (pod("Pending"), Phase.QUEUED),
    "its image is pulled": (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}), Phase.QUEUED),
    "it runs": (pod("Running", {"running": {}}), Phase.RUNNING),
    "it runs, and is being deleted": (pod("Running", {"running": {}}, **DELETED), Phase.RUNNING),
    "it succeeded": (pod("Succeeded", ended(0, "Completed")), Verdict.SUCCEEDED),
    "it succeeded, and was then deleted": (pod("Succeeded", ended(0, "Completed"), **DELETED), Verdict.SUCCEEDED),
    "it failed": (pod("Failed", ended(1)), Verdict.FAILED),
    "it failed, and was then deleted": (pod("Failed", ended(1), **DELETED), Verdict.FAILED),
    "it was deleted, and ended by that": (pod("Failed", ended(143, at=LATER), **DELETED), Verdict.DELETED),
    "it was deleted before it had a node": (pod("Pending", **DELETED), Verdict.DELETED),
    "its node is gone for good": (pod("Failed", {"running": {}}, **DELETED), Verdict.DELETED),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_a_pod_means(given: Object, expected: Phase | Verdict) -> None:
    run = run_of(given)
    assert (run.verdict or run.phase) is expected
    assert run.external_id == "Pod/dj-k"


def test_a_failure_says_what_spark_has_noted() -> None:
    run = run_of(pod("Failed", ended(1), annotations={EXCEPTION: "java.lang.IllegalStateException: boom\n\tat x"}))
    assert (run.exit_code, run.reason) == (1, None)
    assert "exit code 1 (Error): java.lang.IllegalStateException: boom" in (run.message or "")


def test_without_that_the_end_of_its_log_is_told_as_the_kubelet_kept_it() -> None:
    run = run_of(pod("Failed", ended(101, message="Error: Failed to load class Nope.")))
    assert "Failed to load class Nope." in (run.message or "")


def test_an_oom_kill_has_its_reason() -> None:
    run = run_of(pod("Failed", ended(137, "OOMKilled")))
    assert (run.reason, run.exit_code) == ("OOMKilled", 137)


def test_an_eviction_has_its_reason() -> None:
    given = pod("Failed", ended(137))
    given["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
    run = run_of(given)
    assert (run.verdict, run.reason) == (Verdict.FAILED, "Evicted")


def test_what_it_waits_for_is_said() -> None:
    run = run_of(pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}))
    assert (run.reason, run.message) == ("ImagePullBackOff", "ErrImagePull: no such image")
    given = pod("Pending")
    given["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    assert run_of(given).reason == "Unschedulable"


def test_a_log_is_worth_reading_of_what_failed_by_itself() -> None:
    assert has_failed(pod("Failed", ended(1)))
    assert not has_failed(pod("Succeeded", ended(0)))
    assert not has_failed(pod("Failed", ended(143, at=LATER), **DELETED))
    assert not has_failed(pod("Failed", ended(1), finalizers=[]))
