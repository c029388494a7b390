"""The body of a submission, and its hash."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.spark_standalone import submission
from durablejob_controller.backends.spark_standalone.submission import Place
from durablejob_controller.errors import InvalidWork
from tests.backends.spark_standalone import works

PLACE = Place(2, "https://gate:8443/v1/token", "spark://m1:7077,m2:7077", "4.3.0", {("s", "k"): "hush"})
SECRET_ENV = [{"name": "A", "value": "plain"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]


def built(job: DurableJob, conf: dict[str, str] | None = None) -> dict[str, Any]:
    return submission.body(job, works.key(job), works.backend(conf=conf), PLACE)


def test_the_main_class_is_the_claim_and_the_application_its_jar() -> None:
    body = built(works.job())
    assert body["action"] == "CreateSubmissionRequest"
    assert body["mainClass"] == f"io.durablejob.claim.C_{works.key(works.job())}_2"
    assert body["appResource"] == "https://gate:8443/v1/token/claim.jar"
    assert body["sparkProperties"]["spark.durablejob.tokenURL"] == "https://gate:8443/v1/token"
    assert body["sparkProperties"]["spark.driver.supervise"] == "false"


def test_the_users_files_are_named_to_spark_submit_only() -> None:
    job = works.job(
        **works.JAR, jars=["hdfs:///a.jar", "local:///b.jar"], files=["s3a://b/f"], archives=["hdfs:///x.tgz#x"]
    )
    body = built(job)
    line = " ".join(body["appArgs"])
    assert (
        "--jars hdfs:///a.jar,local:///b.jar --files s3a://b/f --archives hdfs:///x.tgz#x local:///apps/etl.jar" in line
    )
    assert not [name for name in body["sparkProperties"] if name.startswith(("spark.jars", "spark.files"))]


def test_a_jar_and_a_python_file_run_in_client_mode_below_the_gate() -> None:
    jar = built(works.job(**works.JAR, arguments=["--date", "today"]))
    python = built(works.job(**works.PYTHON, pyFiles=["hdfs:///lib.zip"]))
    head = ["--master", PLACE.master_url, "--deploy-mode", "client", "--properties-file", "durablejob.properties"]
    tail = ["--class", "com.example.Etl", "local:///apps/etl.jar", "--date", "today"]
    assert jar["appArgs"] == [*head, "--name", "load", *tail]
    assert python["appArgs"] == [*head, "--name", "load", "--py-files", "hdfs:///lib.zip", "local:///apps/etl.py"]
    assert jar["sparkProperties"]["spark.durablejob.mainClass"] == "org.apache.spark.deploy.SparkSubmit"


def test_only_a_file_on_the_machine_itself_is_looked_for_there() -> None:
    here = built(works.job(**works.JAR))["sparkProperties"]
    there = built(works.job(mainApplicationFile="hdfs:///etl.jar", mainClass="X"))["sparkProperties"]
    assert here["spark.durablejob.mainFile"] == "/apps/etl.jar"
    assert "spark.durablejob.mainFile" not in there


def test_the_jobs_settings_stand_above_the_backends_defaults() -> None:
    defaults = {"spark.a": "backend", "spark.b": "backend", "spark.driver.extraClassPath": "/opt/x"}
    properties = built(works.job(**works.JAR, conf={"spark.a": "job"}), defaults)["sparkProperties"]
    assert (properties["spark.a"], properties["spark.b"]) == ("job", "backend")
    assert properties["spark.driver.extraClassPath"] == "/opt/x"


def test_a_number_of_executors_becomes_a_number_of_cores() -> None:
    sized = works.job(**works.JAR, executor={"instances": 3, "cores": 2, "memory": "2g"})
    properties = built(sized)["sparkProperties"]
    assert properties["spark.cores.max"] == "6"
    assert properties["spark.executor.cores"] == "2"
    assert properties["spark.executor.memory"] == "2048m"
    unsized = built(works.job(**works.JAR, executor={"instances": 3}), {"spark.executor.cores": "4"})
    assert unsized["sparkProperties"]["spark.cores.max"] == "12"
    assert "spark.cores.max" not in built(works.job())["sparkProperties"]


def test_a_size_without_a_unit_counts_mebibytes_whoever_reads_it() -> None:
    """The Master would take it for bytes, and the driver's heap would be -Xmx0m."""
    sized = built(works.job(**works.JAR, driver={"memory": "1024"}, executor={"memory": "2048"}))["sparkProperties"]
    assert (sized["spark.driver.memory"], sized["spark.executor.memory"]) == ("1024m", "2048m")
    conf = built(works.job(**works.JAR, conf={"spark.executor.memory": "3000"}))["sparkProperties"]
    assert conf["spark.executor.memory"] == "3000m"


def test_secrets_are_put_into_the_environment_and_nowhere_else() -> None:
    body = built(works.job(**works.JAR, env=SECRET_ENV))
    assert body.pop("environmentVariables") == {"A": "plain", "B": "hush"}
    assert "hush" not in str(body)
    assert "hush" not in repr(PLACE)


def test_a_missing_secret_is_named() -> None:
    job = works.job(**works.JAR, env=SECRET_ENV)
    with pytest.raises(InvalidWork, match=r"spark\.env\[1\]\.valueFrom: Secret s has no key k"):
        submission.body(job, works.key(job), works.backend(), Place(secrets={}))


def test_the_hash_is_that_of_the_work_alone() -> None:
    job, backend = works.job(**works.JAR, env=SECRET_ENV), works.backend()
    elsewhere = works.backend(masters=[{"rest": "http://x", "ui": "http://y"}])
    assert submission.body_hash(job, works.key(job), backend) == submission.body_hash(job, works.key(job), elsewhere)


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": ["other"]},
        {"conf": {"spark.a": "b"}},
        {"driver": {"memory": "2g"}},
        {"env": [{"name": "A", "value": "other"}]},
        {"jars": ["hdfs:///other.jar"]},
    ],
)
def test_other_work_has_another_hash(change: dict[str, Any]) -> None:
    one, other = works.job(**works.JAR), works.job(**works.JAR, **change)
    assert submission.body_hash(one, "k", works.backend()) != submission.body_hash(other, "k", works.backend())


def test_edited_defaults_change_the_hash() -> None:
    job = works.job()
    edited = works.backend(conf={"spark.a": "b"})
    assert submission.body_hash(job, "k", works.backend()) != submission.body_hash(job, "k", edited)
