"""Jobs whose task has ended while no process of ours was there to notice.

A task that is marked while it is up for retry, or while no triggerer runs, and one whose worker was lost with its last
retry, calls nobody. So whoever holds the namespace's watch looks now and then at all active jobs of this Airflow, and
at their tasks' states: one question per DAG. What is seen twice in a row, and is a person's wish or the task's end,
ends the job; anything else keeps it. The cancel names the holder that was seen, so that a later try's job is never
ended.

Pure: no I/O, no clock. :class:`Observer` is fed with jobs, says what to ask, and judges the answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from durablejob_airflow import wishes
from durablejob_airflow.identity import TaskIdentity
from durablejob_airflow.view import JobView, view_of
from durablejob_api import GROUP

EVERY_SECONDS = 60.0
"""Between two looks."""
LOOKS = 2
"""So often in a row a task must have been seen to have ended."""
REMOVED_LOOKS = 10
"""The same for a mapped index that is ``removed``: Airflow may restore it."""
RUNS_AT_ONCE = 100
"""DAG runs in one question: they travel in a URL."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An active job, and the task whose job it is."""

    name: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    holder_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask Airflow: the states of these tasks in these runs of a DAG."""

    dag_id: str
    run_ids: tuple[str, ...]
    task_ids: tuple[str, ...]
    mapped: bool
    """Of all map indices; else of tasks that are not mapped."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A job to cancel."""

    name: str
    holder_id: str
    cause: str
    gone: bool = False
    """Airflow does not know the task: it was deleted, or was never in that database."""


def observed(raw: Mapping[str, Any], deployment: str) -> Observed | None:
    """The job as one to look after; None if it is not: another Airflow's, a test's, ended, or being cancelled."""
    job = view_of(raw)
    if job.deployment != deployment or job.holder is None or not _active(job):
        return None
    notes = raw["metadata"].get("annotations") or {}
    try:
        dag_id, run_id, task_id = (notes[f"{GROUP}/{key}"] for key in ("dag-id", "run-id", "task-id"))
        map_index = int(notes.get(f"{GROUP}/map-index", -1))
    except (KeyError, ValueError):
        return None
    # `airflow tasks test` runs under the ids of a real task instance, whose state says nothing about its private job.
    if TaskIdentity(deployment, dag_id, run_id, task_id, map_index).name != job.name:
        return None
    return Observed(job.name, dag_id, run_id, task_id, map_index, job.holder.id)


def _active(job: JobView) -> bool:
    return job.ended is None and job.cancelled_for is None and not job.deleting


class Observer:
    """The active jobs of one Airflow in one namespace, and what was seen of their tasks."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.jobs: dict[str, Observed] = {}
        self._seen: dict[str, tuple[str, str, int]] = {}
        """Name -> the holder, the cause that was seen, and how often in a row."""

    def note(self, raw: Mapping[str, Any]) -> None:
        """A job as it is now."""
        found = observed(raw, self.deployment)
        if found is None:
            self.forget(raw["metadata"]["name"])
        else:
            self.jobs[found.name] = found

    def forget(self, name: str) -> None:
        """The job is gone, or needs no looking after any more."""
        self.jobs.pop(name, None)
        self._seen.pop(name, None)

    def keep_only(self, names: Iterable[str]) -> None:
        """After a list: what is not in it is gone."""
        for name in self.jobs.keys() - set(names):
            self.forget(name)

    def questions(self) -> Iterator[Question]:
        """One for each DAG; one more if it has mapped tasks as well, or very many runs."""
        groups: dict[tuple[str, bool], list[Observed]] = defaultdict(list)
        for job in self.jobs.values():
            groups[job.dag_id, job.map_index >= 0].append(job)
        for (dag_id, mapped), jobs in groups.items():
            tasks = tuple(sorted({job.task_id for job in jobs}))
            runs = sorted({job.run_id for job in jobs})
            for first in range(0, len(runs), RUNS_AT_ONCE):
                yield Question(dag_id, tuple(runs[first : first + RUNS_AT_ONCE]), tasks, mapped)

    def judge(self, question: Question, states: object, waited_for: Callable[[Observed], bool]) -> list[Finding]:
        """The jobs to cancel after one answer.

        :param states: as ``get_task_states`` gives it; anything else counts as no answer
        :param waited_for: whether a trigger of this process waits for a job on behalf of the try that holds it
        """
        findings = []
        for job in self._asked(question):
            seen = wishes.pick(states, job.run_id, job.task_id, job.map_index)
            verdict = wishes.of_observer(seen, waited_for(job))
            needed = REMOVED_LOOKS if seen.state == "removed" else LOOKS
            if self._times(job, verdict, seen) >= needed:
                findings.append(Finding(job.name, job.holder_id, verdict.cause, gone=not seen.exists))
        return findings

    def _asked(self, question: Question) -> list[Observed]:
        """The jobs of which an answer speaks: not those that came since."""
        runs, tasks = set(question.run_ids), set(question.task_ids)
        return [
            job
            for job in self.jobs.values()
            if (job.dag_id, job.map_index >= 0) == (question.dag_id, question.mapped)
            and job.run_id in runs
            and job.task_id in tasks
        ]

    def _times(self, job: Observed, verdict: wishes.Verdict, seen: wishes.SeenState) -> int:
        """How often in a row the same was seen of the same holder; no answer neither counts nor breaks the row."""
        if not seen.known:
            return 0
        if verdict.act is not wishes.Act.CANCEL:
            self._seen.pop(job.name, None)
            return 0
        holder, cause, times = self._seen.get(job.name, ("", "", 0))
        times = times + 1 if (holder, cause) == (job.holder_id, verdict.cause) else 1
        self._seen[job.name] = (job.holder_id, verdict.cause, times)
        return times
