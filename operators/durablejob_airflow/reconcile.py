"""``airflow durablejobs reconcile``: the observer's two looks, for sites where no trigger runs."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from durablejob_airflow.cancel import cancel
from durablejob_airflow.observer import LOOKS, Finding, Observer, Question
from durablejob_airflow.resource import ResourceError

if TYPE_CHECKING:
    from durablejob_airflow.client import JobsClient

CANCEL_SECONDS = 30.0
"""For how long one cancel is tried while Kubernetes is away."""


def main(args: Namespace) -> None:
    """The command; exits with 1 if a job could not be asked to end."""
    # Without it Airflow looks for connections in the environment only, as in a worker that has no supervisor.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from durablejob_airflow.hooks import DurableJobHook

    hook = DurableJobHook(args.conn_id)
    jobs = hook.jobs(args.namespace)
    try:
        findings = look(Observer(hook.deployment_id), jobs, args.interval)
    except ResourceError as error:
        raise SystemExit(f"{jobs.namespace}: the jobs cannot be listed: {error}") from error
    failed = 0
    for finding in findings:
        print(f"{jobs.namespace}/{finding.name}: its task has ended ({finding.cause})", end="", flush=True)
        if args.dry_run:
            print(", would be cancelled")
            continue
        try:
            done = cancel(jobs, finding.name, finding.holder_id, finding.cause, CANCEL_SECONDS)
            print(", asked to end" if done else ", has ended meanwhile, or another try holds it")
        except ResourceError as error:
            print(f", could not be asked to end: {error}")
            failed += 1
    if not findings:
        print(f"{jobs.namespace}: every active job has a task that goes on")
    raise SystemExit(1 if failed else 0)


def look(observer: Observer, jobs: JobsClient, interval: float) -> list[Finding]:
    """What is found both times, with so many seconds in between."""
    findings: list[Finding] = []
    for number in range(LOOKS):
        if number:
            time.sleep(interval)
        found = jobs.all()
        for raw in found:
            observer.note(raw)
        observer.keep_only(raw["metadata"]["name"] for raw in found)
        findings = [
            finding
            for question in list(observer.questions())
            for finding in observer.judge(question, states(question), waited_for=lambda _: False)
        ]
        if not observer.jobs:
            break
    return findings


def states(question: Question) -> dict[str, dict[str, Any]]:
    """Airflow's answer, from its database: ``{run: {task or task_index: state}}``."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    found: dict[str, dict[str, Any]] = defaultdict(dict)
    query = select(TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
        TaskInstance.dag_id == question.dag_id,
        TaskInstance.run_id.in_(question.run_ids),
        TaskInstance.task_id.in_(question.task_ids),
        TaskInstance.map_index >= 0 if question.mapped else TaskInstance.map_index == -1,
    )
    with create_session() as session:
        for run_id, task_id, map_index, state in session.execute(query):
            found[run_id][task_id if map_index < 0 else f"{task_id}_{map_index}"] = state
    return found
