"""Bad input: each gives a reason that a user can act on, in the condition and the event; the other jobs go on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import SparkSpec, elsewhere, standalone_spec
from tests.e2e.desk import Desk
from tests.e2e.proxies import refusing
from tests.testbed.errors import TestbedError
from tests.testbed.spark.standalone import Standalone


def said(status: dict[str, Any], type_: str) -> tuple[str, str]:
    """Reason and message of a condition."""
    return next((c["reason"], c["message"]) for c in status["conditions"] if c["type"] == type_)


def pending(desk: Desk, name: str, reason: str) -> dict[str, Any]:
    """Wait until the job says why it does not start."""
    found = desk.until(
        "durablejobs", name, lambda o: o.get("status", {}).get("current", {}).get("reason") == reason, 60
    )
    status: dict[str, Any] = found["status"]
    return status


def test_a_missing_backend_is_waited_for_and_named(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(elsewhere(spark_job("nowhere"), name="nowhere"), "nowhere")
    status = pending(desk, name, "BackendNotFound")
    assert status["state"] == "Pending"
    words = "no JobBackend nowhere in namespace default"
    assert words in said(status, "Submitted")[1]
    assert words in desk.told(name, "BackendNotFound")
    desk.delete(name)


def test_a_cluster_backend_that_does_not_admit_the_namespace_refuses(
    desk: Desk, spark_job: SparkSpec, standalone: Standalone
) -> None:
    spec = {**standalone_spec(standalone), "namespaces": ["another"]}
    desk.apply({"kind": "ClusterJobBackend", "metadata": {"name": "closed"}, "spec": spec})
    ref = {"kind": "ClusterJobBackend", "name": "closed"}
    name = desk.submit(elsewhere(spark_job("closed"), **ref), "closed")
    status = desk.end(name)
    assert (status["state"], status["current"]["reason"]) == ("Failed", "BackendNotAllowed")
    assert "spec.namespaces" in said(status, "Failed")[1]
    assert said(status, "Accepted")[0] == "BackendNotAllowed"
    assert "spec.namespaces" in desk.told(name, "BackendNotAllowed")


def test_an_unreachable_backend_is_not_ready_and_its_jobs_say_so(desk: Desk, spark_job: SparkSpec) -> None:
    dead = {"rest": "http://127.0.0.1:9", "ui": "http://127.0.0.1:9"}
    desk.backend("dead", {"sparkStandalone": {"masters": [dead]}, "artifactSchemes": ["local"]})
    ready = next(c for c in desk.get("dead", "jobbackends")["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "MasterUnreachable")
    name = desk.submit(elsewhere(spark_job("unreachable"), name="dead"), "unreachable")
    status = pending(desk, name, "BackendNotReady")
    assert "127.0.0.1:9" in said(status, "Submitted")[1]
    assert "127.0.0.1:9" in desk.told(name, "BackendNotReady")
    assert desk.conditions(name)["BackendReachable"] == "False"
    desk.delete(name)


def test_refused_credentials_are_told_apart(desk: Desk, spark_job: SparkSpec) -> None:
    with refusing() as url:
        masters = [{"rest": url, "ui": url}]
        desk.backend("refusing", {"sparkStandalone": {"masters": masters}, "artifactSchemes": ["local"]})
        name = desk.submit(elsewhere(spark_job("refused"), name="refusing"), "refused")
        status = pending(desk, name, "BackendNotReady")
        assert "CredentialsRefused" in said(status, "Submitted")[1]
        assert "CredentialsRefused" in desk.told(name, "BackendNotReady")
        desk.delete(name)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"mainApplicationFile": "ftp://host/a.jar"}, "SchemeNotAllowed", "mainApplicationFile"),
        ({"jars": ["http://169.254.169.254/x.jar"]}, "SchemeNotAllowed", "jars"),
        ({"conf": {"spark.master": "local"}}, "ForbiddenConf", "spark.master"),
        ({"conf": {"spark.driver.extraJavaOptions": "-javaagent:x.jar"}}, "ForbiddenConf", "extraJavaOptions"),
    ],
)
def test_work_that_the_backend_does_not_allow_names_the_field(
    desk: Desk, spark_job: SparkSpec, change: dict[str, Any], reason: str, words: str
) -> None:
    name = desk.submit(spark_job("not-allowed", spark=change))
    status = desk.end(name)
    assert (status["state"], status["current"]["reason"]) == ("Failed", reason)
    assert words in said(status, "Failed")[1]
    assert words in desk.told(name, reason)
    assert desk.starts()["not-allowed"] == 0


def test_work_that_does_not_fit_the_backend_is_refused(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(elsewhere(spark_job("misfit"), type="Yarn"), "misfit")
    status = desk.end(name)
    assert (status["state"], status["current"]["reason"]) == ("Failed", "BackendTypeMismatch")
    words = "spec.backendRef.type is Yarn, but backend spark is of type SparkStandalone"
    assert words in said(status, "Failed")[1]
    assert words in desk.told(name, "BackendTypeMismatch")
    assert desk.conditions(name)["Accepted"] == "False"


def test_an_application_file_that_does_not_exist_is_named(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(spark_job("absent", spark={"mainApplicationFile": "local:///no/such.jar"}), "absent")
    status = desk.end(name, timeout=90)
    assert status["state"] == "Failed"
    reason, message = said(status, "Failed")
    assert "/no/such.jar" in message
    assert "/no/such.jar" in desk.told(name, reason)


def test_a_driver_that_no_worker_has_room_for_says_so_and_can_be_cancelled(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(spark_job("too-large", spark={"driver": {"cores": 500, "memory": "512m"}}), "too-large")
    found = desk.until("durablejobs", name, lambda o: o.get("status", {}).get("state") == "Submitted", 60)
    assert "500 cores" in found["status"]["current"]["message"]
    assert "500 cores" in said(found["status"], "Running")[1]
    assert "500 cores" in desk.told(name, found["status"]["current"]["reason"])
    desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
    assert desk.end(name)["state"] == "Cancelled"


def test_the_api_server_refuses_a_wrong_union_with_the_field(desk: Desk, spark_job: SparkSpec) -> None:
    spec = {**spark_job("union"), "plugin": {"parameters": {}}}
    with pytest.raises(TestbedError, match="exactly one of spark, kubernetesJob, yarn, plugin"):
        desk.submit(spec, "union")


def test_the_api_server_refuses_a_change_of_running_work(desk: Desk, spark_job: SparkSpec) -> None:
    name = desk.submit(spark_job("steady", seconds=60), "steady")
    desk.state(name, "Running", timeout=90)
    with pytest.raises(TestbedError, match=r"spec: the work may change only together with spec\.attempt"):
        desk.patch(name, {"spark": {"arguments": ["other"]}})
    with pytest.raises(TestbedError, match=r"spec\.attempt: may only grow by one, from a finished attempt"):
        desk.patch(name, {"attempt": 2, "spark": {"arguments": ["other"]}})
    desk.delete(name)


def test_other_jobs_go_on_beside_every_kind_of_bad_input(desk: Desk, spark_job: SparkSpec) -> None:
    """Those that wait for something, too, wait alone."""
    with refusing() as url:
        for backend, address in (("away", "http://127.0.0.1:9"), ("locked", url)):
            masters = [{"rest": address, "ui": address}]
            desk.backend(backend, {"sparkStandalone": {"masters": masters}, "artifactSchemes": ["local"]})
        bad = {
            "beside-nowhere": elsewhere(spark_job("bad"), name="nowhere"),
            "beside-away": elsewhere(spark_job("bad"), name="away"),
            "beside-locked": elsewhere(spark_job("bad"), name="locked"),
            "beside-ftp": spark_job("bad", spark={"mainApplicationFile": "ftp://host/a.jar"}),
            "beside-absent": spark_job("bad", spark={"mainApplicationFile": "local:///no/such.jar"}),
            "beside-large": spark_job("bad", spark={"driver": {"cores": 500, "memory": "512m"}}),
        }
        for name, spec in bad.items():
            desk.submit(spec, name)
        good = [desk.submit(spark_job(f"beside-{n}"), f"beside-{n}") for n in range(2)]
        assert [desk.end(name)["state"] for name in good] == ["Succeeded", "Succeeded"]
        waiting = {name: desk.get(name)["status"]["state"] for name in bad}
        assert waiting["beside-nowhere"] == waiting["beside-away"] == waiting["beside-locked"] == "Pending"
        for name in bad:
            desk.delete(name)
    assert desk.starts()["bad"] == 0


def test_wait_for_finished_returns_for_a_failing_job_and_events_tell_one_line_per_transition(
    desk: Desk, spark_job: SparkSpec
) -> None:
    name = desk.submit(spark_job("story", "throw"), "story")
    desk.cluster.kubectl("-n", "default", "wait", "--for=condition=Finished", f"dj/{name}", "--timeout=90s")
    desk.told(name, "ProgramFailed")  # events are written after the status
    told = desk.events(name)
    assert told[0] == "Submitting"
    assert told[-1] == "ProgramFailed"
    assert len(told) == len(set(told)), told
