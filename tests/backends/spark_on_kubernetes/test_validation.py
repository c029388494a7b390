"""What is refused, by name."""

from __future__ import annotations

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
    "another account by conf": (
        {"conf": {"spark.kubernetes.authenticate.driver.serviceAccountName": "root"}}, "serviceAccountName"),
    "a pod template": ({"conf": {"spark.kubernetes.executor.podTemplateFile": "/x"}}, "podTemplateFile"),
    "a label that Spark would not set": ({"conf": {"spark.kubernetes.driver.label.a": "b"}}, "driver.labels"),
    "no setting of Spark": ({"conf": {"hadoop.x": "1"}}, "is not a name"),
    "a setting that is two": ({"conf": {"spark.a=1 --conf spark.master": "local"}}, "is not a name"),
    "a scheme that is not allowed": ({"mainApplicationFile": "file:///etc/x.jar"}, "scheme"),
    "no scheme": ({"jars": ["/opt/x.jar"]}, "scheme"),
    "two files in one": ({"jars": ["local:///a.jar,local:///b.jar"]}, "commas"),
    "Spark's own variable": ({"env": [{"name": "SPARK_DRIVER_BIND_ADDRESS", "value": "1.2.3.4"}]}, "Spark's own"),
    "a size that is none": ({"driver": {"memory": "1.5g"}}, "size"),
    "twice the same": ({"conf": {"spark.executor.memory": "1g"}, "executor": {"memory": "2g"}}, "is set too"),
    "what Spark cannot": ({"kubernetes": {"executor": {"priorityClassName": "high"}}}, "template"),
}  # fmt: skip


@pytest.mark.parametrize(("spark", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(spark: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidWork, match=words):
        validate(works.job(**spark), works.SPEC)


def test_ordinary_work_may_run() -> None:
    conf = {"spark.sql.shuffle.partitions": "8", "spark.kubernetes.executor.request.cores": "500m"}
    validate(works.job(conf=conf, env=[{"name": "SPARK_USER", "value": "etl"}]), works.SPEC)


def test_an_image_must_be_known() -> None:
    nothing = JobBackendSpec.model_validate({"kubernetes": {"spark": {}}})
    with pytest.raises(InvalidWork, match="names no default"):
        validate(works.job(), nothing)


def test_defaults_that_cannot_work_are_refused_with_the_backend() -> None:
    given = {"kubernetes": {"spark": {}}, "defaults": {"sparkConf": {"spark.master": "local"}}}
    with pytest.raises(InvalidBackend, match=r"spark\.master"):
        validate_defaults(JobBackendSpec.model_validate(given))
