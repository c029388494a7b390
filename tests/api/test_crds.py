"""The CRDs on a real API server: what a user sees of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from durablejob_api import FINALIZER
from durablejob_api.conditions import job_conditions
from durablejob_api.status import (
    Claim,
    ClaimState,
    Current,
    DurableJobStatus,
    Ending,
    Outcome,
    PastAttempt,
    Progress,
    Reservation,
    State,
)
from tests.api.client import Api, Json, Refused, merged
from tests.api.states import JOB, SPEC, Situations
from tests.testbed import TestbedError
from tests.testbed.kube import Cluster

LABELS = {
    "durablejob.io/dag-id": "sales",
    "durablejob.io/task-id": "load",
    "durablejob.io/run-id": "scheduled__2026-01-01",
}


@pytest.fixture(scope="module")
def running(api: Api, situations: Situations) -> str:
    """A running job with everything that a column shows."""
    api.create(JOB, "sales-daily", SPEC, keep=True, labels=LABELS)
    api.patch(JOB, "sales-daily", {"state": "Running", "externalID": "driver-7"}, status=True, keep=True)
    current = {"number": 1, "key": "a" * 20, "reason": "Executing"}
    api.patch(JOB, "sales-daily", {"current": current, "progress": {"percent": 40}}, status=True, keep=True)
    return "sales-daily"


@pytest.mark.parametrize("kind", ["DurableJob", "JobBackend", "ClusterJobBackend"])
def test_every_field_is_described(crds: Cluster, kind: str) -> None:
    """As published by the API server, which is what ``kubectl explain`` prints."""
    document = json.loads(crds.kubectl("get", "--raw", "/openapi/v3/apis/durablejob.io/v1alpha1"))
    schema = document["components"]["schemas"][f"io.durablejob.v1alpha1.{kind}"]
    assert [path for path, text in _fields(schema, kind) if not text] == []


def test_kubectl_explain_prints_it(crds: Cluster) -> None:
    assert "The start gate's record" in crds.kubectl("explain", "dj.status.current.claim")


def _fields(schema: Json, path: str) -> list[tuple[str, str]]:
    found = [(f"{path}.{name}", child.get("description", "")) for name, child in schema.get("properties", {}).items()]
    for name, child in schema.get("properties", {}).items():
        found += _fields(child, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            found += _fields(schema[inner], path + "[]")
    return found


def test_the_columns_tell_a_jobs_story(crds: Cluster, api: Api, running: str) -> None:
    lines = crds.kubectl("get", "dj", running, "-n", api.namespace).splitlines()
    assert lines[0].split() == ["NAME", "STATE", "BACKEND", "EXTERNAL-ID", "ATTEMPT", "PROGRESS", "AGE"]
    assert lines[1].split()[:6] == [running, "Running", "spark-prod", "driver-7", "1", "40"]


def test_wide_columns_add_the_reason_and_airflows_names(crds: Cluster, api: Api, running: str) -> None:
    lines = crds.kubectl("get", "dj", running, "-n", api.namespace, "-o", "wide").splitlines()
    assert lines[0].split()[7:] == ["REASON", "DAG", "TASK", "RUN"]
    assert lines[1].split()[7:] == ["Executing", "sales", "load", "scheduled__2026-01-01"]


def test_a_backends_columns_say_what_it_can_promise(crds: Cluster, api: Api) -> None:
    since = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "Probed", "message": "", "lastTransitionTime": since}
    api.create("JobBackend", "fake", {"plugin": {"name": "fake"}}, keep=True)
    status = {"type": "Plugin", "guarantee": "Exact", "version": "1", "conditions": [ready]}
    api.patch("JobBackend", "fake", status, status=True, keep=True)
    lines = crds.kubectl("get", "jb", "fake", "-n", api.namespace).splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "READY", "GUARANTEE", "VERSION", "AGE"]
    assert lines[1].split()[:5] == ["fake", "Plugin", "True", "Exact", "1"]
    crds.kubectl("get", "cjb")


def test_get_all_shows_jobs_too(crds: Cluster, api: Api, running: str) -> None:
    """The jobs are found by the category; backends are not among what one deletes with ``delete all``."""
    names = crds.kubectl("get", "all", "-n", api.namespace, "-o", "name").split()
    assert f"durablejob.durablejob.io/{running}" in names
    assert not any("backend" in name for name in names)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("status.state=Running,status.externalID=driver-7", True),
        ("status.externalID=driver-7,spec.backendRef.name=spark-prod", True),
        ("status.externalID=driver-7,status.state=Failed", False),
        ("status.externalID=driver-7,spec.backendRef.name!=spark-prod", False),
    ],
)
def test_jobs_are_selected_by_state_id_and_backend(api: Api, running: str, selector: str, selected: bool) -> None:
    assert api.list(JOB, selector) == ([running] if selected else [])


def test_an_unknown_field_is_named(crds: Cluster, api: Api) -> None:
    with pytest.raises(Refused, match=r'unknown field "spec\.spark\.mainClas"'):
        api.create(JOB, "new", merged(SPEC, {"spark": {"mainClas": "a.B"}}))
    manifest = {"apiVersion": "durablejob.io/v1alpha1", "kind": JOB, "metadata": {"name": "new"}}
    body = json.dumps(manifest | {"spec": merged(SPEC, {"suspended": True})})
    with pytest.raises(TestbedError, match=r'unknown field "spec\.suspended"'):
        crds.kubectl("apply", "-n", api.namespace, "--dry-run=server", "-f", "-", input=body)


def test_a_jobs_status_is_nobodys_to_write_on_the_resource_itself(api: Api, situations: Situations) -> None:
    before = api.patch(JOB, situations.name("started"), {})
    assert api.patch(JOB, "started", {"suspend": True})["status"] == before["status"]


UID = "4f310ce1-7a61-41bf-aa3d-d8d9d6d107d6"
SPARK = {
    "mainApplicationFile": "s3a://artifacts/sales/etl-1.4.2-assembly.jar",
    "mainClass": "com.example.sales.DailyLoad",
    "arguments": ["--date", "2026-01-01", "--table", "sales.daily", "--mode", "overwrite"],
    "conf": {f"spark.sql.some.ordinary.setting.{n}": "some-value" for n in range(6)},
    "executor": {"instances": 8, "cores": 4, "memory": "8g"},
    "jars": ["s3a://artifacts/lib/connector-2.0.jar"],
    "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
}


def _full_status(now: datetime) -> DurableJobStatus:
    """A failed job's status with everything that is usual, after an attempt before."""
    say = "The program ended with exit code 3: see the driver's log."
    driver = "driver-20260101000000-0042"
    reservation = Reservation(backend_uid=UID, backend_type="SparkStandalone", cluster_id="spark://m1:7077,m2:7077",
                              incarnation=UID, body_hash="f" * 64, at=now)  # fmt: skip
    claim = Claim(number=1, state=ClaimState.ENDED, nonce=UID, driver=driver, how=Ending.EXIT)
    current = Current(number=1, key="a" * 20, reservation=reservation, claim=claim, started_at=now, finished_at=now,
                      exit_code=3, outcome=Outcome.FAILED, reason="ExitCode", message=say)  # fmt: skip
    past = PastAttempt(number=1, outcome=Outcome.FAILED, reason="ExitCode", message=say, external_id=driver,
                       started_at=now, finished_at=now)  # fmt: skip
    conditions = job_conditions((), state=State.FAILED, accepted=True, submitted=True, running=False,
                                reachable=True, reason="ExitCode", message=say, generation=3, now=now)  # fmt: skip
    return DurableJobStatus(
        observed_generation=3,
        state=State.FAILED,
        external_id=driver,
        tracking_url=f"http://master-1.spark.example.com:8080/driver?id={driver}",
        progress=Progress(percent=80, message="stage 8 of 10"),
        current=current,
        history=(past,),
        conditions=conditions,
    )


def test_a_typical_full_object_is_small(api: Api) -> None:
    """As stored. What the API server adds for server-side apply (managedFields) is measured apart."""
    name = "sales-daily-load-k3v9q2x7ma"
    spec = merged(SPEC, {"spark": SPARK, "activeDeadlineSeconds": 7200})
    api.create(JOB, name, spec, keep=True, labels=LABELS, finalizers=[FINALIZER])
    full = api.patch(JOB, name, _full_status(datetime(2026, 1, 1, tzinfo=UTC)).to_api(), status=True, keep=True)
    managed = full["metadata"].pop("managedFields")
    assert _size(full) < 4096
    assert _size(managed) < 1024
    api.drop_finalizers(JOB, name)


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")))
