"""Leader election by a Lease: it only saves double work.

Nothing depends on there being one leader (protocol rule 9): two leaders make every start and every end at
most once all the same. Hence no fencing epoch, and a simple elector: whoever cannot renew for two thirds of
the lease's duration stops deciding, measured by its own monotonic clock; others take over when they have
not seen the record change for the whole duration, measured by theirs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from durablejob_controller import metrics
from durablejob_controller.errors import Conflict, KubernetesError, NotFound
from durablejob_controller.kube import LEASES, Kube, Object

log = logging.getLogger(__name__)


class Elector:
    """Tries to hold one Lease; tells ``changed`` when it begins and ceases to."""

    def __init__(
        self, kube: Kube, namespace: str, name: str, identity: str, duration: float, changed: Callable[[bool], None]
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._changed = changed
        self._lease: Object | None = None
        self._observed: tuple[Any, float] = (None, 0.0)
        """The foreign record as last seen, and since when (monotonic) it has been the same."""
        self._renewed = 0.0
        self.leading = False

    async def run(self) -> None:
        """Elect for ever; let go of the lease when cancelled."""
        try:
            while True:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(self._patience(began)):
                        held = await self._try()
                except (KubernetesError, TimeoutError) as error:
                    log.warning("lease %s: %s", self._name, str(error) or type(error).__name__)
                    held = self.leading and time.monotonic() - self._renewed < self._duration * 2 / 3
                else:
                    if held:
                        self._renewed = began  # from before the request was sent: on the safe side
                self._set(held)
                await asyncio.sleep(self._pause(began))
        finally:
            await self._release()

    def _patience(self, now: float) -> float:
        """Seconds for one try: a leader must have stopped when two thirds are over, whatever the API server does."""
        return max(0.05, min(self._duration / 3, self._left(now))) if self.leading else self._duration / 3

    def _pause(self, began: float) -> float:
        now = time.monotonic()
        pause = max(0.1, self._duration / 5 - (now - began))
        return min(pause, max(0.05, self._left(now))) if self.leading else pause

    def _left(self, now: float) -> float:
        return self._renewed + self._duration * 2 / 3 - now

    def _set(self, leading: bool) -> None:
        if leading != self.leading:
            self.leading = leading
            metrics.LEADER.set(int(leading))
            log.info("%s: %s", self._identity, "leading" if leading else "standing by")
            self._changed(leading)

    async def _try(self) -> bool:
        try:
            self._lease = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create()
        spec = self._lease.get("spec", {})
        holder = spec.get("holderIdentity")
        if holder not in (self._identity, "", None) and not self._is_silent(spec):
            return False
        if holder != self._identity:
            spec = {**spec, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1, "acquireTime": _now()}
        return await self._write({**spec, **self._record()})

    def _is_silent(self, spec: Object) -> bool:
        """Whether the holder has not renewed for as long as it promised to."""
        record = (spec.get("holderIdentity"), spec.get("renewTime"))
        now = time.monotonic()
        if self._observed[0] != record:
            self._observed = (record, now)
        return now - self._observed[1] > float(spec.get("leaseDurationSeconds") or self._duration)

    def _record(self) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": _now(),
        }

    async def _create(self) -> bool:
        meta = {"name": self._name, "namespace": self._namespace}
        spec = {**self._record(), "acquireTime": _now(), "leaseTransitions": 0}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            self._lease = await self._kube.create(LEASES, self._namespace, body)
        except Conflict:
            return False
        return True

    async def _write(self, spec: Object) -> bool:
        if self._lease is None:
            return False
        try:
            self._lease = await self._kube.replace(LEASES, {**self._lease, "spec": spec})
        except Conflict:
            return False
        return True

    async def _release(self) -> None:
        if not self.leading or self._lease is None:
            return
        self._set(False)
        try:
            await self._write({**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
        except KubernetesError as error:
            log.info("lease not released, it will run out: %s", error)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
