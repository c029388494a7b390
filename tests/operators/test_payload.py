"""Operator arguments as a spec."""

from __future__ import annotations

import pytest

from durablejob_airflow.payload import (
    BackendChoice,
    backend_choice,
    build_spec,
    check_shape,
    differences,
    manifest,
    spark_work,
    spec_mapping,
    type_of_backend,
)
from durablejob_api.spec import BackendRef, DurableJobSpec, PluginWork

REF = {"kind": "ClusterJobBackend", "name": "spark-prod", "type": "SparkStandalone"}


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("spark", BackendChoice("spark")),
        ("spark:SparkStandalone", BackendChoice("spark", type="SparkStandalone")),
        ("JobBackend/spark", BackendChoice("spark", kind="JobBackend")),
        ("ClusterJobBackend/spark:Yarn", BackendChoice("spark", "ClusterJobBackend", "Yarn")),
        ({"name": "spark", "type": "Plugin"}, BackendChoice("spark", type="Plugin")),
    ],
)
def test_a_backend_is_named_in_one_word_or_as_a_mapping(value, choice):
    assert backend_choice(value) == choice


@pytest.mark.parametrize(
    "value", [None, "", "Backend/x", "x:Spark", "JobBackend/", {"kind": "JobBackend"}, {"nam": "x"}]
)
def test_a_backend_that_cannot_be_is_refused(value):
    with pytest.raises(ValueError, match="backend"):
        backend_choice(value)


def test_a_backends_type_is_read_from_its_spec():
    assert type_of_backend({"spec": {"sparkStandalone": {"masters": []}}}) == "SparkStandalone"


def test_spark_submits_arguments_become_a_spark_application():
    work = spark_work(
        application="local:///etl.jar",
        java_class="com.example.Etl",
        application_args=["--day", 3, True],
        conf={"spark.sql.shuffle.partitions": 200, "spark.speculation": False},
        name="etl",
        jars="a.jar, b.jar",
        files=["c.txt"],
        env_vars={"STAGE": "prod"},
        num_executors=2,
        executor_memory="2g",
        total_executor_cores=4,
        driver_cores=1,
        yarn_queue="etl",
    )
    api = build_spec({"spark": work}, REF, activeDeadlineSeconds=60, deletionPolicy=None).to_api()
    assert api["backendRef"] == REF
    assert api["activeDeadlineSeconds"] == 60
    assert api["deletionPolicy"] == "Cancel"
    spark = api["spark"]
    assert spark["arguments"] == ["--day", "3", "true"]
    assert spark["conf"] == {
        "spark.sql.shuffle.partitions": "200",
        "spark.speculation": "false",
        "spark.app.name": "etl",
        "spark.cores.max": "4",
    }
    assert (spark["jars"], spark["files"]) == (["a.jar", "b.jar"], ["c.txt"])
    assert spark["executor"] == {"instances": 2, "memory": "2g"}
    assert spark["driver"] == {"cores": 1, "memory": "1g"}
    assert spark["env"] == [{"name": "STAGE", "value": "prod"}]
    assert spark["yarn"]["queue"] == "etl"


def test_a_wrong_spec_names_every_field_and_what_would_be_right():
    work = spark_work(application="local:///etl.jar", executor_memory="1Gi", driver_cores=0)
    with pytest.raises(ValueError, match=r"executor\.memory.*'1Gi' must be a size as Spark has it: 512m") as error:
        build_spec({"spark": work}, REF)
    assert "spark.driver.cores: Input should be greater than or equal to 1" in str(error.value)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"plugin": {}, "attempt": 2}, "attempt: the operator writes it"),
        ({"plugin": {}, "backendRef": REF}, "operator's argument 'backend'"),
        ({"plugin": {}, "backend_ref": REF}, "operator's argument 'backend'"),
        ({}, "exactly one"),
        ({"plugin": {}, "spark": {}}, "exactly one"),
    ],
)
def test_a_spec_is_checked_before_its_templates_are_rendered(spec, text):
    with pytest.raises(ValueError, match=text):
        check_shape(spec)


def test_a_spec_may_be_a_model_or_snake_case():
    model = DurableJobSpec(backend_ref=BackendRef(name="x", type="Plugin"), plugin=PluginWork(parameters={"a": "b"}))
    assert spec_mapping(model) == {"plugin": {"parameters": {"a": "b"}}}
    assert spec_mapping({"kubernetes_job": {"template": {}}}) == {"kubernetesJob": {"template": {}}}


def test_the_manifest_holds_the_finalizer_from_the_first_moment():
    body = manifest("job", "data", {"plugin": {}}, {"a": "b"}, {"c": "d"})
    assert body["metadata"]["finalizers"] == ["durablejob.io/external-job"]
    assert body["kind"] == "DurableJob"


def test_defaults_filled_in_by_the_api_server_are_no_difference():
    then = {"spark": {"mainApplicationFile": "local:///a.py", "driver": {"cores": 1, "memory": "1g"}, "jars": []}}
    assert differences(then, {"spark": {"mainApplicationFile": "local:///a.py"}}) == []


def test_changed_work_is_told_field_by_field_and_secrets_are_not():
    then = {"spark": {"mainApplicationFile": "local:///a.py", "arguments": ["1"], "conf": {"x.secret.key": "S3CRET"}}}
    now = {"spark": {"mainApplicationFile": "local:///a.py", "arguments": ["2"], "conf": {"x.secret.key": "OTHER"}}}
    lines = differences(then, now)
    assert "spark.arguments[0]: was '1', would be '2'" in lines
    assert len(lines) == 2
    assert not any("S3CRET" in line or "OTHER" in line for line in lines)


def test_of_a_changed_list_only_the_items_that_differ_are_told_and_none_beside_a_password():
    def arguments(*values):
        return {"spark": {"mainApplicationFile": "local:///a.py", "arguments": list(values)}}

    assert differences(arguments("a", "b"), arguments("a", "c", "d")) == [
        "spark.arguments[1]: was 'b', would be 'c'",
        "spark.arguments[2]: was unset, would be 'd'",
    ]
    hidden = differences(arguments("--password", "hunter2"), arguments("--password", "hunter3"))
    assert hidden == ["spark.arguments: was ***, would be ***"]


def test_another_kind_of_work_is_a_difference():
    assert differences({"plugin": {"parameters": {"a": "1"}}}, {"spark": {"mainApplicationFile": "x.py"}})
