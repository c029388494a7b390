"""What applications do on the stand-in for YARN."""

from __future__ import annotations

import asyncio

from tests.backends.yarn.scripted_yarn import App, ScriptedYarn

RUNS_FOR = 0.4
"""Seconds that a program runs, unless it waits to be killed."""


async def live(cluster: ScriptedYarn, app: App) -> None:
    """An application's life: localized, started, ended as it was told."""
    if app.command == "queue":
        return
    await asyncio.sleep(RUNS_FOR / 4)
    if not cluster.launch(app) or app.command == "hold":
        return
    await asyncio.sleep(RUNS_FOR)
    if app.command == "fail":
        cluster.end(app, "FINISHED", "FAILED", "User application exited with status 3")
    else:
        cluster.end(app)
