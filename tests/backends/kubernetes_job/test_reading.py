"""What a Job and its pods mean, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_job.manifest import QUEUE
from durablejob_controller.backends.kubernetes_job.reading import needs_pods, run_of
from durablejob_controller.backends.kubernetes_objects.objects import HOLD

THEN, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
OWNED = {"ownerReferences": [{"kind": "DurableJob", "uid": "u"}]}
FOREGROUND = {"deletionTimestamp": THEN, "finalizers": [HOLD, "foregroundDeletion"]}
Object = dict[str, Any]


def job(suspend: bool = False, *, status: Object | None = None, **meta: Any) -> Object:
    given = {"uid": "o1", "name": "dj-k", "namespace": "n", "finalizers": [HOLD], **meta}
    return {"metadata": given, "spec": {"suspend": suspend}, "status": status or {}}


def ended(kind: str, at: str | None = THEN, **fields: str) -> Object:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": at, **fields}]}


def pod(phase: str, *containers: Object, **status: Any) -> Object:
    named = [{"name": "main", "state": state} for state in containers]
    return {"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": named, **status}}


def exited(code: int, reason: str = "Error") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason}}


def said(run: Run) -> tuple[object, ...]:
    return run.verdict or run.phase, run.condemned


NO_NODE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
CASES: dict[str, tuple[Object, list[Object], tuple[object, str | None]]] = {
    "inert": (job(True, finalizers=[], **OWNED), [], (Phase.INERT, None)),
    "inert, and being deleted": (job(True, **OWNED, **{**FOREGROUND, "finalizers": []}), [], (Phase.INERT, None)),
    "activated, no pod yet": (job(), [], (Phase.QUEUED, None)),
    "its pod is pending": (job(status={"active": 1, "ready": 0}), [pod("Pending")], (Phase.QUEUED, None)),
    "its pod is ready": (job(status={"active": 1, "ready": 1}), [], (Phase.RUNNING, None)),
    "its pod runs, and is not ready": (job(), [pod("Running")], (Phase.RUNNING, None)),
    "its pod has ended, the Job not yet": (job(), [pod("Failed", exited(3))], (Phase.RUNNING, None)),
    "in Kueue's queue": (job(True, labels={QUEUE: "q"}), [], (Phase.QUEUED, None)),
    "suspended by Kueue after it began": (
        job(True, labels={QUEUE: "q"}, status={"startTime": THEN}), [], (Phase.QUEUED, "Preempted")),
    "suspended by hand": (job(True), [], (Phase.QUEUED, "Preempted")),
    "suspended, its pod still runs": (job(True, status={"startTime": THEN}), [pod("Running")],
        (Phase.RUNNING, "Preempted")),
    "deleted in the foreground, its pod still runs": (job(**FOREGROUND), [pod("Running")], (Phase.RUNNING, None)),
    "deleted in the foreground, its pods not yet looked for": (job(**FOREGROUND), [], (Phase.QUEUED, None)),
    "deleted in the background, its pod runs on": (
        job(deletionTimestamp=THEN), [pod("Running")], (Phase.RUNNING, "DeletedExternally")),
    "deleted, and no pod is left": (job(deletionTimestamp=THEN), [], (Verdict.DELETED, None)),
    "deleted, and its pod has ended": (job(deletionTimestamp=THEN), [pod("Failed", exited(143))],
        (Verdict.DELETED, None)),
    "suspended, deleted, and no pod is left": (job(True, deletionTimestamp=THEN), [], (Verdict.DELETED, None)),
    "complete": (job(status=ended("Complete")), [], (Verdict.SUCCEEDED, None)),
    "complete before it was deleted": (job(**FOREGROUND, status=ended("Complete", LATER)), [],
        (Verdict.SUCCEEDED, None)),
    "failed": (job(status=ended("Failed")), [], (Verdict.FAILED, None)),
    "failed before it was deleted": (
        job(deletionTimestamp=LATER, status=ended("Failed", THEN)), [], (Verdict.FAILED, None)),
    "failed because it was deleted": (
        job(deletionTimestamp=THEN, status=ended("Failed", LATER)), [], (Verdict.DELETED, None)),
    "deleted, and failed, nobody says when": (
        job(deletionTimestamp=THEN, status=ended("Failed", None)), [], (Verdict.DELETED, None)),
    "about to fail": (job(status=ended("FailureTarget")), [], (Phase.QUEUED, None)),
}  # fmt: skip


@pytest.mark.parametrize(("given", "pods", "expected"), CASES.values(), ids=CASES.keys())
def test_the_run_is(given: Object, pods: list[Object], expected: tuple[object, str | None]) -> None:
    run = run_of(given, pods, 900)
    assert said(run) == expected
    assert (run.id, run.namespace, run.external_id) == ("o1", "n", "Job/dj-k")
    assert run.held is (HOLD in given["metadata"]["finalizers"])


ENDINGS: dict[str, tuple[Object, list[Object], tuple[str | None, int | None, str]]] = {
    "an exit code": (
        ended("Failed", reason="BackoffLimitExceeded", message="limit"), [pod("Failed", exited(3))],
        ("BackoffLimitExceeded", 3, "limit; container main of pod p ended with exit code 3 (Error)")),
    "out of memory": (
        ended("Failed", reason="BackoffLimitExceeded", message="limit"), [pod("Failed", exited(137, "OOMKilled"))],
        ("OOMKilled", 137, "exit code 137 (OOMKilled)")),
    "the Job's own deadline": (
        ended("Failed", reason="DeadlineExceeded", message="too long"), [],
        ("DeadlineExceeded", None, "DeadlineExceeded: too long")),
    "a failure policy": (
        ended("Failed", reason="PodFailurePolicy", message="rule 0"), [pod("Failed", exited(42))],
        ("PodFailurePolicy", 42, "rule 0; container main")),
    "evicted": (
        ended("Failed", reason="BackoffLimitExceeded", message="limit"), [pod("Failed", reason="Evicted")],
        ("Evicted", None, "pod p: Evicted")),
    "one of several": (
        ended("Failed", reason="BackoffLimitExceeded", message="limit"),
        [pod("Succeeded", exited(0)), pod("Failed", exited(0), exited(9))], ("BackoffLimitExceeded", 9, "code 9")),
    "nobody knows": (ended("Failed"), [], ("Failed", None, "Failed: the Job failed")),
}  # fmt: skip


@pytest.mark.parametrize(("status", "pods", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_failure_says_why(status: Object, pods: list[Object], expected: tuple[str | None, int | None, str]) -> None:
    run = run_of(job(status=status), pods, 900)
    assert (run.reason, run.exit_code) == expected[:2]
    assert expected[2] in (run.message or "")


WAITING: dict[str, tuple[Object, list[Object], tuple[str | None, str | None]]] = {
    "no image": (
        job(), [pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})],
        ("ImagePullBackOff", "ImagePullBackOff: no such image")),
    "no image, at the first try": (
        job(), [pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}})],
        ("ImagePullBackOff", "ErrImagePull: no such image")),
    "no node": (job(), [pod("Pending", conditions=NO_NODE)], ("Unschedulable", "Unschedulable: 0/3 nodes")),
    "a queue": (job(True, labels={QUEUE: "night"}), [], (None, "waiting for Kueue to admit it, queue night")),
    "nothing in particular": (job(), [pod("Pending", {"waiting": {"reason": "ContainerCreating"}})], (None, None)),
}  # fmt: skip


def test_its_pods_have_so_long_to_start_on_their_nodes() -> None:
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    given = pod("Pending", {"waiting": {"reason": "ErrImagePull"}}, conditions=[placed])
    assert run_of(job(), [given], 60).expires == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert run_of(job(), [pod("Pending", conditions=NO_NODE)], 60).expires is None
    given["status"]["initContainerStatuses"] = [{"name": "first", "state": {"running": {}}}]
    assert run_of(job(), [given], 60).expires is None


@pytest.mark.parametrize(("given", "pods", "expected"), WAITING.values(), ids=WAITING.keys())
def test_a_run_that_waits_says_for_what(
    given: Object, pods: list[Object], expected: tuple[str | None, str | None]
) -> None:
    run = run_of(given, pods, 900)
    assert (run.reason, run.message) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (job(True, finalizers=[], **OWNED), False),
        (job(status={"ready": 1}), False),
        (job(status={"ready": 0}), True),
        (job(**FOREGROUND, status={"ready": 1}), True),
        (job(status=ended("Failed")), True),
        (job(finalizers=[], status=ended("Failed")), False),
    ],
    ids=["inert", "ready", "not ready", "deleted", "ended", "ended and released"],
)
def test_pods_are_asked_for_only_while_they_say_more(given: Object, expected: bool) -> None:
    assert needs_pods(given) is expected
