"""A Spark application's settings, command and files, as its ApplicationMaster needs them; real clusters are in e2e."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from typing import Any

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.yarn import spark
from durablejob_controller.backends.yarn.java_options import java_options
from durablejob_controller.backends.yarn.launch import Launch, Resource
from durablejob_controller.backends.yarn.spark import Place
from durablejob_controller.errors import InvalidWork
from tests.backends.yarn import works
from tests.testbed.spark import distribution

PYTHON_LIBS = {"pythonLibs": ["hdfs://nn:8020/spark/pyspark.zip"]}
FENCE = Resource("hdfs://nn:8020/staging/k/f/fence.zip", 5, 6, "ARCHIVE")


def place(job: DurableJob, spec: Any, gated: bool = False) -> Place:
    work = job.spec.spark
    assert work is not None
    wanted = spark.needed(work, spark.yarn_spark(spec))
    files = {name: Resource(f.uri.partition("#")[0], 1, 2, f.type, f.visibility) for name, f in wanted.items()}
    if gated:
        files[spark.GATE_JAR] = Resource("hdfs://nn:8020/staging/k/f/gate.jar", 3, 4)
    url = "http://gate/claim" if gated else None
    folder = "hdfs://nn:8020/staging/k/f"
    alone = frozenset({spark.GATE_JAR, *(name for name, f in wanted.items() if f.master_only)})
    return Place("application_1_1", folder, files, url, ("tag",), "etl", alone)


def built(gated: bool = False, yarn: Any = None, conf: Any = None, **work: Any) -> tuple[dict[str, str], Any, Launch]:
    """Settings, the files for executors, and the launch."""
    spec = works.backend(yarn=yarn or {}, defaults={"sparkConf": conf or {}})
    job = works.job(spark=work if "mainApplicationFile" in work else {**works.JAR["spark"], **work})
    assert job.spec.spark is not None
    where = place(job, spec, gated)
    settings = spark.settings(job, job.spec.spark, spec, where)
    archive = zipfile.ZipFile(io.BytesIO(spark.fence(settings, where)))
    shared = archive.read("__spark_dist_cache__.properties").decode()
    return settings, shared, spark.launch(job.spec.spark, spark.yarn_spark(spec), settings, where, FENCE)


def test_a_jar_runs_in_cluster_mode_and_is_attempted_once() -> None:
    settings, shared, launch = built(conf={"spark.x": "admin"})
    assert settings["spark.master"] == "yarn"
    assert settings["spark.submit.deployMode"] == "cluster"
    assert settings["spark.yarn.maxAppAttempts"] == "1"
    assert settings["spark.x"] == "admin"
    assert "--class 'com.example.Etl'" in launch.command
    assert launch.environment["SPARK_YARN_STAGING_DIR"] == "hdfs://nn:8020/staging/k/f"
    assert launch.resources["__spark_conf__"] is FENCE
    assert "hdfs\\://nn\\:8020/apps/etl.jar\\#__app__.jar" in shared
    assert launch.memory_mb == 1024 + 384


def test_behind_the_gate_it_is_the_gate_that_yarn_starts() -> None:
    settings, shared, launch = built(gated=True)
    assert "--class 'io.durablejob.Gate'" in launch.command
    assert settings["spark.durablejob.mainClass"] == "com.example.Etl"
    assert settings["spark.durablejob.tokenURL"] == "http://gate/claim"
    assert "__durablejob__.jar" in launch.resources
    assert "gate.jar" not in shared  # executors need none


def test_behind_the_gate_nothing_that_the_job_brings_is_on_the_class_path_and_the_gate_leads_it() -> None:
    """Classes, log4j's and Hadoop's settings, META-INF/services: all of it would act before the gate."""
    files = {"files": ["hdfs:///a/core-site.xml"], "archives": ["hdfs:///a/x.zip#org"], "jars": ["hdfs:///a/y.jar"]}
    admins = {"spark.driver.extraClassPath": "/opt/hadoop/lib/*"}
    settings, _, launch = built(gated=True, conf=admins, **files)
    paths = launch.environment["CLASSPATH"].split("<CPS>")
    assert paths == [
        "{{PWD}}/__durablejob__.jar", "/opt/hadoop/lib/*", "{{PWD}}/__spark_conf__", "{{PWD}}/__spark_libs__/*",
        "{{HADOOP_CONF_DIR}}",
    ]  # fmt: skip
    assert settings["spark.yarn.secondary.jars"] == "y.jar,."  # the program's own class loader finds them


def test_without_the_gate_the_class_path_is_sparks_own() -> None:
    launch = built()[2]
    assert launch.environment["CLASSPATH"].split("<CPS>")[:2] == ["{{PWD}}", "{{PWD}}/__spark_conf__"]


@pytest.mark.parametrize("version", distribution.REQUIREMENTS)
def test_sparks_own_class_puts_the_containers_folder_on_the_programs_class_path(version: str, tmp_path: Any) -> None:
    (tmp_path / "P.java").write_text(
        "class P { public static void main(String[] a) throws Exception {"
        ' var conf = new org.apache.spark.SparkConf(false).set("spark.yarn.secondary.jars", "x.jar,.");'
        " for (Object url : (Object[]) org.apache.spark.deploy.yarn.Client$.MODULE$.getUserClasspathUrls(conf, true))"
        " System.out.println(url); } }"
    )
    java = str(distribution.java_home() / "bin" / "java")
    command = [java, "-cp", f"{distribution.build(version) / 'jars'}/*", "P.java"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert printed[-3:] == [f"file:{tmp_path}/{name}" for name in ("__app__.jar", "x.jar", "./")]


@pytest.mark.parametrize(
    ("gated", "conf", "waits"),
    [
        (True, {}, "580s"),  # before the ResourceManager takes it for dead
        (True, {"spark.durablejob.patienceSeconds": "30"}, "130s"),
        (True, {"spark.durablejob.patienceSeconds": "soon"}, "700s"),  # as Gate.java reads it
        (True, {"spark.yarn.am.waitTime": "5min"}, "5min"),
        (False, {}, None),
    ],
)
def test_yarns_application_master_waits_while_the_gate_does(gated: bool, conf: Any, waits: str | None) -> None:
    assert built(gated=gated, conf=conf)[0].get("spark.yarn.am.waitTime") == waits


def test_pyspark_gets_its_libraries_its_files_and_its_path() -> None:
    settings, shared, launch = built(
        yarn={"spark": works.SPARK | PYTHON_LIBS},
        mainApplicationFile="hdfs://nn:8020/apps/etl.py",
        pyFiles=["hdfs:///lib/helper.py", "hdfs:///lib/deps.zip", "local:///opt/lib.egg"],
        archives=["hdfs:///env/env.tar.gz#environment"],
        files=["hdfs:///data/table.txt"],
    )
    path = "{{PWD}}/__pyfiles__<CPS>{{PWD}}/pyspark.zip<CPS>{{PWD}}/deps.zip<CPS>/opt/lib.egg"
    assert launch.environment["PYTHONPATH"] == settings["spark.executorEnv.PYTHONPATH"] == path
    assert "--class 'org.apache.spark.deploy.PythonRunner'" in launch.command
    assert "--primary-py-file 'etl.py'" in launch.command
    assert launch.resources["environment"].type == "ARCHIVE"
    assert launch.resources["pyspark.zip"].visibility == "PUBLIC"
    assert set(launch.resources) >= {"__pyfiles__/helper.py", "deps.zip", "table.txt", "etl.py"}
    assert "etl.py" not in shared  # the driver's alone
    assert "helper.py" in shared


def test_what_lies_on_every_node_is_not_localized() -> None:
    settings, _, launch = built(
        yarn={"spark": {"version": "3.5.7", "jars": "local:///opt/spark/jars/"}},
        mainApplicationFile="local:///opt/etl.jar", mainClass="A", jars=["local:///opt/x.jar"],
    )  # fmt: skip
    assert set(launch.resources) == {"__spark_conf__"}
    assert settings["spark.yarn.jars"] == "local:///opt/spark/jars/*"
    assert settings["spark.yarn.user.jar"] == "local:///opt/etl.jar"
    assert settings["spark.yarn.secondary.jars"] == "local:///opt/x.jar"
    assert "/opt/spark/jars/*" in launch.environment["CLASSPATH"]


@pytest.mark.parametrize(
    ("driver", "conf", "memory"),
    [
        ({"memory": "512m"}, {}, 512 + 384),
        ({"memory": "8g"}, {}, 8192 + 819),
        ({"memory": "8g"}, {"spark.driver.memoryOverhead": "1g"}, 8192 + 1024),
        ({"memory": "8g"}, {"spark.driver.memoryOverheadFactor": "0.5"}, 8192 + 4096),
        ({"memory": "1024"}, {"spark.driver.memoryOverhead": "100"}, 1024 + 100),
        ({"memory": "1024k"}, {"spark.driver.memoryOverhead": "0"}, 1),
    ],
)
def test_the_container_holds_heap_and_overhead(driver: Any, conf: Any, memory: int) -> None:
    assert built(driver=driver, conf=conf)[2].memory_mb == memory


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidWork, match=r"both be called x\.jar"):
        built(jars=["hdfs:///a/x.jar", "hdfs:///b/x.jar"])


def test_one_file_under_two_names_is_refused() -> None:
    with pytest.raises(InvalidWork, match=r"is called t\.txt already"):
        built(files=["hdfs:///a/t.txt", "hdfs:///a/t.txt#other.txt"])


def test_properties_survive_javas_own_reader(tmp_path: Any) -> None:
    values = {"a.b": "x=y: z\\ #!", " lead": " two  spaces", "uni": "grün 𝄞", "lines": "a\nb\tc", "e": ""}
    (tmp_path / "p.properties").write_bytes(spark._properties(values))
    (tmp_path / "P.java").write_text(
        "class P { public static void main(String[] a) throws Exception { var p = new java.util.Properties();"
        " p.load(new java.io.FileInputStream(a[0])); for (String k : new java.util.TreeSet<>(p.stringPropertyNames()))"
        ' { for (char c : (k + "\\0" + p.getProperty(k) + "\\0").toCharArray()) System.out.print((int) c + " "); } } }'
    )
    java = str(distribution.java_home() / "bin" / "java")
    command = [java, str(tmp_path / "P.java"), str(tmp_path / "p.properties")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    units = b"".join(int(number).to_bytes(2, "big") for number in printed.split())
    parts = units.decode("utf-16-be").split("\0")[:-1]
    assert dict(zip(parts[::2], parts[1::2], strict=True)) == values


@pytest.mark.parametrize("version", distribution.REQUIREMENTS)
def test_the_jvms_options_are_those_that_sparks_own_class_gives(version: str) -> None:
    launcher = next((distribution.build(version) / "jars").glob("spark-launcher_*.jar"))
    assert set(java_options(version)) == options_of(launcher)


@pytest.mark.parametrize(("version", "count"), [("3.5.7", 17), ("4.0.1", 19), ("4.1.1", 22), ("4.3.0", 22)])
def test_other_versions_options_are_as_many_as_were_read_from_theirs(version: str, count: int) -> None:
    assert len(java_options(version)) == count


def options_of(launcher: Any) -> set[str]:
    """What JavaModuleOptions of this JAR holds, by its constants."""
    javap = distribution.java_home() / "bin" / "javap"
    command = [str(javap), "-v", "-p", "-cp", str(launcher), "org.apache.spark.launcher.JavaModuleOptions"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"= Utf8 +(-\S+)", text))
