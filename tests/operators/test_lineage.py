"""The task as its Spark application's parent in OpenLineage: by the OpenLineage provider itself, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from durablejob_airflow.operators import DurableSparkSubmitOperator, spark
from durablejob_airflow.operators.spark import with_lineage
from durablejob_airflow.payload import differences
from tests.testbed import cache, pip

PROVIDER = (
    "apache-airflow-providers-openlineage==2.20.3", "openlineage-python==1.54.0",
    "openlineage-integration-common==1.54.0", "openlineage-sql==1.54.0", "httpx2==2.16.2", "httpcore2==2.16.2",
    "truststore==0.10.5",
)  # fmt: skip
"""Not in the test extra: its plugin would be imported by every Airflow process of the tests."""
INJECTING = """
import json, sys
from datetime import UTC, datetime
from types import SimpleNamespace as Some
from durablejob_airflow.operators.spark import with_lineage
now = datetime.now(UTC)
run = Some(logical_date=now, run_after=now, clear_number=0, dag_id="dag", conf={})
ti = Some(dag_id="dag", task_id="task", run_id="run", map_index=-1, try_number=int(sys.argv[1]), logical_date=now,
          dag_run=run, get_template_context=lambda: {"dag_run": run})
print(json.dumps(with_lineage({"spark.own": "1"}, {"ti": ti})))
"""
TASK: dict[str, Any] = {"task_id": "t", "application": "local:///a.py", "retries": 1}


def injected(provider: Path, try_number: int) -> dict[str, str]:
    """What the real provider makes of a configuration, in a process that has it."""
    done = subprocess.run(
        [sys.executable, "-c", INJECTING, str(try_number)],
        env={**os.environ, "PYTHONPATH": str(provider)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_without_the_provider_it_is_not_left_out_without_a_word():
    with pytest.raises(AirflowFailException, match="install apache-airflow-providers-openlineage"):
        with_lineage({}, {})


def test_it_is_off_unless_asked_for(monkeypatch):
    assert DurableSparkSubmitOperator(**TASK).openlineage_inject_parent_job_info is False
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__SPARK_INJECT_PARENT_JOB_INFO", "True")
    assert DurableSparkSubmitOperator(**TASK).openlineage_inject_parent_job_info is True
    given = DurableSparkSubmitOperator(**TASK, openlineage_inject_parent_job_info=False)
    assert given.openlineage_inject_parent_job_info is False


def test_an_application_is_given_it_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(spark, "with_lineage", lambda conf, context: {**conf, "parent": context["run_id"]})
    for asked, found in ((True, {"spark.own": "1", "parent": "r"}), (False, {"spark.own": "1"})):
        operator = DurableSparkSubmitOperator(**TASK, conf={"spark.own": "1"}, openlineage_inject_parent_job_info=asked)
        operator.fill_in({"run_id": "r"})
        assert operator.work()["spark"]["conf"] == found


def test_an_application_learns_its_task_and_a_retry_is_no_change_of_the_work():
    provider = cache.made(f"openlineage-{cache.key(*PROVIDER)}", lambda target: pip.install(target, *PROVIDER))
    first, second = (injected(provider, number) for number in (1, 2))
    assert first["spark.own"] == "1"
    assert first["spark.openlineage.parentJobName"] == "dag.task"
    assert first["spark.openlineage.parentRunId"] != second["spark.openlineage.parentRunId"]
    specs = [DurableSparkSubmitOperator(**TASK, conf=conf).work() for conf in (first, second, {"spark.own": "2"})]
    assert differences(specs[0], specs[1]) == []
    assert len(differences(specs[0], specs[2])) == 1
