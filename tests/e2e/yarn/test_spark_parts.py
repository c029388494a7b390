"""PySpark with everything that it may bring along, Spark from an archive on HDFS, and an older Spark."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import APPS, Stage
from tests.testbed import spark
from tests.testbed.spark import distribution

HEAVY = ("hive", "kubernetes", "rocksdb", "datanucleus", "derby", "mllib", "breeze", "spire", "volcano", "iceberg")
"""Parts of JARs' names that a count does not need: the archive has half the size without them."""


def environment() -> bytes:
    """A Python environment, packed: its interpreter is ours under another name."""
    script = f'#!/bin/sh\nexport DURABLEJOB_ENVIRONMENT=packed\nexec {sys.executable} "$@"\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text, mode in (("bin/python", script, 0o755), ("marker", "unpacked\n", 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, text in files.items():
            made.writestr(f"{name}.py", text)
    return buffer.getvalue()


def test_files_libraries_archives_arguments_and_variables_arrive(stage: Stage, desk: Desk) -> None:
    upload = stage.cluster.upload
    upload("/apps/parts.py", APPS / "parts.py")
    upload("/apps/helper.py", b"WORD = 'help'\n")
    upload("/apps/packed.zip", zipped(packed="WORD = 'packed'\n"))
    upload("/apps/table.txt", b"a row\n")
    upload("/apps/named.txt", b"another row\n")
    upload("/apps/env.tar.gz", environment())
    argument = {"a": {"b": {}}, "quote": 'it\'s "$HOME" `id` \\ <LOG_DIR>'}
    work = stage.spark(
        "yarn", "parts", python=True,
        mainApplicationFile="hdfs:///apps/parts.py",
        arguments=[str(desk.ledger), "parts", json.dumps(argument)],
        pyFiles=["hdfs:///apps/helper.py", "hdfs:///apps/packed.zip"],
        files=["hdfs:///apps/table.txt", "hdfs:///apps/named.txt#other-name.txt"],
        archives=["hdfs:///apps/env.tar.gz#environment"],
        conf={"spark.pyspark.python": "./environment/bin/python"},
        env=[{"name": "GREETING", "value": 'good $DAY "}}"'}],
    )  # fmt: skip
    status = desk.end(desk.submit(work, "parts"), timeout=180)
    logs = stage.cluster.container_logs(stage.app_of("parts"))
    assert status["state"] == "Succeeded", logs[-4000:]
    found = json.loads(next(line for line in logs.splitlines() if line.startswith("parts: "))[7:])
    expected = {
        "helper": "help",
        "table": "a row",
        "renamed": "another row",
        "environment": "unpacked",
        "python": "packed",
    }
    assert found["driver"] == found["executor"] == expected
    assert found["given"] == {"argument": argument, "env": 'good $DAY "}}"', "packed": "packed"}
    assert found["read"] == 1
    assert desk.starts()["parts"] == 1


def test_spark_comes_from_an_archive_on_hdfs(stage: Stage, desk: Desk, tmp_path: Path) -> None:
    made = tmp_path / "spark.zip"
    with zipfile.ZipFile(made, "w") as archive:
        for jar in sorted((distribution.build() / "jars").glob("*.jar")):
            if not any(part in jar.name for part in HEAVY):
                archive.write(jar, jar.name)
    uri = stage.cluster.upload("/spark/spark.zip", made)
    stage.backend("archived", spark={"jars": None, "archive": uri}, clusterID="archived")
    status = desk.end(desk.submit(stage.spark("archived", "archived", "count"), "archived"), timeout=240)
    assert status["state"] == "Succeeded", stage.cluster.container_logs(stage.app_of("archived"))[-4000:]
    assert desk.starts()["archived"] == 1


def test_behind_the_gate_nothing_that_a_job_brings_runs_before_it_and_its_files_are_resources_still(
    stage: Stage, desk: Desk, tmp_path: Path
) -> None:
    """A gate of the job's own, and settings by which log4j would load the job's class before any main."""
    forged, upload = APPS / "forged", stage.cluster.upload
    with zipfile.ZipFile(spark.compile_java([forged / "Forged.java"], tmp_path / "forged.jar")) as classes:
        upload("/apps/Forged.class", classes.read("Forged.class"))
    upload("/apps/log4j2.component.properties", b"log4j2.loggerContextFactory=Forged\n")
    jar = spark.compile_java([forged / "Gate.java", forged / "Reader.java"], tmp_path / "forger.jar")
    work = stage.spark(
        "gated", "forger",
        mainApplicationFile=upload("/apps/forger.jar", jar),
        mainClass="Reader",
        files=["hdfs:///apps/Forged.class", "hdfs:///apps/log4j2.component.properties"],
        env=[{"name": "LEDGER", "value": str(desk.ledger)}],
    )  # fmt: skip
    status = desk.end(desk.submit(work, "forger"), timeout=180)
    logs = stage.cluster.container_logs(stage.app_of("forger"))
    assert status["state"] == "Succeeded", logs[-4000:]
    assert "log4j2.component.properties, counted 10" in logs
    starts = desk.starts()
    assert (starts["forger"], starts["forged-gate"], starts["forged-log4j"]) == (1, 0, 0)


@pytest.mark.parametrize("gated", [False, True], ids=["staging", "gate"])
def test_an_older_spark_runs_with_its_own_options(stage: Stage, desk: Desk, gated: bool) -> None:
    home = distribution.build(distribution.OLDER)
    libraries = []
    for path in sorted((home / "python" / "lib").glob("*.zip")):
        libraries.append(stage.cluster.upload(f"/spark-older/{path.name}", path))
    name = f"older-{'gate' if gated else 'staging'}"
    older = {"version": distribution.OLDER, "jars": f"local://{home}/jars", "pythonLibs": libraries}
    stage.backend(name, gated=gated, spark=older, clusterID=name)
    status = desk.end(desk.submit(stage.spark(name, name, "count", python=True), name), timeout=240)
    assert status["state"] == "Succeeded", stage.cluster.container_logs(stage.app_of(name))[-4000:]
    assert desk.starts()[name] == 1
