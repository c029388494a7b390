"""On a real Master and Worker: what the backend says must be what Spark did, and what the gate allowed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Accepted, Backend, Phase, Run, Verdict
from durablejob_controller.backends.spark_standalone import plugin
from durablejob_controller.backends.surroundings import Surroundings
from tests.backends.spark_standalone import works
from tests.backends.spark_standalone.scripted_gate import Paths, ScriptedGate, serving
from tests.testbed import spark

PROGRAMS = Path(__file__).parent / "programs"
SMALL = {"driver": {"cores": 1, "memory": "512m"}, "executor": {"instances": 1, "memory": "512m"}}
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
ENDS = 240
"""Seconds after which a driver that has not ended fails the test."""


class Bench:
    """A cluster, a gate, and the jobs that the tests ask about: all submitted at once, to wait but once."""

    def __init__(self, cluster: spark.Standalone, gate: ScriptedGate, folder: Path) -> None:
        self.cluster = cluster
        self.gate = gate
        self.jar = spark.compile_java([PROGRAMS / "Program.java"], folder / "program.jar")
        (folder / "helper.py").write_text("WORD = 'help'\n")
        (folder / "table.txt").write_text("a row\n")
        self.folder = folder
        self.drivers: dict[str, str] = {}

    def backend(self) -> Backend:
        master = self.cluster.masters[0]
        quick = {"spark.driver.extraJavaOptions": QUICK, "spark.executor.extraJavaOptions": QUICK}
        spec = works.backend(master.rest, master.ui, quick, artifactSchemes=["local", "file"])
        return plugin.make(spec, Surroundings("cluster", self.gate.url, Paths(), timeout=30))

    def java(self, name: str, *arguments: str, **more: object) -> DurableJob:
        work = {"mainApplicationFile": f"local://{self.jar}", "mainClass": "Program", "arguments": list(arguments)}
        return works.job(name, **{**SMALL, **work, **more})

    def python(self, name: str, *arguments: str) -> DurableJob:
        return works.job(
            name,
            mainApplicationFile=f"file://{PROGRAMS / 'program.py'}",
            pyFiles=[f"local://{self.folder / 'helper.py'}"],
            files=[f"file://{self.folder / 'table.txt'}"],
            arguments=list(arguments),
            conf={"spark.test.words": "two words"},
            env=[{"name": "GREETING", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            **SMALL,
        )

    def jobs(self) -> dict[str, DurableJob]:
        return {
            "count": self.java("count", "count"),
            "python": self.python("python", "count"),
            "throws": self.java("throws", "throw"),
            "exits": self.java("exits", "exit", "3"),
            "python-exits": self.python("python-exits", "exit", "3"),
            "python-raises": self.python("python-raises", "raise"),
            "long": self.java("long", "sleep", "600"),
            "absent": self.java("absent", mainApplicationFile="local:///nowhere/program.jar"),
            "huge": self.java("huge", "count", driver={"cores": 64, "memory": "512m"}),
            "twice": self.java("twice", "return"),
        }

    async def submit_all(self) -> None:
        backend = self.backend()
        for name, job in self.jobs().items():
            backend.validate(job)
            for _ in range(2 if name == "twice" else 1):
                answer = await backend.submit(works.submission(job, secrets={("s", "k"): "good day"}))
                assert isinstance(answer, Accepted)
                assert answer.run is not None
                self.drivers[name] = answer.run
        await backend.aclose()

    async def start_of(self, name: str) -> None:
        """Wait until the job's driver has won its claim."""
        key = works.key(self.jobs()[name])
        for _ in range(5 * ENDS):
            if self.gate.calls("start", key, "granted"):
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"{name} has not started")

    async def end_of(self, backend: Backend, name: str) -> Run:
        """The run that won the claim, once it has ended."""
        job = self.jobs()[name]
        until = time.monotonic() + ENDS
        while time.monotonic() < until:
            runs = (await backend.observe()).runs.get(works.key(job), ())
            winners = {entry.driver for entry in self.gate.calls("start", works.key(job), "granted")}
            for run in runs:
                if run.id in winners and run.phase is Phase.ENDED:
                    return run
            await asyncio.sleep(0.3)
        raise AssertionError(f"{name} has not ended: {runs}")

    def output(self, driver: str) -> str:
        folder = next(path for path in self.cluster.driver_dirs() if path.name == driver)
        return (folder / "stdout").read_text()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with spark.running(worker_cores=32, worker_memory="16g") as cluster, serving() as gate:
        made = Bench(cluster, gate, tmp_path_factory.mktemp("files"))
        asyncio.run(made.submit_all())
        yield made


@pytest.fixture
async def backend(bench: Bench) -> AsyncIterator[Backend]:
    made = bench.backend()
    yield made
    await made.aclose()


async def test_a_jar_counts_and_ends_succeeded(bench: Bench, backend: Backend) -> None:
    run = await bench.end_of(backend, "count")
    assert run.verdict is Verdict.SUCCEEDED
    assert "counted 3 as count" in bench.output(run.id)


async def test_pyspark_gets_its_files_settings_and_environment(bench: Bench, backend: Backend) -> None:
    run = await bench.end_of(backend, "python")
    output = bench.output(run.id)
    assert run.verdict is Verdict.SUCCEEDED
    assert "counted 3 with help a row" in output
    assert f"settings python two words {bench.cluster.masters[0].spark_url}" in output
    assert "variable good day" in output


@pytest.mark.parametrize(
    ("name", "how"), [("throws", "threw"), ("exits", "exit"), ("python-exits", "exit"), ("python-raises", "exit")]
)
async def test_a_program_that_fails_ends_failed(bench: Bench, backend: Backend, name: str, how: str) -> None:
    run = await bench.end_of(backend, name)
    (ended,) = bench.gate.calls("ended", works.key(bench.jobs()[name]))
    assert run.verdict is Verdict.FAILED
    assert ended.body["how"] == how
    assert ended.nonce == bench.gate.winners[ended.key, 1]
    assert "everybody" not in ended.body.get("message", "")


async def test_the_winner_in_the_ledger_is_the_masters_driver(bench: Bench, backend: Backend) -> None:
    run = await bench.end_of(backend, "exits")
    (started,) = bench.gate.calls("start", works.key(bench.jobs()["exits"]))
    assert started.driver == run.id == bench.drivers["exits"]


async def test_an_absent_application_file_is_named(bench: Bench, backend: Backend) -> None:
    run = await bench.end_of(backend, "absent")
    (ended,) = bench.gate.calls("ended", works.key(bench.jobs()["absent"]))
    assert run.verdict is Verdict.FAILED
    assert ended.body["how"] == "threw"
    assert "file /nowhere/program.jar does not exist" in ended.body["message"]


async def test_of_two_drivers_of_one_claim_one_runs_the_program(bench: Bench, backend: Backend) -> None:
    await bench.end_of(backend, "twice")
    key = works.key(bench.jobs()["twice"])
    until = time.monotonic() + ENDS
    runs: tuple[Run, ...] = ()
    while time.monotonic() < until and (len(runs) < 2 or any(run.active for run in runs)):
        runs = (await backend.observe()).runs[key]
        await asyncio.sleep(0.3)
    outputs = [bench.output(run.id) for run in runs]
    assert sorted(run.verdict or "" for run in runs) == [Verdict.FAILED, Verdict.SUCCEEDED]
    assert sum("program: return" in output for output in outputs) == 1
    assert len(bench.gate.calls("start", key, "granted")) == len(bench.gate.calls("start", key, "denied")) == 1


async def test_a_driver_that_nobody_can_run_waits_with_a_reason(bench: Bench, backend: Backend) -> None:
    key = works.key(bench.jobs()["huge"])
    (run,) = (await backend.look_up(key, None)).runs
    assert run.phase is Phase.QUEUED
    assert run.reason == "Unschedulable"
    assert "asks for 64 cores" in (run.message or "")
    assert "largest worker has 32 cores" in (run.message or "")


async def test_a_killed_driver_ends_killed_and_killing_again_is_no_error(bench: Bench, backend: Backend) -> None:
    await bench.start_of("long")
    await backend.kill(bench.drivers["long"])
    run = await bench.end_of(backend, "long")
    await backend.kill(bench.drivers["long"])
    assert run.verdict is Verdict.KILLED
    assert run.id == bench.drivers["long"]


async def test_an_unknown_winner_is_absent_and_a_known_one_is_found(bench: Bench, backend: Backend) -> None:
    job = bench.jobs()["exits"]
    await bench.end_of(backend, "exits")
    known = await backend.look_up(works.key(job), works.current(job, driver=bench.drivers["exits"]))
    unknown = await backend.look_up("zzzzzzzzzzzzzzzzzzzz", works.current(job, driver="driver-20200101000000-0000"))
    assert [run.id for run in known.runs] == [bench.drivers["exits"]]
    assert unknown.runs == ()


async def test_a_worker_that_cannot_fetch_the_gate_leaves_a_message(bench: Bench) -> None:
    master = bench.cluster.masters[0]
    spec = works.backend(master.rest, master.ui)
    backend = plugin.make(spec, Surroundings("cluster", "http://127.0.0.1:9", Paths(), timeout=30))
    job = bench.java("gateless", "return")
    await backend.submit(works.submission(job))
    until = time.monotonic() + ENDS
    runs: tuple[Run, ...] = ()
    while time.monotonic() < until and not (runs and runs[0].phase is Phase.ENDED):
        runs = (await backend.look_up(works.key(job), works.current(job))).runs
        await asyncio.sleep(0.3)
    await backend.aclose()
    assert runs[0].verdict is Verdict.UNKNOWN
    assert runs[0].reason is None
    assert "ConnectException" in (runs[0].message or "")
    assert "http://127.0.0.1:9" in (runs[0].message or "")


async def test_probing_tells_what_the_cluster_is(bench: Bench, backend: Backend) -> None:
    found = await backend.probe()
    assert (found.ready, found.reason, found.guarantee) == (True, "Ready", "Exact")
    assert found.version == "4.3.0"
    assert "It keeps running drivers over its own restart" in found.message
    assert bench.gate.url in found.message
    assert found.incarnation == bench.cluster.masters[0].spark_url
