"""The process: in which order it begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from durablejob_controller import __main__ as process
from durablejob_controller.settings import Settings


async def test_a_start_that_is_under_way_ends_before_the_engine_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Engine:
        def __init__(self, *_: Any) -> None:
            self.told = asyncio.Event()

        async def start(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await self.told.wait()
            done.append("leads")

        async def stop(self) -> None:
            self.told.set()
            await asyncio.sleep(0.02)
            done.append("stopped")

    monkeypatch.setattr(process, "Engine", Engine)
    for name in ("Kube", "Watch", "load_configuration"):
        monkeypatch.setattr(process, name, lambda *_: None)
    await process.run(Settings())
    assert done == ["stopped"]
