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
        (spark(jars=["hdfs://[nn/x.jar"]), "InvalidSpec", "is not a URI"),
        (spark(jars=["hdfs:///a/%2e%2e/x.jar"]), "InvalidSpec", "absolute path"),
        (spark(jars=["hdfs:///a:b/x.jar"]), "InvalidSpec", "absolute path"),
        (spark(jars=["hdfs:///a//x.jar"]), "InvalidSpec", "absolute path"),
        (spark(jars=["hdfs:///a/x.jar?v=2"]), "InvalidSpec", "absolute path"),
        (spark(mainApplicationFile="hdfs:///a/$(id).jar"), "InvalidSpec", "the file's own name must be a plain name"),
        (spark(files=["hdfs:///a/`id`#plain"]), "InvalidSpec", "the file's own name"),  # it is linked *to*, too
        (spark(files=["hdfs:///a/%24%28id%29"]), "InvalidSpec", "the file's own name"),
        (spark(files=["hdfs:///a/x#$(id)"]), "InvalidSpec", "what stands behind #"),
        (spark(files=["hdfs:///a/x#%24%28id%29"]), "InvalidSpec", "what stands behind #"),
        (spark(files=['hdfs:///a/x#a"b']), "InvalidSpec", "what stands behind #"),
        (spark(files=["hdfs:///a/x#.."]), "InvalidSpec", "what stands behind #"),
        (spark(archives=["hdfs:///a/x.zip#__spark_libs__"]), "InvalidSpec", "begin with __"),
        (spark(jars=["hdfs:///a/__durablejob__.jar"]), "InvalidSpec", "begin with __"),
        (spark(driver={"memory": "512k"}), "InvalidSpec", "spark.driver.memory: '512k' is less than 1m"),
        (spark(conf={"spark.driver.memoryOverhead": "much"}), "InvalidSpec", "spark.conf[spark.driver.memoryOverhead]"),
        (spark(conf={"spark.driver.memoryOverheadFactor": "abc"}), "InvalidSpec", "memoryOverheadFactor]: 'abc'"),
        (spark(conf={"spark.driver.memoryOverheadFactor": "nan"}), "InvalidSpec", "memoryOverheadFactor]: 'nan'"),
        (spark(conf={"spark.master": "local"}), "ForbiddenConf", "spark.conf[spark.master]"),
        (spark(conf={"spark.yarn.maxAppAttempts": "2"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.yarn.appMasterEnv.X": "2"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.yarn.dist.files": "x"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.yarn.am.resource.gpu.amount": "1"}), "ForbiddenConf", "how the application is launched"),
        (spark(conf={"spark.driver.resource.gpu.amount": "1"}), "ForbiddenConf", "memory and cores only"),
        (spark(conf={"spark.durablejob.tokenURL": "http://x"}), "ForbiddenConf", "durablejob decides it"),
        (spark(conf={"spark.driver.extraJavaOptions": "-javaagent:x.jar"}), "ForbiddenConf", "-javaagent"),
        (spark(conf={"spark.executor.memory": "1g"}, executor={"memory": "1g"}), "ConflictingSettings", "set too"),
        (spark(env=[{"name": "JAVA_TOOL_OPTIONS", "value": "x"}]), "ForbiddenEnvironment", "JAVA_TOOL_OPTIONS"),
        (spark(env=[{"name": "SPARK_USER", "value": "x"}]), "ForbiddenEnvironment", "the backend's user"),
        (spark(env=[{"name": "CONTAINER_ID", "value": "x"}]), "ForbiddenEnvironment", "YARN sets it itself"),
        ({"spark": {**works.PYTHON["spark"], "env": [{"name": "PYTHONPATH", "value": "x"}]}},
            "ForbiddenEnvironment", "pyFiles"),
        (spark(yarn={"tags": [" durablejob-x"]}), "InvalidSpec", "spark.yarn.tags[0]"),
        (spark(yarn={"tags": ["a,b"]}), "InvalidSpec", "spark.yarn.tags[0]"),
        (generic(tags=["durablejob-x"]), "InvalidSpec", "yarn.tags[0]"),
        (generic(tags=["grün"]), "InvalidSpec", "printable ASCII"),
        (generic(environment={"A=B": "x"}), "InvalidSpec", "not a name of a variable"),
        (generic(command="  "), "InvalidSpec", "yarn.command"),
        (generic(environment={"HOME": "x"}), "ForbiddenEnvironment", "YARN sets it itself"),
        (generic(localResources=[{"name": "$(id)", "uri": "hdfs:///x"}]), "InvalidSpec", "plain name"),
        (generic(localResources=[{"name": "a", "uri": "hdfs:///$(id)"}]), "InvalidSpec", "the file's own name"),
        (generic(tags=[" Durablejob.x"]), "InvalidSpec", "yarn.tags[0]"),
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


@pytest.mark.parametrize(
    "name",
    ["CLASSPATH", "BASH_ENV", "ENV", "PATH", "SHELLOPTS", "PS4", "IFS", "HOSTALIASES", "RES_OPTIONS", "LOCALDOMAIN",
     "GCONV_PATH", "LD_PRELOAD", "JDK_JAVA_OPTIONS", "HADOOP_CONF_DIR", "YARN_CONTAINER_RUNTIME_TYPE"],
)  # fmt: skip
@pytest.mark.parametrize(
    "source", [{"value": "x"}, {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], ids=["value", "secret"]
)
def test_no_variable_acts_before_the_gate_wherever_its_value_is_from(name: str, source: Any) -> None:
    assert refusal(gated=True, **spark(env=[{"name": name, **source}]))[0] == "ForbiddenEnvironment"


@pytest.mark.parametrize("name", ["etl.jar", "daten_für-2026.csv", "__init__.py", "a=b@c+d.txt"])
def test_plain_names_are_taken(name: str) -> None:
    work = {**works.PYTHON["spark"], "pyFiles" if name.endswith(".py") else "files": [f"hdfs:///a/{name}"]}
    validation.validate(works.job(spark=work), works.backend(), gated=True)


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
        validation.validate_backend(works.backend(defaults={"sparkConf": {name: "x"}}), gated=False)


def test_behind_the_gate_no_default_lets_a_jobs_classes_come_first() -> None:
    spec = works.backend(defaults={"sparkConf": {"spark.driver.userClassPathFirst": "true"}})
    validation.validate_backend(spec, gated=False)
    with pytest.raises(InvalidBackend, match=r"userClassPathFirst.*before the gate's classes"):
        validation.validate_backend(spec, gated=True)


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"spark.driver.memoryOverhead": "much"}, "memoryOverhead"),
        ({"spark.driver.memoryOverheadFactor": "abc"}, "memoryOverheadFactor"),
        ({"spark.driver.defaultJavaOptions": "-Da='b"}, "quotes do not match"),
    ],
)
def test_a_backends_defaults_that_cannot_be_read_are_the_backends_fault(conf: Any, words: str) -> None:
    with pytest.raises(InvalidBackend, match=words):
        validation.validate_backend(works.backend(defaults={"sparkConf": conf}), gated=False)


@pytest.mark.parametrize(
    "more",
    [
        {"archive": "hdfs://other:8020/spark.zip"},
        {"archive": None, "jars": "hdfs://other:8020/jars"},
        {"pythonLibs": ["hdfs://other:8020/pyspark.zip"]},
        {"archive": "hdfs://[x/spark.zip"},
    ],
)
def test_a_backends_own_files_lie_on_the_hdfs_that_is_asked(more: Any) -> None:
    spec = works.backend(yarn={"spark": {"version": "4.3.0", "archive": "hdfs://nn:8020/spark/libs.zip", **more}})
    with pytest.raises(InvalidBackend, match=r"^spec\.yarn\.spark\."):
        validation.validate_backend(spec, gated=False)
