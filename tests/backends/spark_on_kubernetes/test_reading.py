"""What a driver's Pod means, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.kubernetes_objects.objects import HOLD
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER, GATE
from durablejob_controller.backends.spark_on_kubernetes.reading import EXCEPTION, has_failed, is_worth_telling
from durablejob_controller.backends.spark_on_kubernetes.reading import run_of as read

Object = dict[str, Any]
OWNED = {"ownerReferences": [{"kind": "DurableJob", "uid": "u"}], "finalizers": []}
ASKED, EARLIER, LATER = "2026-01-01T00:01:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:01:02Z"
DELETED = {"deletionTimestamp": "2026-01-01T00:01:30Z", "deletionGracePeriodSeconds": 30}
"""Asked for at ``ASKED``."""
OVER = {"deletionTimestamp": LATER, "deletionGracePeriodSeconds": 0}
"""The same, once the kubelet has deleted it for the last time: when it was asked for is no more known."""


def pod(phase: str, state: Object | None = None, gates: tuple[str, ...] = (), **meta: Any) -> Object:
    given = {"uid": "o1", "name": "dj-k", "namespace": "n", "finalizers": [HOLD], **meta}
    spec = {"schedulingGates": [{"name": name} for name in gates]}
    spec |= {"nodeName": "n1"} if state is not None else {}
    status: Object = {"phase": phase}
    if state is not None:
        status |= {"containerStatuses": [{"name": CONTAINER, "state": state}]}
    return {"metadata": given, "spec": spec, "status": status}


def run_of(given: Object, tail: str | None = None) -> Run:
    return read(given, 900, tail=tail)


def taken(given: Object, reason: str) -> Object:
    """The cluster has taken it away."""
    said = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "m"}
    given["status"]["conditions"] = [said]
    return given


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
    "it was deleted and told to end, and nothing of it is left": (pod("Failed", ended(143), **OVER), Verdict.DELETED),
    "it was deleted and killed for not ending": (pod("Failed", ended(137), **OVER), Verdict.DELETED),
    "it was deleted by force": (pod("Failed", ended(1, at=LATER), **OVER), Verdict.DELETED),
    "it failed, was then deleted, and nothing of it is left": (pod("Failed", ended(1), **OVER), Verdict.FAILED),
    "it had no memory, and was then deleted": (pod("Failed", ended(137, "OOMKilled"), **OVER), Verdict.FAILED),
    "it was deleted before it had a node": (pod("Pending", **DELETED), Verdict.DELETED),
    "it was deleted on its node before the kubelet has ended it": (
        pod("Pending", {"waiting": {"reason": "ContainerCreating"}}, **DELETED),
        Phase.QUEUED,
    ),
    "it was deleted before its program began": (
        pod("Failed", {"terminated": {"exitCode": 137, "finishedAt": None}}, **DELETED),
        Verdict.DELETED,
    ),
    "its node is gone for good": (pod("Failed", {"running": {}}, **DELETED), Verdict.DELETED),
    "it was evicted": (taken(pod("Failed", ended(143, at=LATER), **DELETED), "EvictionByEvictionAPI"), Verdict.FAILED),
    "it was evicted, and is ending": (
        taken(pod("Running", {"running": {}}, **DELETED), "EvictionByEvictionAPI"),
        Phase.RUNNING,
    ),
    "it had ended well before it was evicted": (
        taken(pod("Succeeded", ended(0), **DELETED), "EvictionByEvictionAPI"),
        Verdict.SUCCEEDED,
    ),
    "it succeeded, and what others have put beside it runs on": (pod("Running", ended(0)), Verdict.SUCCEEDED),
    "it failed, and what others have put beside it runs on": (pod("Running", ended(3)), Verdict.FAILED),
    "it succeeded, and what others have put beside it failed": (pod("Failed", ended(0)), Verdict.SUCCEEDED),
    "it failed before it was deleted, and what is beside it runs on": (
        pod("Running", ended(3), **DELETED),
        Verdict.FAILED,
    ),
    "it succeeded while it was being deleted, and what is beside it runs on": (
        pod("Running", ended(0, at=LATER), **DELETED),
        Verdict.SUCCEEDED,
    ),
    "it was deleted, and ended by that before what is beside it": (
        pod("Running", ended(143, at=LATER), **DELETED),
        Verdict.DELETED,
    ),
    "its node does not answer": (pod("Unknown", {"running": {}}), Phase.RUNNING),
    "no node would have it": (pod("Failed"), Verdict.FAILED),
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


def test_without_that_what_the_program_has_left_for_the_kubelet_is_told() -> None:
    assert "no such table" in (run_of(pod("Failed", ended(7, message="no such table"))).message or "")
    assert "class or file is not there" in (run_of(pod("Failed", ended(101))).message or "")


def test_an_oom_kill_has_its_reason() -> None:
    run = run_of(pod("Failed", ended(137, "OOMKilled")))
    assert (run.reason, run.exit_code) == ("OOMKilled", 137)


def test_an_eviction_has_its_reason() -> None:
    given = pod("Failed", ended(137))
    given["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
    run = run_of(given)
    assert (run.verdict, run.reason) == (Verdict.FAILED, "Evicted")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("EvictionByEvictionAPI", "Evicted"),
        ("DeletionByTaintManager", "Evicted"),
        ("PreemptionByScheduler", "Preempted"),
        ("DeletionByPodGC", "NodeGone"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_what_the_cluster_has_taken_away_says_so(reason: str, expected: str) -> None:
    for end in (ended(143, at=LATER), {"running": {}}):
        run = run_of(taken(pod("Failed", end, **DELETED), reason))
        assert (run.verdict, run.reason) == (Verdict.FAILED, expected)
        assert reason in (run.message or "")


def test_a_pythons_exception_is_in_its_log_only() -> None:
    said = "org.apache.spark.SparkUserAppException: User application exited with 1"
    given = pod("Failed", ended(1), annotations={EXCEPTION: f"{said}\n\tat org.apache.spark.deploy.X(X.scala:1)"})
    assert said in (run_of(given).message or "")
    told = run_of(given, "ValueError: boom").message or ""
    assert told == "the driver ended with exit code 1 (Error). Its last lines:\nValueError: boom"


def test_of_a_stack_trace_the_exceptions_are_told() -> None:
    trace = "a.B: outer\n\tat x.Y(Y.java:1)\nCaused by: c.D: inner\n\t... 3 more\n"
    assert (run_of(pod("Failed", ended(1), annotations={EXCEPTION: trace})).message or "").endswith(
        ": a.B: outer\nCaused by: c.D: inner"
    )


def test_sparks_own_lines_are_not_worth_telling() -> None:
    assert not is_worth_telling("26/11/22 16:00:00 INFO SparkContext: Successfully stopped SparkContext")
    assert not is_worth_telling("26/11/22 16:00:00 WARN NativeCodeLoader: Unable to load")
    assert is_worth_telling("26/11/22 16:00:00 ERROR TaskSetManager: Task 0 failed 4 times")
    assert is_worth_telling("ValueError: boom")


def test_it_has_so_long_to_start_on_its_node() -> None:
    given = pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}})
    given["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER}]
    assert run_of(given).expires == datetime(2026, 1, 1, 0, 15, 10, tzinfo=UTC)
    given["status"]["initContainerStatuses"] = [{"name": "first", "state": {"running": {}}}]
    assert run_of(given).expires is None
    assert run_of(pod("Pending")).expires is None


@pytest.mark.parametrize("kind", ["PodScheduled", "Initialized"])
def test_a_condition_need_not_say_since_when_it_is_true(kind: str) -> None:
    """It is null where it is not set: a virtual kubelet's, perhaps."""
    given = pod("Pending", {"waiting": {"reason": "ContainerCreating"}})
    given["status"]["conditions"] = [{"type": kind, "status": "True", "lastTransitionTime": None}]
    run = run_of(given)
    assert (run.phase, run.expires) == (Phase.QUEUED, None)


def test_once_its_init_containers_are_done_with_it_has_as_long_again() -> None:
    given = pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER}
    sidecar = {"name": "proxy", "state": {"running": {}}}
    first = {"name": "first", "state": {"terminated": {"exitCode": 0}}}
    given["status"] |= {"conditions": [placed], "initContainerStatuses": [first, sidecar]}
    assert run_of(given).expires is None
    given["status"]["conditions"].append({"type": "Initialized", "status": "True", "lastTransitionTime": ASKED})
    assert run_of(given).expires == datetime(2026, 1, 1, 0, 16, 0, tzinfo=UTC)
    given["status"]["containerStatuses"].append({"name": "beside", "state": {"running": {}}})
    assert run_of(given).expires is None


def test_a_sidecar_that_is_started_again_and_again_has_begun() -> None:
    given = pod("Pending", {"waiting": {"reason": "PodInitializing"}})
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER}
    crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}
    given["status"] |= {"conditions": [placed], "initContainerStatuses": [{"name": "proxy", **crashed}]}
    run = run_of(given)
    assert (run.reason, run.expires) == ("CrashLoopBackOff", None)


def test_its_ui_is_told_while_it_runs() -> None:
    url = "http://dj-k-ui.n.svc:4040"
    assert read(pod("Running", {"running": {}}), 900, url).tracking_url == url
    assert read(pod("Pending"), 900, url).tracking_url is None


def test_what_it_waits_for_is_said() -> None:
    run = run_of(pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}))
    assert (run.reason, run.message) == ("ImagePullBackOff", "ErrImagePull: no such image")
    given = pod("Pending")
    given["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    assert run_of(given).reason == "Unschedulable"


def test_a_gate_is_told_as_long_as_there_is_one() -> None:
    given = pod("Pending", gates=("example.com/approval",))
    given["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
    assert run_of(given).reason == "SchedulingGated"
    given["spec"]["schedulingGates"] = []
    assert run_of(given).reason is None


def test_a_log_is_worth_reading_of_what_failed_by_itself() -> None:
    assert has_failed(pod("Failed", ended(1)))
    assert has_failed(pod("Running", ended(1)))
    assert not has_failed(pod("Succeeded", ended(0)))
    assert not has_failed(pod("Failed", ended(0)))
    assert not has_failed(pod("Failed", ended(143, at=LATER), **DELETED))
    assert not has_failed(pod("Failed", ended(1), finalizers=[]))
