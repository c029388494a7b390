"""Airflow's REST API (v2), in the words that tests use."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

import httpx

from tests.testbed.errors import TestbedError

Json = dict[str, Any]
POLL = 0.2
"""Seconds between two looks at a task instance or a run."""


class ApiError(TestbedError):
    """The API answered with an error; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.status = status


class Rest:
    """A client of one Airflow whose every user is an administrator (`simple_auth_manager_all_admins`)."""

    def __init__(self, url: str) -> None:
        """Talk to the api-server at this URL."""
        self.url = url
        self._token = ""

    def token(self) -> str:
        """Return a bearer token, good for a day."""
        if not self._token:
            answer = httpx.get(f"{self.url}/auth/token", timeout=30, trust_env=False)
            answer.raise_for_status()
            self._token = str(answer.json()["access_token"])
        return self._token

    def api(self, method: str, path: str, json: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Call `/api/v2/...` and return the parsed answer (None where it is empty).

        Raises:
            ApiError: the answer's status is 400 or above.
            httpx.HTTPError: there was no answer.

        """
        headers = {"Authorization": f"Bearer {self.token()}", "Accept": "application/json"}
        path = path if path.startswith("/api/") else f"/api/v2/{path.lstrip('/')}"
        answer = httpx.request(
            method, self.url + path, json=json, params=params, headers=headers, timeout=60, trust_env=False
        )
        if answer.is_error:
            message = f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
            raise ApiError(message, answer.status_code)
        return answer.json() if answer.content else None

    def wait_dag(self, dag_id: str, timeout: float = 60) -> Json:
        """Wait until the dag-processor has read a DAG; an import error ends the wait with its text."""

        def look() -> Json | None:
            try:
                dag: Json = self.api("GET", f"/dags/{dag_id}")
            except ApiError as error:
                if error.status != 404:
                    raise
                if errors := self.import_errors():
                    raise TestbedError(f"no DAG {dag_id}:\n" + "\n".join(errors)) from None
                return None
            return dag

        return _until(look, f"there is no DAG {dag_id}", timeout)

    def import_errors(self) -> list[str]:
        """Return what went wrong in reading DAG files, one text for each file."""
        found = self.api("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def trigger(self, dag_id: str, run_id: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id; a DAG that is not read yet is waited for.

        Under sqlite a request may end in 500 "Database error" because another process holds the lock: it is sent
        again under the same run id, so that there is one run in any case.
        """
        self.wait_dag(dag_id)
        run_id = run_id or f"run-{uuid.uuid4().hex[:12]}"
        body: Json = {"logical_date": None, "conf": dict(conf or {}), "dag_run_id": run_id}
        for left in (2, 1, 0):
            try:
                self.api("POST", f"/dags/{dag_id}/dagRuns", body)
            except ApiError as error:
                if error.status == 409 and left < 2:
                    break  # the one that failed was taken after all
                if error.status != 500 or not left:
                    raise
                time.sleep(1)
            else:
                break
        return run_id

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """Return a run, `state` among its fields."""
        run: Json = self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return run

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        """Return a task instance: `state`, `try_number`, `pid`, `hostname`, `id` and the rest."""
        instance: Json = self.api("GET", _instance(dag_id, run_id, task_id, map_index))
        return instance

    def task_tries(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[Json]:
        """Return all tries of a task instance, the oldest first."""
        path = _instance(dag_id, run_id, task_id, map_index) + "/tries"
        tries: list[Json] = self.api("GET", path)["task_instances"]
        return tries

    def wait_state(
        self,
        dag_id: str,
        run_id: str,
        task_id: str | None,
        states: str | Collection[str],
        timeout: float = 120,
        map_index: int = -1,
    ) -> Json:
        """Wait until a task instance (the whole run, with task_id None) has one of these states; return it.

        Raises:
            TestbedError: the time (seconds) is over; with the state it has.

        """
        wanted = {states} if isinstance(states, str) else set(states)
        last: Json = {}

        def look() -> Json | None:
            last.clear()
            if task_id is None:
                last.update(self.dag_run(dag_id, run_id))
            else:
                last.update(self.task_instance(dag_id, run_id, task_id, map_index))
            return last if last["state"] in wanted else None

        what = f"{dag_id}/{run_id}/{task_id or ''} is not in {sorted(map(str, wanted))}"
        return _until(look, lambda: f"{what} but in {last.get('state')} (try {last.get('try_number')})", timeout)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try, one line for each event."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.api("GET", path, params={"full_content": "true", "map_index": map_index})
        return "\n".join(line if isinstance(line, str) else _line(line) for line in answer["content"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return the value of an XCom."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.api("GET", path, params={"map_index": map_index, "deserialize": "true"})["value"]

    def clear(self, dag_id: str, run_id: str, task_id: str | None = None, **options: Any) -> Json:
        """Clear one task of a run, or all; `options` are fields of ClearTaskInstancesBody."""
        body: Json = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, **options}
        if task_id:
            body["task_ids"] = [task_id]
        cleared: Json = self.api("POST", f"/dags/{dag_id}/clearTaskInstances", body)
        return cleared

    def mark(self, dag_id: str, run_id: str, task_id: str | None, state: str, map_index: int = -1) -> Any:
        """Mark a task instance (success, failed, skipped), or with task_id None the run, as a person does."""
        if task_id is None:
            return self.api("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})
        return self.api("PATCH", _instance(dag_id, run_id, task_id, map_index), {"new_state": state})


def _instance(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    index = f"/{map_index}" if map_index >= 0 else ""
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}{index}"


def _line(event: Mapping[str, Any]) -> str:
    detail = event.get("error_detail")
    text = f"{event.get('timestamp') or ''} {str(event.get('level') or '').upper()} {event.get('event', '')}"
    return f"{text} {detail}".strip() if detail else text.strip()


def _until(look: Callable[[], Json | None], what: str | Callable[[], str], timeout: float) -> Json:
    deadline = time.monotonic() + timeout
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TestbedError(f"{what if isinstance(what, str) else what()} after {timeout:.0f} s")
        time.sleep(POLL)
    return found
