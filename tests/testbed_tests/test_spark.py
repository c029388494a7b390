"""The Spark that tests get."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.testbed import spark
from tests.testbed.errors import TestbedError

HELLO = """
public class Hello {
  public static void main(String[] args) { System.out.println("hello " + args[0]); }
}
"""


@pytest.fixture(scope="module")
def standalone() -> Iterator[spark.Standalone]:
    with spark.running(worker_memory="1g") as made:
        yield made


def submit(standalone: spark.Standalone, jar: Path, main_class: str, *args: str) -> str:
    master = standalone.masters[0]
    body = {
        "action": "CreateSubmissionRequest",
        "clientSparkVersion": "4.3.0",
        "appResource": jar.as_uri(),
        "mainClass": main_class,
        "appArgs": list(args),
        "environmentVariables": {},
        "sparkProperties": {
            "spark.app.name": "hello",
            "spark.master": master.spark_url,
            "spark.jars": jar.as_uri(),
            "spark.driver.memory": "512m",
        },
    }
    answer = httpx.post(f"{master.rest}/v1/submissions/create", json=body, timeout=30).json()
    return str(answer["submissionId"])


def finished(standalone: spark.Standalone, driver: str) -> str:
    status: dict[str, Any] = {}
    deadline = time.monotonic() + 60
    while status.get("driverState") in (None, "SUBMITTED", "RUNNING"):
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
        url = f"{standalone.masters[0].rest}/v1/submissions/status/{driver}"
        status = httpx.get(url, timeout=30).json()
    return str(status["driverState"])


def test_a_compiled_application_that_is_submitted_by_rest_ends_finished(
    standalone: spark.Standalone, tmp_path: Path
) -> None:
    source = tmp_path / "Hello.java"
    source.write_text(HELLO)
    jar = spark.compile_java([source], tmp_path / "hello.jar")
    driver = submit(standalone, jar, "Hello", "world")
    assert finished(standalone, driver) == "FINISHED"
    assert [path.name for path in standalone.driver_dirs()] == [driver]
    assert (standalone.driver_dirs()[0] / "stdout").read_text() == "hello world\n"


def test_a_killed_master_comes_back_on_its_ports_with_its_worker(standalone: spark.Standalone) -> None:
    before = standalone.masters[0]
    standalone.kill_master()
    with pytest.raises(httpx.HTTPError):
        standalone.records()
    standalone.start_master()
    assert standalone.masters[0] == before
    assert standalone.records()["url"] == before.spark_url
    deadline = time.monotonic() + 60
    while [worker["state"] for worker in standalone.records()["workers"]] != ["ALIVE"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_stopped_master_does_not_answer_until_it_is_continued(standalone: spark.Standalone) -> None:
    standalone.stop_master()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{standalone.masters[0].ui}/json/", timeout=1)
    standalone.continue_master()
    assert standalone.records()["status"] == "ALIVE"


def test_spark_submit_runs(standalone: spark.Standalone) -> None:
    done = standalone.spark_submit(["--version"])
    assert done.returncode == 0
    assert "version 4.3.0" in done.stderr


def test_sources_that_do_not_compile_are_shown(tmp_path: Path) -> None:
    source = tmp_path / "Broken.java"
    source.write_text("public class Broken { nonsense }")
    with pytest.raises(TestbedError, match=r"(?s)javac: .*Broken\.java:1: error"):
        spark.compile_java([source], tmp_path / "broken.jar")


def test_the_java_of_what_lives_for_seconds_compiles_less() -> None:
    java = spark.lean_java_home() / "bin" / "java"
    done = subprocess.run([java, "-XX:+PrintFlagsFinal", "-version"], capture_output=True, text=True, check=True)
    (level,) = (line.split() for line in done.stdout.splitlines() if " TieredStopAtLevel " in line)
    assert level[3] == "1"
