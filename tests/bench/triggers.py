"""Waiting tasks: what thousands of them cost in one process without an Airflow, and in one real triggerer.

The API server is real; the jobs' statuses are written here. An event counts from the moment at which the API server has
the job's end (its answer has come): in the process, to the trigger's event; in the triggerer, to Airflow's database
(the task is scheduled). A trigger tells no event in its first seconds (``triggers.SETTLE_SECONDS``): these wait longer.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import sqlalchemy

from durablejob_airflow.identity import TaskIdentity
from tests.bench.meter import cpu_seconds, memory_mb, quantile
from tests.bench.table import Figures, Row, parser, show
from tests.bench.waiting_jobs import DEPLOYMENT, WaitingJobs, watches
from tests.testbed import airflow, kube, postgres
from tests.testbed.errors import TestbedError
from tests.testbed.kube.cluster import Cluster
from tests.testbed.kube.crds import install

ROOT = Path(__file__).parents[2]
RATE = 10.0
"""Jobs that end in a second, where their latency is measured."""
IDLE_SECONDS = 60.0
RUNS = 10
"""DAG runs over which the triggerer's tasks are spread: the observer asks Airflow about each."""


def connection(cluster: Cluster, namespace: str) -> str:
    """A connection of our type, as AIRFLOW_CONN_* holds it."""
    extra = {"deployment_id": DEPLOYMENT, "namespace": namespace, "kube_config_path": str(cluster.kubeconfig)}
    return json.dumps({"conn_type": "durablejob", "extra": extra})


def latencies(ended: dict[str, float], told: dict[str, float], prefix: str) -> Figures:
    """From the end to the event, in milliseconds."""
    took = [(told[name] - at) * 1000 for name, at in ended.items()]
    return {f"{prefix}_p50_ms": quantile(took, 0.5), f"{prefix}_p99_ms": quantile(took, 0.99)}


def until(test: Callable[[], object], what: str, timeout: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not test():
        if time.monotonic() > deadline:
            raise TestbedError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.5)


def in_a_process(cluster: Cluster, count: int, sample: int) -> Figures:
    """Our triggers alone, each for a job and a run of its own."""
    jobs = WaitingJobs(cluster, "bench-alone")
    began = time.monotonic()
    jobs.create([TaskIdentity(DEPLOYMENT, "dag", f"run-{number}", "job") for number in range(count)])
    print(f"   {count} jobs made in {time.monotonic() - began:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
               "AIRFLOW_CONN_DURABLEJOB_BENCH": connection(cluster, jobs.namespace)}  # fmt: skip
        command = [sys.executable, "-m", "tests.bench.many_triggers", "durablejob_bench", jobs.namespace]
        with (Path(home) / "log").open("w") as log:
            process = subprocess.Popen(
                command, env=env, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        try:
            return _measured(process, jobs, cluster, sample)
        finally:
            process.kill()
            process.wait()


def _measured(process: subprocess.Popen[str], jobs: WaitingJobs, cluster: Cluster, sample: int) -> Figures:
    assert process.stdin is not None
    assert process.stdout is not None
    names = [(name, job["metadata"]["uid"]) for name, job in jobs.made.items()]
    process.stdin.write(json.dumps(names) + "\n")
    process.stdin.flush()
    before, after, idle = (_line(process.stdout) for _ in range(3))
    figures = {
        "alone_jobs": float(len(names)),
        "alone_rss_kb_per_job": (idle["rss_mb"] - before["rss_mb"]) * 1024 / len(names),
        "alone_rss_mb": idle["rss_mb"],
        "alone_watches": float(watches(cluster)),
        "alone_cpu_percent": idle["cpu"] * 100,
        "alone_lists": float(after["connections"]),
    }
    chosen = list(jobs.made)[:sample]
    ended = jobs.end(chosen, RATE)
    told = {}
    for _ in chosen:
        line = _line(process.stdout)
        told[line["event"]] = line["at"]
    return figures | latencies(ended, told, "alone")


def _line(stream: IO[str]) -> dict[str, Any]:
    line = stream.readline()
    if not line:
        raise TestbedError("the process with our triggers has ended")
    found: dict[str, Any] = json.loads(line)
    return found


def in_a_triggerer(cluster: Cluster, count: int, sample: int) -> Figures:
    """Rows as deferrals leave them, in a real triggerer; no scheduler is there to take up what has ended."""
    jobs = WaitingJobs(cluster, "bench-triggerer")
    settings = {
        "AIRFLOW_CONN_DURABLEJOB_BENCH": connection(cluster, jobs.namespace),
        "AIRFLOW__TRIGGERER__CAPACITY": str(count + 100),
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "200",
    }
    database = "postgres" if postgres.programs() else None
    with airflow.running(ROOT / "tests" / "bench" / "dags", cluster, settings, database) as af:
        af.api("POST", "/pools", {"name": "closed", "slots": 0})
        runs = [af.trigger("waiting") for _ in range(RUNS)]
        for run in runs:
            af.wait_state("waiting", run, "job", "scheduled")
        af.kill("scheduler")
        jobs.create([TaskIdentity(DEPLOYMENT, "waiting", runs[n % RUNS], "job", n) for n in range(count)])
        return _with_rows(af, jobs, cluster, sample)


def _with_rows(af: airflow.Airflow, jobs: WaitingJobs, cluster: Cluster, sample: int) -> Figures:
    pids = _family(af.pids["triggerer"])
    before = sum(map(memory_mb, pids))
    began = time.monotonic()
    rows = [jobs.row(name) for name in jobs.made]
    subprocess.run(
        [sys.executable, "-m", "tests.bench.trigger_rows", jobs.namespace],
        env={**os.environ, **af.env}, cwd=ROOT, input=json.dumps(rows), text=True, check=True, capture_output=True,
    )  # fmt: skip
    until(lambda: _links(af) == len(rows), "every trigger has told its job's link", 900)
    loaded = time.monotonic() - began
    time.sleep(10)
    cpu, start = sum(map(cpu_seconds, pids)), time.monotonic()
    time.sleep(IDLE_SECONDS)
    busy = (sum(map(cpu_seconds, pids)) - cpu) / (time.monotonic() - start)
    figures = {
        "triggers": float(len(rows)),
        "triggers_loaded_s": loaded,
        "trigger_rss_kb": (sum(map(memory_mb, pids)) - before) * 1024 / len(rows),
        "triggerer_rss_mb": sum(map(memory_mb, pids)),
        "triggerer_watches": float(watches(cluster)),
        "triggerer_cpu_percent": busy * 100,
    }
    names = list(jobs.made)
    ended = jobs.end(names[:sample], RATE)
    until(lambda: len(_scheduled(af)) >= sample, "every event has arrived", 300)
    told = {names[index]: at for index, at in _scheduled(af).items()}
    figures |= latencies(ended, told, "triggerer")
    rest = names[sample:]
    first = time.time()
    took = max(jobs.end_at_once(rest).values()) - first
    until(lambda: len(_scheduled(af)) >= len(names), "every event of the crowd has arrived", 900)
    figures["triggerer_crowd"] = float(len(rest))
    figures["triggerer_crowd_written_s"] = took
    figures["triggerer_crowd_s"] = max(_scheduled(af).values()) - first
    return figures


def _family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for one in found:
        children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        found += [int(child) for child in children]
    return found


def _query(af: airflow.Airflow, statement: str) -> list[Any]:
    engine = sqlalchemy.create_engine(af.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.connect() as database:
        rows = list(database.execute(sqlalchemy.text(statement)))
    engine.dispose()
    return rows


def _links(af: airflow.Airflow) -> int:
    return int(_query(af, "SELECT count(*) FROM xcom WHERE dag_id = 'waiting' AND map_index >= 0")[0][0])


def _scheduled(af: airflow.Airflow) -> dict[int, float]:
    """Map index -> when Airflow's database had its event."""
    rows = _query(af, "SELECT map_index, updated_at FROM task_instance WHERE map_index >= 0 AND state = 'scheduled'")
    return {int(index): at.timestamp() for index, at in rows}


ROWS: tuple[Row, ...] = (
    ("our triggers without an Airflow", "alone_jobs", "", "10000"),
    ("  memory per waiting job", "alone_rss_kb_per_job", "kB", "≤ 50"),
    ("  memory of the process", "alone_rss_mb", "MiB", "-"),
    ("  watches at the API server", "alone_watches", "", "≤ 1"),
    ("  CPU, nothing happening (no Airflow to ask)", "alone_cpu_percent", "%", "-"),
    ("  job's end -> event, p50", "alone_p50_ms", "ms", "-"),
    ("  job's end -> event, p99", "alone_p99_ms", "ms", "-"),
    ("triggers in one real triggerer", "triggers", "", "2000"),
    ("  until all wait", "triggers_loaded_s", "s", "-"),
    ("  memory per trigger, Airflow's share included", "trigger_rss_kb", "kB", "-"),
    ("  memory of the triggerer", "triggerer_rss_mb", "MiB", "-"),
    ("  watches at the API server", "triggerer_watches", "", "≤ 1"),
    ("  CPU, nothing happening", "triggerer_cpu_percent", "%", "-"),
    ("  job's end -> task scheduled, p50", "triggerer_p50_ms", "ms", "-"),
    ("  job's end -> task scheduled, p99", "triggerer_p99_ms", "ms", "-"),
    ("  jobs that ended as one crowd", "triggerer_crowd", "", "-"),
    ("  first end -> last end", "triggerer_crowd_written_s", "s", "-"),
    ("  first end -> last task scheduled", "triggerer_crowd_s", "s", "-"),
)


def measure(jobs: int, triggers: int, sample: int) -> Figures:
    """Both, one after the other."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # a triggerer holds a log file for each trigger
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with kube.running(durable=True) as cluster:
        install(cluster)
        print(f"-- {jobs} of our triggers in a process without an Airflow", flush=True)
        figures = in_a_process(cluster, jobs, sample)
        print(f"-- {triggers} triggers in one real triggerer", flush=True)
        return figures | in_a_triggerer(cluster, triggers, sample)


def main() -> int:
    """The command."""
    options = parser("python -m tests.bench.triggers", __doc__).parse_args()
    sizes = (1000, 200, 50) if options.quick else (10_000, 2000, 300)
    return show(ROWS, lambda: measure(*sizes), options.json, airflow=version("apache-airflow"))


if __name__ == "__main__":
    sys.exit(main())
