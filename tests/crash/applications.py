"""What applications do on the stand-in for YARN."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from urllib.parse import urlsplit

from tests.backends.yarn.scripted_yarn import App, ScriptedYarn
from tests.crash.claim import Claim, client

RUNS_FOR = 0.4
"""Seconds that a program runs, unless it waits to be killed."""
DENIED = "AM Container for appattempt exited with  exitCode: 75\nException from container-launch."


async def live(cluster: ScriptedYarn, app: App) -> None:
    """An application's life: localized, perhaps given leave, started, ended as it was told."""
    how = _how(app)
    if how == "queue":
        return
    await asyncio.sleep(RUNS_FOR / 4)
    if not cluster.localize(app):
        return
    url = _claim_url(cluster, app)
    if url is None:
        await _program(cluster, app, how)
    else:
        await _behind_the_gate(cluster, app, how, url)


async def _program(cluster: ScriptedYarn, app: App, how: str) -> None:
    app.program = True
    if how == "hold":
        return
    await asyncio.sleep(RUNS_FOR)
    if how == "fail":
        cluster.end(app, "FINISHED", "FAILED", "User application exited with status 3")
    else:
        cluster.end(app)


async def _behind_the_gate(cluster: ScriptedYarn, app: App, how: str, url: str) -> None:
    app.state = "ACCEPTED"  # Spark's ApplicationMaster says that it runs once the program has a SparkContext
    async with client() as http:
        claim = Claim(http, url, app.id)
        if not await claim.may_start():
            cluster.end(app, "FAILED", "FAILED", DENIED)
            return
        app.state, app.program = "RUNNING", True
        if how == "hold":
            return
        await asyncio.sleep(RUNS_FOR)
        if how == "vanish":
            cluster.known.pop(app.id, None)
            cluster.end(app, "FAILED")
            return
        await claim.report({"succeed": "returned", "fail": "threw"}[how])
    cluster.end(app, "FINISHED", "FAILED" if how == "fail" else "SUCCEEDED")


def _how(app: App) -> str:
    """The command is what a generic application is to do; Spark's has it as the program's argument."""
    argument = re.search(r"--arg '(\w+)'", app.command)
    return argument[1] if argument else app.command


def _claim_url(cluster: ScriptedYarn, app: App) -> str | None:
    """Where the gate is asked, as the settings in the container say; None: it has none."""
    for entry in app.body["am-container-spec"]["local-resources"]["entry"]:
        if entry["key"] != "__spark_conf__":
            continue
        file = cluster.files[urlsplit(entry["value"]["resource"]).path]
        assert file is not None
        text = zipfile.ZipFile(io.BytesIO(file.content)).read("__spark_conf__.properties").decode()
        found = re.search(r"^spark\.durablejob\.tokenURL=(.*)$", text, re.MULTILINE)
        return found[1].replace("\\", "") if found else None
    return None
