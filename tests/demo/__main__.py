"""Tell the story: submit, kill the worker, kill the controller, and count what ran."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time

from tests.demo.stage import Stage, command, say, stage, step
from tests.testbed.errors import TestbedError

DAG, TASK, OTHER = "daily_sales", "load", "load_deferred"


def tell(on: Stage) -> bool:
    """Tell it; return whether everything ended as promised."""
    step(f"a DAG run of {DAG!r}: task {TASK!r} waits in a worker, task {OTHER!r} is deferred")
    on.airflow.wait_dag(DAG)
    run = on.airflow.trigger(DAG)
    names = _names(on)
    for task, name in names.items():
        status = on.desk.state(name, "Running", timeout=120)
        say(f"{task}: DurableJob {name} is Running as {status['externalID']}")
    command("kubectl get dj", on.cluster.kubectl("get", "dj"))
    driver = on.desk.get(names[TASK])["status"]["externalID"]
    uid = on.desk.get(names[TASK])["metadata"]["uid"]

    task_pid, supervisor = on.airflow.task_pid(DAG, run, TASK)
    step(f"kill -9 of the worker's processes: task {task_pid} and its supervisor {supervisor}")
    for pid in (supervisor, task_pid):
        os.kill(pid, signal.SIGKILL)
    step(f"kill -9 of the controller: {on.controller.process.pid if on.controller.process else '-'}")
    on.controller.kill()
    say(f"the Spark driver {driver} goes on, and nobody watches it")
    time.sleep(3)
    step("the controller starts again")
    on.controller.start()
    status = on.desk.get(names[TASK])["status"]
    say(f"it knows the job from its resource: {status['state']} as {status['externalID']}")

    step("Airflow notices the dead worker, and the retry re-attaches (no submission)")
    for task in (TASK, OTHER):
        end = on.airflow.wait_state(DAG, run, task, ("success", "failed"), timeout=240)
        say(f"{task}: {end['state']} at try {end['try_number']}")
    tries = on.airflow.task_instance(DAG, run, TASK)["try_number"]
    command(f"the log of {TASK}, try {tries}", _story(on.airflow.task_log(DAG, run, TASK, tries)))
    return _records(on, run, names, driver, uid)


def _names(on: Stage) -> dict[str, str]:
    """Task -> name of its DurableJob, once both are there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        items = json.loads(on.cluster.kubectl("get", "dj", "-o", "json"))["items"]
        found = {i["metadata"]["labels"].get("durablejob.io/task-id", ""): i["metadata"]["name"] for i in items}
        if {TASK, OTHER} <= set(found):
            return {task: found[task] for task in (TASK, OTHER)}
        time.sleep(0.5)
    raise TestbedError(
        "the DAG run has made no DurableJobs in two minutes; the scheduler says:\n" + on.airflow.log("scheduler")
    )


def _story(log: str) -> str:
    ours = [line for line in log.splitlines() if "durablejob" in line.lower() or "driver-" in line]
    return "\n".join(ours[:20])


def _records(on: Stage, run: str, names: dict[str, str], driver: str, uid: str) -> bool:
    step("what the records say")
    tasks = {task: on.airflow.task_instance(DAG, run, task) for task in names}
    master = on.spark.records()
    drivers = [*master["activedrivers"], *master["completeddrivers"]]
    starts = on.desk.starts()
    say(f"the Spark Master lists {len(drivers)} drivers: " + ", ".join(f"{d['id']} {d['state']}" for d in drivers))
    ok = len(drivers) == len(names)
    for task, name in names.items():
        tries = tasks[task]["try_number"]
        say(f"{task}: programs started {starts[task]}, tries {tries}, Airflow says {tasks[task]['state']}")
        ok = ok and starts[task] == 1 and tasks[task]["state"] == "success"
        ok = ok and on.desk.get(name)["status"]["state"] == "Succeeded"
    same = on.desk.get(names[TASK])
    ok = ok and same["metadata"]["uid"] == uid and same["status"]["externalID"] == driver
    ok = ok and tasks[TASK]["try_number"] >= 2
    command("kubectl get dj -o wide", on.cluster.kubectl("get", "dj", "-o", "wide"))
    command(f"kubectl describe dj {names[TASK]}", on.cluster.kubectl("describe", "dj", names[TASK]))
    return ok


def _keep(on: Stage) -> None:
    step("everything is left running; Ctrl-C ends it")
    say(f"export KUBECONFIG={on.cluster.kubeconfig} PATH={on.cluster.kubectl_path.parent}:$PATH")
    say("kubectl get dj -w")
    say(f"Airflow:      {on.airflow.url}   (trigger {DAG}, clear a task, mark one failed)")
    say(f"Spark Master: {on.spark.masters[0].ui}")
    say(f"metrics:      {on.controller.url}/metrics")
    signal.pause()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make demo", description="One Spark job, submitted once, whatever is killed.")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end, to go on by hand")
    options = parser.parse_args()
    try:
        with stage() as on:
            ok = tell(on)
            step("one program, one result: as promised" if ok else "NOT as promised: see above")
            if options.keep:
                _keep(on)
            else:
                say("to go on by hand: make demo KEEP=1")
    except TestbedError as error:
        print(f"\nThe demo cannot run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
