"""The crash suite's stand-in for Spark's Master, with cues: submissions, drivers and programs that wait for a word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from tests.crash.claim import Claim
from tests.crash.master import Driver, Master

TICK = 0.05


class CuedMaster(Master):
    """Obeys words from any thread. A program whose first word is ``wait`` goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.takes = True
        """Submissions are taken; else they wait, as in a proxy."""
        self.asks = True
        """Drivers ask the gate; else their JVMs are still starting."""
        self.goes_on = False
        """Programs that wait go on."""
        self.reports = True
        """Drivers report their end; else they die without a word."""

    def forget(self) -> None:
        """Whatever has ended is known no more."""
        for driver in list(self.drivers.values()):
            driver.forgotten = driver.forgotten or not driver.active

    async def _create(self, request: web.Request) -> web.Response:
        await _until(lambda: self.takes)
        return await super()._create(request)

    async def _may_start(self, claim: Claim) -> bool:
        await _until(lambda: self.asks)
        return await super()._may_start(claim)

    async def _works(self, driver: Driver) -> None:
        if driver.how.startswith("wait"):
            await _until(lambda: self.goes_on)
            driver.how = driver.how.removeprefix("wait-")
        await super()._works(driver)

    async def _report(self, claim: Claim, how: str) -> None:
        if self.reports:
            await super()._report(claim, how)


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 -- the word is given in another thread
        await asyncio.sleep(TICK)
