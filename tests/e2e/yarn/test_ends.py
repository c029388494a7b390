"""Every way in which an application ends, told as it was; all are submitted at once, to wait but once."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import Stage

ENDS = {
    "yarn-jar": ("Succeeded", "Succeeded", 1, None),
    "yarn-python": ("Succeeded", "Succeeded", 1, None),
    "gated-jar": ("Succeeded", "Succeeded", 1, None),
    "gated-python": ("Succeeded", "Succeeded", 1, None),
    "yarn-throws": ("Failed", "ProgramFailed", 1, "exit code 13"),
    "gated-throws": ("Failed", "ProgramFailed", 1, "boom|IllegalArgumentException"),
    "yarn-exits": ("Failed", "ProgramFailed", 1, "exit code 3"),
    "gated-exits": ("Failed", "ProgramFailed", 1, "exit code 3"),
    "generic": ("Succeeded", "Succeeded", 1, None),
    "generic-fails": ("Failed", "ProgramFailed", 1, "it was told FAILED"),
    "generic-exits": ("Failed", "ProgramFailed", 1, "exit code 3"),
    "killed": ("Failed", "Killed", 1, "not by durablejob"),
    "no-queue": ("Failed", "QueueRefused", 0, "unknown queue: nowhere"),
    "too-large": ("Failed", "Rejected", 0, "more memory than configured max"),
    "no-file": ("Failed", "FileNotFound", 0, "/apps/absent.jar does not exist"),
    "not-gated": ("Failed", "NotSupported", 0, "only Spark applications ask"),
}
"""Name -> state, reason, starts, words of the message."""


@pytest.fixture(scope="module")
def submitted(stage: Stage, desk: Desk) -> Stage:
    specs = {
        "yarn-jar": stage.spark("yarn", "yarn-jar", "count"),
        "yarn-python": stage.spark("yarn", "yarn-python", "count", python=True),
        "gated-jar": stage.spark("gated", "gated-jar", "count"),
        "gated-python": stage.spark("gated", "gated-python", "count", python=True),
        "yarn-throws": stage.spark("yarn", "yarn-throws", "throw"),
        "gated-throws": stage.spark("gated", "gated-throws", "throw"),
        "yarn-exits": stage.spark("yarn", "yarn-exits", "exit3"),
        "gated-exits": stage.spark("gated", "gated-exits", "exit3"),
        "generic": stage.generic("yarn", "generic", tags=["Nightly"], priority=3),
        "generic-fails": stage.generic("yarn", "generic-fails", "FAILED"),
        "generic-exits": stage.generic("yarn", "generic-exits", "exit3"),
        "killed": stage.generic("yarn", "killed", seconds=600),
        "no-queue": stage.generic("yarn", "no-queue", queue="nowhere"),
        "too-large": stage.generic("yarn", "too-large", resource={"memoryMb": 99_000}),
        "no-file": stage.spark("yarn", "no-file", mainApplicationFile="hdfs:///apps/absent.jar"),
        "not-gated": stage.generic("gated", "not-gated"),
    }
    assert set(specs) == set(ENDS)
    for name, spec in specs.items():
        desk.submit(spec, name)
    desk.state("killed", "Running", timeout=120)
    stage.cluster.kill_app(stage.app_of("killed"))
    return stage


@pytest.mark.parametrize("name", ENDS)
def test_an_application_ends_as_it_did(submitted: Stage, desk: Desk, name: str) -> None:
    state, reason, starts, said = ENDS[name]
    status = desk.end(name, timeout=300)
    current = status["current"]
    assert (status["state"], current["reason"]) == (state, reason), status
    assert desk.starts()[name] == starts
    if said is not None:
        assert any(words in current["message"] for words in said.split("|")), current["message"]


def test_executors_ran_in_containers_of_their_own(submitted: Stage, desk: Desk) -> None:
    for name in ("yarn-jar", "gated-python"):
        desk.end(name, timeout=300)
        logs = submitted.cluster.container_logs(submitted.app_of(name))
        assert "even numbers: 500" in logs
        assert "Running task 0.0 in stage" in logs


def test_exit_codes_and_ids_are_told(submitted: Stage, desk: Desk) -> None:
    assert desk.end("generic-exits", timeout=300)["current"]["exitCode"] == 3
    status = desk.end("generic", timeout=300)
    assert status["externalID"].startswith("application_")
    assert status["externalID"] in status["trackingURL"]
    (app,) = [app for app in submitted.cluster.apps() if app["id"] == status["externalID"]]
    assert app["user"] == "etl"
    assert "nightly" in app["applicationTags"].split(",")
    assert app["priority"] == 3


def test_files_come_from_hdfs_and_over_http_with_their_visibility(submitted: Stage, desk: Desk, tmp_path: Path) -> None:
    submitted.backend("web", artifactSchemes=["hdfs", "http"], clusterID="web")
    submitted.cluster.upload("/apps/words.txt", b"from hdfs\n")
    (tmp_path / "words.txt").write_text("from the web\n")
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = submitted.generic("web", "files")
    work = spec["yarn"]
    work["command"] = "cat public.txt private.txt web.txt && " + work["command"].replace("1><LOG_DIR>/stdout ", "")
    work["command"] = f"({work['command']}) 1><LOG_DIR>/stdout"
    work["localResources"] += [
        {"name": "public.txt", "uri": "hdfs:///apps/words.txt", "visibility": "PUBLIC"},
        {"name": "private.txt", "uri": "hdfs:///apps/job.py", "visibility": "PRIVATE"},
        {"name": "web.txt", "uri": f"http://127.0.0.1:{server.server_port}/words.txt"},
    ]
    try:
        status = desk.end(desk.submit(spec, "files"), timeout=120)
    finally:
        server.shutdown()
        server.server_close()
    assert status["state"] == "Succeeded", status
    logs = submitted.cluster.container_logs(submitted.app_of("files"))
    assert "from hdfs" in logs
    assert "from the web" in logs


def test_each_backend_says_beforehand_what_it_guarantees(submitted: Stage) -> None:
    staged, gated = submitted.ready("yarn"), submitted.ready("gated")
    assert staged["guarantee"] == "Conditional"
    assert "remembers 1000 ended applications" in staged["message"]
    assert gated["guarantee"] == "Exact"
    assert staged["version"] == "3.5.0"


def test_a_deleted_job_leaves_nothing_in_the_staging_area(submitted: Stage, desk: Desk) -> None:
    for name in ("generic", "gated-jar", "no-queue"):
        key = desk.end(name, timeout=300)["current"]["key"]
        desk.delete(name)
        for home in (key, f"{key}.closed", f"{key}.seen"):
            assert not submitted.cluster.exists(f"/staging/{home}")
