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
    """The command; exits with 1 if a job could not be asked to end, or its end needs a person's yes."""
    # Without it Airflow looks for connections in the environment only, as in a worker that has no supervisor.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from durablejob_airflow.hooks import DurableJobHook

    hook = DurableJobHook(args.conn_id)
    jobs = hook.jobs(args.namespace)
    observer = Observer(hook.deployment_id)
    try:
        findings = look(observer, jobs, args.interval)
    except ResourceError as error:
        raise SystemExit(f"{jobs.namespace}: the jobs cannot be listed: {error}") from error
    kept = set() if args.yes else doubtful(observer, findings)
    failed = 0
    for finding in findings:
        what = "is unknown here" if finding.gone else f"has ended ({finding.cause})"
        print(f"{jobs.namespace}/{finding.name}: its task {what}", end="", flush=True)
        if finding in kept:
            print(", kept")
            continue
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
    if kept:
        print(
            f"{jobs.namespace}: {len(kept)} jobs are kept, for this may be another Airflow's database. If the "
            f"deployment id {observer.deployment!r} is this Airflow's alone: --yes ends them"
        )
    raise SystemExit(1 if failed or kept else 0)


def doubtful(observer: Observer, findings: list[Finding]) -> set[Finding]:
    """What may say no more than that the jobs are another Airflow's under the same deployment id.

    All of them, where every task that was found is unknown here; else those of DAGs of which no run is known.
    """
    gone = {finding for finding in findings if finding.gone}
    if len(gone) == len(findings):
        return gone
    known = {dag_id: knows(dag_id) for dag_id in {observer.jobs[finding.name].dag_id for finding in gone}}
    return {finding for finding in gone if not known[observer.jobs[finding.name].dag_id]}


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


def knows(dag_id: str) -> bool:
    """Whether Airflow's database has any run of the DAG."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id).limit(1)) is not None


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
