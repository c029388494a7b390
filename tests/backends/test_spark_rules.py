"""What holds for Spark's work and for a backend's defaults, on whichever cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from durablejob_api.backend import JobBackendSpec
from durablejob_api.base import Quantity
from durablejob_controller.backends.spark_on_kubernetes import validation as on_kubernetes
from durablejob_controller.backends.spark_rules import MOST_MEMORY, SIZES, mebibytes
from durablejob_controller.backends.spark_standalone import validation as on_standalone
from durablejob_controller.backends.yarn import validation as on_yarn
from durablejob_controller.errors import InvalidBackend, InvalidWork
from tests.backends.spark_on_kubernetes import works as kubernetes_works
from tests.backends.spark_standalone import works as standalone_works
from tests.backends.yarn import works as yarn_works

Clusters = dict[str, Callable[..., None]]
LOCAL = {"mainApplicationFile": "local:///apps/etl.jar", "mainClass": "Etl"}


def on_each(**work: Any) -> Clusters:
    """How each kind of cluster judges this work."""
    work = {**LOCAL, **work}
    return {
        "standalone": partial(on_standalone.validate, standalone_works.job(**work), standalone_works.backend()),
        "yarn": partial(on_yarn.validate, yarn_works.job(spark=work), yarn_works.backend(), gated=True),
        "kubernetes": partial(on_kubernetes.validate, kubernetes_works.job(**work), kubernetes_works.SPEC),
    }


def defaults_on_each(conf: dict[str, str]) -> Clusters:
    kubernetes = JobBackendSpec.model_validate({"kubernetes": {"spark": {}}, "defaults": {"sparkConf": conf}})
    yarn = yarn_works.backend(defaults={"sparkConf": conf})
    return {
        "standalone": partial(on_standalone.validate_defaults, standalone_works.backend(conf=conf)),
        "yarn": partial(on_yarn.validate_backend, yarn, gated=True),
        "kubernetes": partial(on_kubernetes.validate_defaults, kubernetes),
    }


CLUSTERS = ["standalone", "yarn", "kubernetes"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("512", 512), ("512m", 512), ("512MB", 512), ("2g", 2048), ("2Gb", 2048), ("1t", 1 << 20), ("1p", 1 << 30),
        ("2047k", 1), ("512kb", 0), ("1073741824b", 1024), ("0", 0), (" 1g ", 1024), (str(MOST_MEMORY), MOST_MEMORY),
    ],
)  # fmt: skip
def test_a_size_is_read_as_spark_reads_it(size: str, expected: int) -> None:
    assert mebibytes(size) == expected
    assert TypeAdapter(Quantity).validate_python(size.strip()) == size.strip()


@pytest.mark.parametrize("size", ["", "1Gi", "1gib", "1xx", "1x", "1.5g", "-1g", "1 g", "g", "1bb", "\u0661g"])
def test_what_spark_does_not_take_is_no_size(size: str) -> None:
    with pytest.raises(ValueError, match="must be a size as Spark has it: 512m"):
        mebibytes(size)
    with pytest.raises(ValidationError, match="must be a size as Spark has it: 512m"):
        TypeAdapter(Quantity).validate_python(size)


@pytest.mark.parametrize("size", [str(MOST_MEMORY + 1), "2p", "9" * 19, "9" * 4000])
def test_a_size_has_its_bound(size: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        mebibytes(size)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("name", SIZES)
def test_a_setting_that_is_no_size_is_refused_before_anything_is_submitted(cluster: str, name: str) -> None:
    with pytest.raises(InvalidWork, match=rf"spark\.conf\[{name}\]"):
        on_each(conf={name: "1Gi"})[cluster]()
    with pytest.raises(InvalidBackend, match=name):
        defaults_on_each({name: "1Gi"})[cluster]()
    on_each(conf={name: "1g"})[cluster]()
    defaults_on_each({name: "1g"})[cluster]()


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("part", ["driver", "executor"])
def test_a_heap_is_at_least_one_mebibyte(cluster: str, part: str) -> None:
    with pytest.raises(InvalidWork, match=rf"spark\.{part}\.memory: '1023k' is less than 1m"):
        on_each(**{part: {"memory": "1023k"}})[cluster]()
    on_each(**{part: {"memory": "1024k"}})[cluster]()
    with pytest.raises(InvalidWork, match="is less than 1m"):
        on_each(conf={"spark.executor.memory": "0"})[cluster]()


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/opt/x.jar", "needs a scheme, as in local:///opt/x.jar"),
        ("ftp://h/x.jar", "scheme ftp is not allowed"),
        ("local:///a\\b.jar", "backslashes"),
        ("local:///a.jar,local:///b.jar", "commas"),
        ("local://host/x.jar", "write it as local:///absolute/path"),
    ],
)
def test_a_file_that_cannot_be_named_to_spark_is_refused_with_its_place(cluster: str, uri: str, words: str) -> None:
    with pytest.raises(InvalidWork) as refused:
        on_each(jars=["local:///a.jar", uri])[cluster]()
    assert str(refused.value).startswith("spark.jars[1]: ")
    assert words in str(refused.value)
