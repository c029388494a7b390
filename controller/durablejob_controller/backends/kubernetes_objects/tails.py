"""The last lines of what a failed program has said, where the backend's administrator wants them told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping

from durablejob_controller.backends.kubernetes_objects.calls import Calls
from durablejob_controller.errors import BackendError

PATIENCE = 5.0
"""Seconds for all logs of one look together: an end is told in time, without its log if need be."""
LENGTH = 640
"""Characters of the lines that are told: a job's message has 1,024."""
_AT_ONCE = 8
_SEARCHED = 100
"""Last lines in which those are looked for that are told."""
_CONTROL = re.compile(r"[^\n\t -~\u00a0-\uffff]|\ufffd")
"""What a terminal might obey."""


Culprit = tuple[str, str, str]
"""Namespace, pod and container whose log says why a program has failed."""


class Tails:
    """Reads each log once: a program that has ended says nothing new."""

    def __init__(self, calls: Calls, lines: int) -> None:
        self._calls = calls
        self._lines = lines
        self._known: dict[str, str] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(
        self, guilty: Mapping[str, Culprit], telling: Callable[[str], bool] | None = None
    ) -> Mapping[str, str]:
        """The lines of these, by the same names (uids of the objects that have failed and are not released).

        ``telling``: which lines are told at all; without it every line is.
        """
        if not self._lines:
            return {}
        new = {uid: found for uid, found in guilty.items() if uid not in self._known}
        if new:
            tasks = {asyncio.create_task(self._read(*found, telling)): uid for uid, found in new.items()}
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task, uid in tasks.items():
                self._known[uid] = "(its log could not be read in time)" if task in late else task.result()
                task.cancel()
        return self._known

    def keep(self, uids: Collection[str]) -> None:
        """Forget all but these: the others are listed no more."""
        self._known = {uid: text for uid, text in self._known.items() if uid in uids}

    async def _read(self, namespace: str, pod: str, container: str, telling: Callable[[str], bool] | None) -> str:
        try:
            async with self._slots:
                text = await self._calls.log(namespace, pod, container, _SEARCHED if telling else self._lines)
        except BackendError as error:
            return f"(its log could not be read: {error})"
        if telling is not None:
            text = "\n".join([line for line in text.splitlines() if telling(line)][-self._lines :])
        return shortened(text)


def shortened(text: str) -> str:
    """The end of it, without what a terminal might obey."""
    clean = _CONTROL.sub("", text).strip()
    return clean if len(clean) <= LENGTH else f"…{clean[-LENGTH:]}"
