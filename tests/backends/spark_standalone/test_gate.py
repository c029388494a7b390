"""The gate in a real JVM, started as Spark's worker would, against a scripted server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from durablejob_api.names import attempt_key
from durablejob_controller.backends.spark_standalone.stub import class_name, jar
from tests.backends.spark_standalone.scripted_gate import Scripted, ScriptedGate, serving
from tests.testbed import spark

PROGRAM = Path(__file__).parent / "programs/Plain.java"
KEY = attempt_key("some-uid", 1)
DRIVER = "driver-20260101000000-0042"
GRANTED = Scripted(200, "granted")
NOTED = Scripted(200, "noted")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spark.compile_java([PROGRAM], tmp_path_factory.mktemp("plain") / "plain.jar")


class Driver:
    """Runs the claim's class in folders of its own."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self.claim = folder / "claim.jar"
        self.claim.write_bytes(jar(KEY, 1))
        self.program = program

    def run(
        self, url: str, *arguments: str, settings: Mapping[str, str] | None = None, more: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(url, *arguments, settings=settings, more=more)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self, url: str, *arguments: str, settings: Mapping[str, str] | None = None, more: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        properties = {"tokenURL": f"{url}/{KEY}/1", "mainClass": "Plain", "patienceSeconds": "5", **(settings or {})}
        java = [str(spark.java_home() / "bin/java"), "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        options = [f"-Dspark.durablejob.{name}={value}" for name, value in properties.items()]
        path = ":".join([str(self.claim), str(self.program), *more])
        page = f"http://worker:8081/logPage/?driverId={DRIVER}&logType=stdout"
        return subprocess.Popen(
            [*java, *options, "-cp", path, class_name(KEY, 1), *arguments],
            env={"SPARK_DRIVER_LOG_URL_STDOUT": page},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def driver(tmp_path: Path, program: Path) -> Driver:
    return Driver(tmp_path, program)


def how(gate: ScriptedGate) -> str:
    (ended,) = gate.calls("ended", KEY)
    return str(ended.body["how"])


def test_a_granted_program_runs_and_reports_its_return(driver: Driver) -> None:
    with serving() as gate:
        done = driver.run(gate.url, "return", "two words")
    start, ended = gate.entries
    assert (done.returncode, done.stdout) == (0, "program: return two words\n")
    assert (start.verb, start.driver, start.claim) == ("start", DRIVER, 1)
    assert (ended.verb, ended.body) == ("ended", {"nonce": start.nonce, "driver": DRIVER, "how": "returned"})


def test_two_jvms_have_two_nonces_and_the_second_is_denied(driver: Driver) -> None:
    with serving() as gate:
        first = driver.run(gate.url, "return")
        second = driver.run(gate.url, "return")
    assert (first.returncode, second.returncode) == (0, 75)
    assert second.stdout == ""
    assert "the claim is denied: another driver has won this claim" in second.stderr
    assert len({entry.nonce for entry in gate.calls("start", KEY)}) == 2
    assert len(gate.calls("ended", KEY)) == 1


@pytest.mark.parametrize("status", [403, 409, 410])
def test_each_denial_ends_the_driver_at_once(driver: Driver, status: int) -> None:
    with serving([Scripted(status, "denied", "revoked")]) as gate:
        done = driver.run(gate.url, "return")
    assert (done.returncode, done.stdout, len(gate.entries)) == (75, "", 1)


def test_answers_without_our_header_neither_grant_nor_deny(driver: Driver) -> None:
    script = [
        Scripted(404, None, "<html>no such page</html>"),
        Scripted(200, None, "<html>welcome to the hotel</html>"),
        Scripted(409),
        Scripted(503, "denied"),
        GRANTED,
        NOTED,
    ]
    with serving(script) as gate:
        done = driver.run(gate.url, "return", settings={"patienceSeconds": "60"})
    assert (done.returncode, done.stdout) == (0, "program: return\n")
    assert "no verdict from the start gate yet (HTTP 404 without a verdict)" in done.stderr
    assert len({entry.nonce for entry in gate.entries}) == 1


def test_a_redirect_is_not_followed(driver: Driver) -> None:
    with serving() as other, serving([Scripted(302), GRANTED, NOTED]) as gate:
        done = driver.run(gate.url, "return")
    assert (done.returncode, other.entries) == (0, [])


def test_a_gate_that_nobody_answers_is_given_up_after_the_patience(driver: Driver) -> None:
    done = driver.run("http://127.0.0.1:9", "return", settings={"patienceSeconds": "1"})
    assert (done.returncode, done.stdout) == (76, "")
    assert "the start gate gave no verdict; last: java.net.ConnectException" in done.stderr


def test_an_exception_is_the_programs_own_and_its_text_stays_here(driver: Driver) -> None:
    with serving() as gate:
        done = driver.run(gate.url, "throw")
    assert done.returncode == 1
    assert 'Exception in thread "main" java.lang.IllegalStateException: not for everybody\'s eyes' in done.stderr
    assert how(gate) == "threw"
    assert gate.entries[-1].body["message"] == "java.lang.IllegalStateException"


def test_an_exit_keeps_its_code(driver: Driver) -> None:
    with serving() as gate:
        done = driver.run(gate.url, "exit", "3")
    assert (done.returncode, how(gate)) == (3, "exit")


@pytest.mark.parametrize("mode", ["linger", "interrupted"])
def test_a_killed_program_says_only_that_it_ended(driver: Driver, mode: str) -> None:
    """Whether its main had returned while a thread went on, or throws because the kill disturbs it."""
    mark = driver.folder / "runs"
    with serving() as gate:
        process = driver.start(gate.url, mode, str(mark))
        deadline = time.monotonic() + 30
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert how(gate) == "exit"


def test_an_absent_class_and_an_absent_file_are_told(driver: Driver) -> None:
    with serving() as gate:
        wrong_class = driver.run(gate.url, "return", settings={"mainClass": "com.example.Absent"})
        assert gate.entries[-1].body["message"] == "java.lang.ClassNotFoundException: com.example.Absent"
        gate.winners.clear()
        wrong_file = driver.run(gate.url, "return", settings={"mainFile": "/nowhere/etl.jar"})
        assert "/nowhere/etl.jar does not exist" in gate.entries[-1].body["message"]
    assert (wrong_class.returncode, wrong_file.returncode) == (1, 77)
    assert wrong_file.stdout == ""


def test_the_end_is_reported_after_the_hooks_of_hadoop_and_spark(driver: Driver) -> None:
    mark = driver.folder / "hook-ran"
    seen: list[bool] = []
    with serving() as gate:
        gate.watch = lambda: seen.append(mark.exists())
        done = driver.run(gate.url, "hook", str(mark), more=[f"{spark.build()}/jars/*"])
    assert done.returncode == 0, done.stderr
    assert [entry.verb for entry in gate.entries] == ["start", "ended"]
    assert seen == [False, True]


def test_an_end_that_nobody_takes_holds_the_exit_for_ten_seconds_only(driver: Driver) -> None:
    with serving([GRANTED, *[Scripted(503)] * 100]) as gate:
        began = time.monotonic()
        done = driver.run(gate.url, "exit", "4")
    assert done.returncode == 4
    assert 9 < time.monotonic() - began < 20
    assert len(gate.calls("ended", KEY)) > 5
