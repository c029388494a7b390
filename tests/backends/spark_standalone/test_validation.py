"""What a job may not ask for: each refusal has a reason, the field, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.spark_standalone.validation import validate, validate_defaults
from durablejob_controller.errors import InvalidBackend, InvalidWork
from tests.backends.spark_standalone import works

ALLOWED_OPTIONS = [
    "-XX:+UseG1GC -XX:MaxGCPauseMillis=200 -Xss4m -Xlog:gc*=debug:file=/tmp/gc.log",
    "-Duser.timezone=UTC -Dlog4j2.configurationFile=file:/etc/log4j2.xml -Dempty",
    "--add-opens=java.base/java.lang=ALL-UNNAMED -ea",
    "-Dwords='a b c'",
    "",
]
REFUSED_OPTIONS = [
    "-javaagent:/tmp/evil.jar",
    "-XX:+UseG1GC -javaagent:/tmp/evil.jar",
    "'-java'agent:/tmp/evil.jar",
    "-Da=b' -javaagent:/tmp/evil.jar '",
    "-agentlib:jdwp=transport=dt_socket",
    "-agentpath:/tmp/evil.so",
    "-Xrunjdwp",
    "-Xbootclasspath/a:/tmp/evil.jar",
    "-cp /tmp/evil.jar",
    "-classpath /tmp/evil.jar",
    "--class-path=/tmp/evil.jar",
    "--module-path=/tmp",
    "--patch-module=java.base=/tmp/evil.jar",
    "@/tmp/arguments",
    "-jar /tmp/evil.jar",
    "-XX:OnOutOfMemoryError=/tmp/evil",
    "-XX:OnError=/tmp/evil",
    "-XX:Flags=/tmp/flags",
    "-XX:VMOptionsFile=/tmp/options",
    "-XX:SharedArchiveFile=/tmp/evil.jsa",
    "-Dspark.durablejob.mainClass=Evil",
    "-Dspark.jars=/tmp/evil.jar",
    "-Dhttp.proxyHost=evil",
    "-Djdk.net.hosts.file=/tmp/hosts",
    "-Djava.system.class.loader=Evil",
    "-Djava.library.path=/tmp",
    "-Djavax.net.ssl.trustStore=/tmp/evil",
    "'unbalanced",
]
REFUSED_CONF = [
    ("spark.master", "local"),
    ("spark.submit.deployMode", "cluster"),
    ("spark.driver.supervise", "true"),
    ("spark.remote", "sc://evil"),
    ("spark.driver.extraClassPath", "/tmp/evil.jar"),
    ("spark.driver.extraLibraryPath", "/tmp"),
    ("spark.driver.userClassPathFirst", "true"),
    ("spark.durablejob.mainClass", "Evil"),
    ("spark.durablejob.patienceSeconds", "1"),
    ("spark.jars", "http://evil/evil.jar"),
    ("spark.jars.packages", "evil:evil:1"),
    ("spark.jars.ivySettings", "http://evil"),
    ("spark.files", "file:///etc/shadow"),
    ("spark.submit.pyFiles", "http://evil/evil.py"),
    ("spark.driver.memory", "2g"),
    ("java.home", "/tmp"),
    ("spark.a b", "c"),
]
REFUSED_VARIABLES = [
    "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_HOME", "LD_PRELOAD", "LD_LIBRARY_PATH",
    "SPARK_DIST_CLASSPATH", "SPARK_HOME", "SPARK_DRIVER_LOG_URL_STDOUT", "SPARK_PREPEND_CLASSES", "HADOOP_CONF_DIR",
    "YARN_CONF_DIR",
]  # fmt: skip


def refusal(**spark: Any) -> InvalidWork:
    with pytest.raises(InvalidWork) as caught:
        validate(works.job(**{**works.JAR, **spark}), works.backend())
    return caught.value


def test_ordinary_work_is_allowed() -> None:
    validate(works.job(), works.backend())
    conf = {"spark.sql.shuffle.partitions": "200", "spark.executor.cores": "2", "spark.hadoop.fs.s3a.endpoint": "x"}
    env = [{"name": "PYSPARK_PYTHON", "value": "/usr/bin/python3"}, {"name": "HADOOP_USER_NAME", "value": "etl"}]
    validate(works.job(**works.PYTHON, conf=conf, env=env, files=["s3a://b/f"]), works.backend())


def test_other_work_is_refused() -> None:
    spec = {"backendRef": {"name": "prod", "type": "SparkStandalone"}, "kubernetesJob": {"template": {}}}
    with pytest.raises(InvalidWork) as caught:
        validate(DurableJob.model_validate({"spec": spec}), works.backend())
    assert caught.value.reason == "WrongWork"


@pytest.mark.parametrize(("name", "value"), REFUSED_CONF)
def test_a_setting_that_reaches_around_the_gate_is_refused_by_name(name: str, value: str) -> None:
    error = refusal(conf={name: value})
    assert error.reason == "ForbiddenConf"
    assert error.field == f"spark.conf[{name}]"


@pytest.mark.parametrize("setting", ["spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions",
                                     "spark.driver.defaultJavaOptions"])  # fmt: skip
@pytest.mark.parametrize("options", REFUSED_OPTIONS)
def test_an_option_that_could_run_code_before_the_gate_is_refused(setting: str, options: str) -> None:
    assert refusal(conf={setting: options}).reason == "ForbiddenConf"


@pytest.mark.parametrize("options", ALLOWED_OPTIONS)
def test_ordinary_options_are_allowed(options: str) -> None:
    validate(works.job(**works.JAR, conf={"spark.driver.extraJavaOptions": options}), works.backend())


@pytest.mark.parametrize("name", REFUSED_VARIABLES)
def test_a_variable_that_acts_on_the_jvm_is_refused(name: str) -> None:
    error = refusal(env=[{"name": "FINE", "value": "x"}, {"name": name, "value": "x"}])
    assert (error.reason, error.field) == ("ForbiddenEnvironment", "spark.env[1]")


@pytest.mark.parametrize(
    "change",
    [
        {"mainApplicationFile": "http://evil/evil.jar"},
        {"mainApplicationFile": "file:///apps/etl.jar"},
        {"jars": ["ivy://evil:evil:1"]},
        {"pyFiles": ["HTTP://evil/x.py"]},
        {"files": ["file:///etc/passwd"]},
        {"archives": ["ftp://evil/x.zip"]},
    ],
)
def test_a_scheme_that_the_backend_does_not_allow_is_refused_in_every_list(change: dict[str, Any]) -> None:
    error = refusal(**change)
    assert error.reason == "SchemeNotAllowed"
    assert error.field.partition("[")[0].removeprefix("spark.") in change
    assert "allows: local, hdfs" in str(error)


def test_a_file_without_scheme_is_refused_with_the_scheme_to_write() -> None:
    assert "local:///apps/etl.jar" in str(refusal(mainApplicationFile="/apps/etl.jar"))


@pytest.mark.parametrize(
    "uri",
    ["local://host/a.jar", "local:a.jar", "hdfs:///a.jar,http://evil/b.jar", "hdfs:///a b.jar", "local://[x/a.jar"],
)
def test_a_uri_that_spark_would_take_otherwise_is_refused(uri: str) -> None:
    assert refusal(jars=[uri]).reason == "NotSupported"


@pytest.mark.parametrize("name", ["hdfs:///etl.R", "hdfs:///etl", "hdfs:///etl.jar#x"])
def test_an_application_that_is_no_jar_and_no_python_file_is_refused(name: str) -> None:
    assert refusal(mainApplicationFile=name).reason == "NotSupported"


def test_the_same_size_said_twice_is_refused() -> None:
    assert refusal(conf={"spark.executor.memory": "1g"}, executor={"memory": "2g"}).reason == "ConflictingSettings"
    assert refusal(conf={"spark.cores.max": "1"}, executor={"instances": 2}).reason == "ConflictingSettings"
    assert refusal(executor={"instances": 0}).reason == "NotSupported"


def test_what_spark_would_replace_is_refused() -> None:
    assert refusal(conf={"spark.a": "{{AWS_SECRET_ACCESS_KEY}}"}).reason == "NotSupported"
    assert refusal(env=[{"name": "A", "value": "{{HOME}}"}]).reason == "NotSupported"
    assert refusal(arguments=["{{WORKER_URL}}"]).reason == "NotSupported"
    validate(works.job(**works.JAR, arguments=["{{ ds }}", "a {{b}} c"]), works.backend())


def test_an_administrators_defaults_may_do_more_but_not_replace_the_structure() -> None:
    validate_defaults(
        works.backend(conf={"spark.driver.extraClassPath": "/opt/x", "spark.durablejob.patienceSeconds": "60"})
    )
    for name in ("spark.master", "spark.jars", "spark.durablejob.mainClass"):
        with pytest.raises(InvalidBackend, match=name):
            validate_defaults(works.backend(conf={name: "x"}))
