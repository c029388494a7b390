"""What is refused, by name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_controller.backends.spark_on_kubernetes.validation import validate, validate_defaults
from durablejob_controller.errors import InvalidBackend, InvalidWork
from tests.backends.spark_on_kubernetes import works

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the application's id": ({"conf": {"spark.app.id": "x"}}, "spark.app.id"),
    "another master": ({"conf": {"spark.master": "local"}}, "spark.master"),
    "another namespace": ({"conf": {"spark.kubernetes.namespace": "kube-system"}}, "spark.kubernetes.namespace"),
    "another token by conf": (
        {"conf": {"spark.kubernetes.authenticate.driver.mounted.oauthTokenFile": "/x"}}, "their service account"),
    "a pod template": ({"conf": {"spark.kubernetes.executor.podTemplateFile": "/x"}}, "podTemplateFile"),
    "one of the driver": ({"conf": {"spark.kubernetes.driver.podTemplateFile": "/x"}}, "does not read it"),
    "a volume in Spark's words": (
        {"conf": {"spark.kubernetes.driver.volumes.hostPath.a.mount.path": "/x"}}, "kubernetes.volumes"),
    "our labels": ({"kubernetes": {"driver": {"labels": {"durablejob.io/attempt-key": "x"}}}}, "durablejob's own"),
    "our labels by conf": ({"conf": {"spark.kubernetes.driver.label.durablejob.io/released": "true"}}, "own"),
    "Spark's variable by conf": ({"conf": {"spark.kubernetes.driverEnv.SPARK_HOME": "/x"}}, "no variable of yours"),
    "a reference without a key": ({"conf": {"spark.kubernetes.driver.secretKeyRef.A": "db"}}, "colon"),
    **{
        f"another namespace's Secret: {key}": ({"conf": {f"spark.kubernetes.{key}": value}}, "no name of a Secret")
        for key, value in {
            "container.image.pullSecrets": "mine, other/theirs", "driver.secretKeyRef.A": "../other/secrets/theirs:k",
            "driver.secrets.other/theirs": "/v", "executor.secretKeyRef.A": "other/theirs:k",
            "executor.secrets.other/theirs": "/v",
        }.items()
    },
    "Spark's variable for executors": (
        {"kubernetes": {"executor": {"secretEnv": {"SPARK_HOME": {"name": "a", "key": "b"}}}}}, "no variable of yours"),
    "a variable that is two": (
        {"env": [{"name": "A", "value": "1"}], "conf": {"spark.kubernetes.driverEnv.A": "2"}}, "too"),
    "two volumes of one name": (
        {"kubernetes": {"volumes": [
            {"name": "a", "mountPath": "/a", "emptyDir": "1Gi"}, {"name": "a", "mountPath": "/b", "emptyDir": "1Gi"}]}},
        "taken"),
    "our volume": ({"kubernetes": {"volumes": [{"name": "durablejob", "mountPath": "/a", "secret": "a"}]}}, "taken"),
    "our folder": ({"kubernetes": {"volumes": [{"name": "a", "mountPath": "/etc/durablejob", "emptyDir": "1Gi"}]}},
        "taken"),
    "our folder with more slashes": (
        {"kubernetes": {"volumes": [{"name": "a", "mountPath": "//etc//./durablejob/", "emptyDir": "1Gi"}]}}, "taken"),
    "our folder for a Secret": ({"conf": {"spark.kubernetes.driver.secrets.db": "/etc/x/../durablejob"}}, "taken"),
    "a variable that is a value and a Secret's": (
        {"conf": {"spark.kubernetes.driverEnv.A": "2", "spark.kubernetes.driver.secretKeyRef.A": "db:k"}}, "A is set"),
    "twice the same label": (
        {"kubernetes": {"driver": {"labels": {"a": "1"}}}, "conf": {"spark.kubernetes.driver.label.a": "2"}}, "too"),
    "an overhead beyond all sizes": ({"conf": {"spark.driver.memoryOverhead": "9" * 400}}, "size"),
    "an overhead that is no number any more": ({"conf": {"spark.driver.memoryOverhead": "9" * 4000}}, "size"),
    "a least overhead that is none": ({"conf": {"spark.driver.minMemoryOverhead": "little"}}, "size"),
    "a GPU for the driver": ({"conf": {"spark.driver.resource.gpu.amount": "1"}}, "CPU and memory only"),
    "a folder in memory": ({"conf": {"spark.kubernetes.local.dirs.tmpfs": "true"}}, "only executors would"),
    "a factor that is none": ({"conf": {"spark.driver.memoryOverheadFactor": "nan"}}, "factor"),
    "no setting of Spark": ({"conf": {"hadoop.x": "1"}}, "is not a name"),
    "a setting that is two": ({"conf": {"spark.a=1 --conf spark.master": "local"}}, "is not a name"),
    "a scheme that is not allowed": ({"mainApplicationFile": "file:///etc/x.jar"}, "scheme"),
    "no scheme": ({"jars": ["/opt/x.jar"]}, "scheme"),
    "two files in one": ({"jars": ["local:///a.jar,local:///b.jar"]}, "commas"),
    "Spark's own variable": ({"env": [{"name": "SPARK_DRIVER_BIND_ADDRESS", "value": "1.2.3.4"}]}, "Spark's own"),
    "a heap that is none": ({"driver": {"memory": "512k"}}, "less than 1m"),
    "twice the same": ({"conf": {"spark.executor.memory": "1g"}, "executor": {"memory": "2g"}}, "too"),
}  # fmt: skip


@pytest.mark.parametrize(("spark", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(spark: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidWork, match=words):
        validate(works.job(**spark), works.SPEC)


def test_ordinary_work_may_run() -> None:
    conf = {"spark.sql.shuffle.partitions": "8", "spark.kubernetes.executor.request.cores": "500m"}
    validate(works.job(conf=conf, env=[{"name": "SPARK_USER", "value": "etl"}]), works.SPEC)


def test_a_variable_may_not_be_a_value_in_the_defaults_and_a_secrets_in_the_job() -> None:
    given = {"kubernetes": {"spark": {"image": "i"}}, "defaults": {"sparkConf": {"spark.kubernetes.driverEnv.A": "1"}}}
    spec = JobBackendSpec.model_validate(given)
    validate(works.job(conf={"spark.kubernetes.driverEnv.A": "2"}), spec)
    with pytest.raises(InvalidWork, match="A is set"):
        validate(works.job(conf={"spark.kubernetes.driver.secretKeyRef.A": "db:key"}), spec)


def test_defaults_that_set_a_variable_twice_are_refused() -> None:
    conf = {"spark.kubernetes.driverEnv.A": "1", "spark.kubernetes.driver.secretKeyRef.A": "db:key"}
    with pytest.raises(InvalidBackend, match="A is set"):
        validate_defaults(JobBackendSpec.model_validate({"kubernetes": {"spark": {}}, "defaults": {"sparkConf": conf}}))


def test_an_image_must_be_known() -> None:
    nothing = JobBackendSpec.model_validate({"kubernetes": {"spark": {}}})
    with pytest.raises(InvalidWork, match="names no default"):
        validate(works.job(), nothing)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.master", "local"),
        ("spark.driver.memoryOverhead", "9" * 400),
        ("spark.driver.memoryOverhead", "much"),
        ("spark.kubernetes.memoryOverheadFactor", "inf"),
    ],
)
def test_defaults_that_cannot_work_are_refused_with_the_backend(name: str, value: str) -> None:
    given = {"kubernetes": {"spark": {}}, "defaults": {"sparkConf": {name: value}}}
    with pytest.raises(InvalidBackend, match=re.escape(name)):
        validate_defaults(JobBackendSpec.model_validate(given))
