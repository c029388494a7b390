"""A stand-in for the controller: it writes statuses by the jobs' parameters, and keeps a ledger of starts.

The parameters are those of the shipped fake backend (``seconds``, ``outcome`` = succeed or fail), so that
the same DAGs run with the real controller; further ones are for tests only: ``hold`` (run until told
``release``), ``outcome: lost``.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from durablejob_api import GROUP, VERSION
from durablejob_api.names import attempt_key

Json = dict[str, Any]
_OUTCOMES = {"succeed": "Succeeded", "fail": "Failed", "lost": "Lost"}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Controller:
    """Takes up every attempt of the namespace's jobs, runs it in its imagination, and writes how it ends."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._api = CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))
        self.namespace = namespace
        self.ledger: Counter[tuple[str, int]] = Counter()
        """How often each (job, attempt) was started."""
        self.ends: dict[tuple[str, int], str] = {}
        """What became of it."""
        self.cancelled: list[tuple[str, int, str]] = []
        self.idle = threading.Event()
        """Set: nothing is taken up."""
        self._released: set[str] = set()
        self._begun: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Controller:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    # For tests -----------------------------------------------------------------------------------

    def jobs(self, dag_id: str | None = None, run_id: str | None = None) -> list[Json]:
        """The jobs there are, of one DAG or run."""
        found = self._api.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs")["items"]
        wanted = {f"{GROUP}/dag-id": dag_id, f"{GROUP}/run-id": run_id}
        return [
            job
            for job in found
            if all(not v or job["metadata"].get("annotations", {}).get(k) == v for k, v in wanted.items())
        ]

    def job(self, name: str) -> Json:
        """One job."""
        found: Json = self._api.get_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs", name)
        return found

    def await_job(self, test: Callable[[Json], object], timeout: float = 60, **of: str) -> Json:
        """Wait for a job of which the test holds."""
        deadline = time.monotonic() + timeout
        while True:
            jobs = self.jobs(**of)
            for job in jobs:
                if test(job):
                    return job
            if time.monotonic() > deadline:
                raise AssertionError(f"no such job after {timeout} s, but {jobs}")
            time.sleep(0.1)

    def release(self, name: str) -> None:
        """Let a held job end."""
        self._released.add(name)

    def patch(self, name: str, change: Json) -> None:
        """Merge a change into a job, as a person with kubectl does."""
        self._api.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, "durablejobs", name, change, _content_type="application/merge-patch+json"
        )

    def delete(self, name: str) -> None:
        """Delete a job."""
        self._api.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, "durablejobs", name)

    def starts(self, name: str) -> list[int]:
        """The attempts of a job that were started, in order, each as often as it was."""
        ledger = self.ledger.copy()  # the loop goes on writing
        return sorted(attempt for (job, attempt), times in ledger.items() if job == name for _ in range(times))

    def programs(self, name: str) -> list[str]:
        """What became of each program of a job that was started, in order; ``running`` as long as it does."""
        return [self.ends.get((name, attempt), "running") for attempt in self.starts(name)]

    # The loop ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            if self.idle.is_set():
                continue
            try:
                for job in self.jobs():
                    self._reconcile(job)
            except ApiException as error:
                if error.status not in (404, 409):
                    raise

    def _reconcile(self, job: Json) -> None:
        name, spec = job["metadata"]["name"], job["spec"]
        status = job.get("status") or {}
        current = status.get("current") or {}
        attempt = spec["attempt"]
        if job["metadata"].get("deletionTimestamp"):
            self.ends.setdefault((name, attempt), "Deleted")
            self.patch(name, {"metadata": {"finalizers": []}})
            return
        if current.get("number") != attempt:
            begun = {"number": attempt, "key": attempt_key(job["metadata"]["uid"], attempt), "reason": "Accepted"}
            self._write(job, "Pending", begun, fresh=True)
            return
        if current.get("outcome"):
            return
        cancel = spec.get("cancel") or {}
        if cancel.get("attempt") == attempt:
            self.cancelled.append((name, attempt, cancel["cause"]))
            self._end(job, "Cancelled", "Cancelled", f"cause {cancel['cause']}")
        elif status["state"] == "Pending":
            self._write(job, "Running", {**current, "reason": "Started", "startedAt": _now()})
            self.ledger[name, attempt] += 1
            self._begun[name, attempt] = time.monotonic()
        else:
            self._perhaps_end(job)

    def _perhaps_end(self, job: Json) -> None:
        name, attempt = job["metadata"]["name"], job["spec"]["attempt"]
        parameters = (job["spec"].get("plugin") or {}).get("parameters") or {}
        over = time.monotonic() - self._begun.get((name, attempt), 0) > float(parameters.get("seconds", "0"))
        if not over or (parameters.get("hold") and name not in self._released):
            return
        outcome = _OUTCOMES[parameters.get("outcome", "succeed")]
        reason = {"Succeeded": "Completed", "Failed": "ExitCode", "Lost": "Unknown"}[outcome]
        self._end(job, outcome, reason, parameters.get("message", f"the program ended: {outcome}"))

    def _end(self, job: Json, outcome: str, reason: str, message: str) -> None:
        end = {"outcome": outcome, "reason": reason, "message": message, "finishedAt": _now()}
        self._write(job, outcome, {**job["status"]["current"], **end})
        self.ends[job["metadata"]["name"], job["spec"]["attempt"]] = outcome

    def _write(self, job: Json, state: str, current: Json, fresh: bool = False) -> None:
        name, attempt = job["metadata"]["name"], job["spec"]["attempt"]
        status = {**({} if fresh else job.get("status") or {}), "state": state, "current": current}
        if state == "Running":
            status |= {"externalID": f"run-{attempt}", "trackingURL": f"http://tracking.example/{name}/{attempt}"}
        body = {**job, "status": status}
        self._api.replace_namespaced_custom_object_status(GROUP, VERSION, self.namespace, "durablejobs", name, body)
