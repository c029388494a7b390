"""What the operators take, and what they refuse when a DAG is parsed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import durablejob_airflow
import durablejob_airflow.example_dags
from durablejob_airflow.compat import require_airflow
from durablejob_airflow.operators import DurableJobOperator, DurableSparkSubmitOperator, DurableYarnOperator
from durablejob_airflow.payload import WrongArguments, build_spec

SPARK: dict[str, Any] = {"task_id": "t", "application": "local:///a.py", "retries": 1}


def test_a_dag_moves_over_by_import_and_connection():
    operator = DurableSparkSubmitOperator(
        **SPARK, conn_id="my_durablejob", status_poll_interval=3, conf={"spark.x": 1}, application_args=[1]
    )
    assert (operator.durablejob_conn_id, operator.poll_interval) == ("my_durablejob", 3)
    assert operator.work()["spark"]["arguments"] == ["1"]


@pytest.fixture
def with_spark_home(monkeypatch):
    """A connection that says where Spark lies in the cluster."""
    extra = {"deployment_id": "tests", "spark_home": "local:///opt/spark/"}
    monkeypatch.setenv("AIRFLOW_CONN_HOME", json.dumps({"conn_type": "durablejob", "extra": extra}))
    return "home"


@pytest.mark.parametrize("text", ["${SPARK_HOME}/examples/pi.py", "$SPARK_HOME/examples/pi.py"])
def test_sparks_home_is_what_the_connection_says(with_spark_home, text):
    given = {**SPARK, "application": text, "jars": f"{text},local:///own.jar", "files": [text]}
    spec = DurableSparkSubmitOperator(**given, conn_id=with_spark_home).work()["spark"]
    assert spec["mainApplicationFile"] == "local:///opt/spark/examples/pi.py"
    assert spec["jars"] == ["local:///opt/spark/examples/pi.py", "local:///own.jar"]
    assert spec["files"] == ["local:///opt/spark/examples/pi.py"]


def test_a_name_that_begins_like_sparks_home_is_left_alone():
    given = {**SPARK, "application": "local:///$SPARK_HOMES/a.py"}
    assert DurableSparkSubmitOperator(**given).work()["spark"]["mainApplicationFile"] == "local:///$SPARK_HOMES/a.py"


def test_without_a_spark_home_in_the_connection_it_says_what_to_do(monkeypatch):
    extra = {"deployment_id": "tests"}
    monkeypatch.setenv("AIRFLOW_CONN_HOMELESS", json.dumps({"conn_type": "durablejob", "extra": extra}))
    operator = DurableSparkSubmitOperator(**{**SPARK, "application": "${SPARK_HOME}/pi.py"}, conn_id="homeless")
    with pytest.raises(WrongArguments, match="Set 'Spark home' in connection 'homeless'"):
        operator.work()


def test_template_fields_hold_what_the_author_gave():
    given = {
        "conf": {"a": "{{ ds }}"},
        "application_args": ["{{ ds }}"],
        "env_vars": {"A": "{{ ds }}"},
        "name": "{{ ds }}",
    }
    operator = DurableSparkSubmitOperator(**SPARK, **given)
    assert all(getattr(operator, name) is value for name, value in given.items())
    assert all(hasattr(operator, name) for name in operator.template_fields)


def test_a_task_without_retries_is_warned_about():
    with pytest.warns(UserWarning, match="retries=0"):
        DurableJobOperator(task_id="t", spec={"plugin": {}}, retries=0)


@pytest.mark.parametrize("choice", [{"on_lost": "retry"}, {"on_work_changed": "restart"}])
def test_a_choice_that_does_not_exist_is_refused(choice):
    with pytest.raises(ValueError, match="is not one of"):
        DurableJobOperator(task_id="t", spec={"plugin": {}}, retries=1, **choice)


def test_a_spec_with_two_kinds_of_work_is_refused():
    with pytest.raises(ValueError, match="exactly one"):
        DurableJobOperator(task_id="t", spec={"plugin": {}, "spark": {}}, retries=1)


def test_an_older_airflow_is_refused_in_one_line():
    with pytest.raises(ImportError, match=r"needs Apache Airflow 3\.3 or newer \(found 3\.2\.1\)"):
        require_airflow("3.2.1")
    require_airflow("3.3.0rc1")
    require_airflow("4.0")


@pytest.mark.parametrize(
    ("distribution", "version"), [("apache_airflow_core", "3.2.1"), ("apache_airflow", "2.11.0"), (None, None)]
)
def test_on_an_older_airflow_the_import_says_so_in_one_line(tmp_path, distribution, version):
    """Airflow 2 has no apache-airflow-core; a folder beside ours plays the site-packages of such an Airflow."""
    if distribution:
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {distribution.replace('_', '-')}\nVersion: {version}\n")
    ours = Path(durablejob_airflow.__file__).parents[1]
    done = subprocess.run(  # -S: without our own site-packages, where a newer one is
        [sys.executable, "-S", "-c", "import durablejob_airflow.operators"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ours)])},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    found = version or "none"
    assert last.startswith(f"ImportError: durablejob needs Apache Airflow 3.3 or newer (found {found})"), done.stderr


def test_the_provider_is_found_by_airflow():
    from airflow.providers_manager import ProvidersManager

    [entry] = [point for point in entry_points(group="apache_airflow_provider") if point.dist.name == "durablejob"]
    info = entry.load()()
    assert info["package-name"] == entry.dist.name
    manager = ProvidersManager()
    assert "durablejob" in manager.providers
    assert "durablejob" in manager._hook_provider_dict or manager._hooks_lazy_dict
    assert set(info["extra-links"]) <= set(manager.extra_links_class_names)


def test_the_example_is_a_dag_of_twenty_lines():
    path = Path(durablejob_airflow.example_dags.__file__).with_name("example_durablejob.py")
    text = path.read_text()
    assert len(text.splitlines()) <= 22
    names: dict[str, Any] = {}
    exec(compile(ast.parse(text), str(path), "exec"), names)
    operator = names["DurableSparkSubmitOperator"]
    assert operator is DurableSparkSubmitOperator


def test_a_yarn_applications_arguments_become_its_spec():
    operator = DurableYarnOperator(
        task_id="t", retries=1, command="run", memory_mb=256, yarn_queue="q", queue="celery", priority=3,
        tags=["a"], environment={"FLAG": True}, log_aggregation={"include": ".*"}, node_label="gpu", vcores=2,
        application_type="X",
        local_resources={"a.jar": "hdfs:///a.jar", "b": {"uri": "hdfs:///b.zip", "type": "ARCHIVE"}},
    )  # fmt: skip
    spec = build_spec(operator.work(), {"name": "y", "type": "Yarn"})
    assert spec.yarn.to_api() == {
        "command": "run", "maxAttempts": 1, "applicationType": "X", "resource": {"memoryMb": 256, "vcores": 2},
        "queue": "q", "priority": 3, "nodeLabel": "gpu", "tags": ["a"], "environment": {"FLAG": "true"},
        "localResources": [
            {"name": "a.jar", "uri": "hdfs:///a.jar", "type": "FILE", "visibility": "APPLICATION"},
            {"name": "b", "uri": "hdfs:///b.zip", "type": "ARCHIVE", "visibility": "APPLICATION"},
        ],
        "logAggregation": {"include": ".*"},
    }  # fmt: skip
    assert operator.queue == "celery"  # Airflow's own
    assert all(hasattr(operator, name) for name in operator.template_fields)


def test_a_yarn_application_needs_no_more_than_its_command():
    spec = build_spec(DurableYarnOperator(task_id="t", retries=1, command="run").work(), {"name": "y", "type": "Yarn"})
    assert (spec.yarn.max_attempts, spec.yarn.resource.memory_mb) == (1, 1024)


def test_parsing_a_dag_loads_no_kubernetes_client():
    """It takes a second each time."""
    code = (
        "import sys, durablejob_airflow.operators, durablejob_airflow.sensors, durablejob_airflow.decorators;"
        "print([name for name in ('kubernetes', 'kubernetes_asyncio', 'pandas', 'pyspark') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr
