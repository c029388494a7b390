"""One Kubernetes event per transition, posted after the status write that made it true.

Events are for people, and may be lost: they are posted by one task from a bounded queue, and never hold up
a reconciliation.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from durablejob_api import API_VERSION
from durablejob_api.backend import JobBackend
from durablejob_api.job import DurableJob
from durablejob_api.status import DurableJobStatus, State
from durablejob_controller.errors import KubernetesError, Refused
from durablejob_controller.kube import EVENTS, Kube, Object

log = logging.getLogger(__name__)

NOTE_BYTES = 1024
"""What the API server takes: it counts bytes."""
_WARNINGS = frozenset({State.FAILED, State.LOST})
_ON_THE_WAY = frozenset({"Submitting", "NextAttempt", "Suspended"})


@dataclass(frozen=True, slots=True)
class Transition:
    """What changed, in a word and a line."""

    reason: str
    note: str
    warning: bool
    action: str


def transition(old: DurableJobStatus | None, new: DurableJobStatus) -> Transition | None:
    """The transition from ``old`` to ``new``; None: nothing that a person would want to read."""
    current = new.current
    reason = (current.reason if current else None) or new.state.value
    before = (old.state, old.current.number, old.current.reason, old.current.message) if old and old.current else None
    if current is None or before == (new.state, current.number, reason, current.message):
        return None
    where = f" as {new.external_id}" if new.external_id else ""
    note = f"attempt {current.number}{where}: {current.message or new.state.value}"
    waiting = new.state in (State.PENDING, State.SUBMITTING) and reason not in _ON_THE_WAY
    return Transition(reason, note, new.state in _WARNINGS or waiting, new.state.value)


class EventRecorder:
    """Posts events in the background."""

    def __init__(self, kube: Kube, identity: str) -> None:
        self._kube = kube
        self._identity = identity
        self._queue: asyncio.Queue[Object] = asyncio.Queue(maxsize=10_000)

    def transition(self, job: DurableJob, old: DurableJobStatus | None, new: DurableJobStatus) -> None:
        what = transition(old, new)
        if what is not None:
            self.post(job, what)

    def post(self, about: DurableJob | JobBackend, what: Transition) -> None:
        meta = about.metadata
        namespace = meta.namespace or "default"  # where the events of what has no namespace lie
        event: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta.name[:200].rstrip('-.')}.{uuid.uuid4().hex[:12]}",
                "namespace": namespace,
            },
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "durablejob.io/controller",
            "reportingInstance": self._identity[:128],
            "action": what.action,
            "reason": what.reason[:128],
            "note": what.note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "type": "Warning" if what.warning else "Normal",
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": about.kind,
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
            },
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("an event was dropped: too many are waiting")

    async def run(self) -> None:
        """Post for ever."""
        while True:
            event = await self._queue.get()
            try:
                await self._kube.create(EVENTS, event["metadata"]["namespace"], event)
            except Refused as error:  # no other would fare better: there is something wrong with it
                log.warning("an event is not valid: %s", error)
            except KubernetesError as error:
                log.debug("event not posted: %s", error)
