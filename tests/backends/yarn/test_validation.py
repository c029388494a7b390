"""Which work a YARN backend takes, and how it says no."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_controller.backends.yarn import validation
from durablejob_controller.errors import InvalidBackend, InvalidWork
from tests.backends.yarn import works


def refusal(gated: bool = False, backend: Any = None, **work: Any) -> tuple[str, str]:
    """Reason and message of the refusal."""
    with pytest.raises(InvalidWork) as caught:
        validation.validate(works.job(**work), works.backend(yarn=backend or {}), gated=gated)
    return caught.value.reason, str(caught.value)


def spark(**more: Any) -> dict[str, Any]:
    return {"spark": {**works.JAR["spark"], **more}}


def generic(**more: Any) -> dict[str, Any]:
    return {"yarn": {**works.GENERIC["yarn"], **more}}


@pytest.mark.parametrize("work", [works.GENERIC, works.JAR, works.PYTHON])
def test_good_work_is_taken(work: Any) -> None:
    validation.validate(works.job(**work), works.backend(), gated=False)


@pytest.mark.parametrize(
    ("work", "reason", "words"),
    [
        (spark(mainApplicationFile="s3a://b/etl.jar"), "NotSupported", "on YARN files are taken from hdfs or local"),
        (spark(mainApplicationFile="ftp://b/etl.jar"), "SchemeNotAllowed", "allows:"),
        (spark(jars=["hdfs://other:8020/x.jar"]), "NotSupported", "the backend's own HDFS: hdfs://nn:8020/"),
        (spark(jars=["hdfs://nn:8020/../x.jar"]), "InvalidSpec", "absolute path"),
        (spark(conf={"spark.master": "local"}), "ForbiddenConf", "spark.conf[spark.master]"),
        (spark(conf={"spark.yarn.maxAppAttempts": "2"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.yarn.appMasterEnv.X": "2"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.yarn.dist.files": "x"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.durablejob.tokenURL": "http://x"}), "ForbiddenConf", "durablejob decides it"),
        (spark(conf={"spark.driver.extraJavaOptions": "-javaagent:x.jar"}), "ForbiddenConf", "-javaagent"),
        (spark(conf={"spark.executor.memory": "1g"}, executor={"memory": "1g"}), "ConflictingSettings", "set too"),
        (spark(env=[{"name": "JAVA_TOOL_OPTIONS", "value": "x"}]), "ForbiddenEnvironment", "JAVA_TOOL_OPTIONS"),
        (spark(yarn={"tags": ["a,b"]}), "InvalidSpec", "spark.yarn.tags[0]"),
        (generic(tags=["durablejob-x"]), "InvalidSpec", "yarn.tags[0]"),
        (generic(tags=["grün"]), "InvalidSpec", "printable ASCII"),
        (generic(environment={"A=B": "x"}), "InvalidSpec", "not a name of a variable"),
        (generic(command="  "), "InvalidSpec", "yarn.command"),
        (generic(localResources=[{"name": "a/b", "uri": "hdfs:///x"}]), "InvalidSpec", "plain name"),
        (generic(localResources=[{"name": "durablejob.fence", "uri": "hdfs:///x"}]), "InvalidSpec", "one of ours"),
        (generic(localResources=[{"name": "a", "uri": "local:///x"}]), "NotSupported", "taken from hdfs"),
        (generic(localResources=[{"name": "a", "uri": "http://h/x"}]), "SchemeNotAllowed", "scheme http"),
        (generic(localResources=[{"name": "a", "uri": "hdfs:///x"}] * 2), "InvalidSpec", "same name"),
    ],
)  # fmt: skip
def test_work_that_cannot_run_is_refused_with_the_field(work: Any, reason: str, words: str) -> None:
    found, message = refusal(**work)
    assert found == reason
    assert words in message


def test_an_attempt_of_yarns_own_is_refused() -> None:
    with pytest.raises(ValueError, match="maxAttempts"):
        works.job(**generic(maxAttempts=2))


def test_only_spark_applications_ask_the_gate() -> None:
    reason, message = refusal(gated=True, **works.GENERIC)
    assert reason == "NotSupported"
    assert "mode Staging" in message


def test_a_backend_without_a_spark_runs_no_spark() -> None:
    assert "runs no Spark applications" in refusal(backend={"spark": None}, **works.JAR)[1]


@pytest.mark.parametrize("name", ["spark.yarn.maxAppAttempts", "spark.master", "spark.durablejob.mainClass"])
def test_a_backends_defaults_decide_nothing_that_we_decide(name: str) -> None:
    with pytest.raises(InvalidBackend, match="not possible here"):
        validation.validate_backend(works.backend(defaults={"sparkConf": {name: "x"}}))
