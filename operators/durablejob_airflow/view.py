"""What the Airflow side reads of a DurableJob: a small frozen value made from the API server's JSON.

Not the pydantic models: a triggerer holds thousands of these, and a resource written by a newer
version must stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from durablejob_api import GROUP

DEPLOYMENT_ANNOTATION = f"{GROUP}/deployment"


@dataclass(frozen=True, slots=True)
class HolderView:
    """The task try that holds the job."""

    incarnation: str
    id: str
    try_number: int = 1
    max_tries: int = 0
    clear_number: int = 0
    acknowledged: int = 0


@dataclass(frozen=True, slots=True)
class CancelView:
    """The wish that an attempt ends."""

    attempt: int
    cause: str
    holder_id: str | None = None


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One aspect of the job's state."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JobView:
    """A DurableJob at one resource version."""

    namespace: str
    name: str
    uid: str
    version: str = ""
    deleting: bool = False
    deployment: str | None = None
    attempt: int = 1
    accept_lost: int = 0
    holder: HolderView | None = None
    cancel: CancelView | None = None
    state: str = "Pending"
    external_id: str | None = None
    tracking_url: str | None = None
    number: int = 0
    outcome: str | None = None
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    progress: str | None = None
    conditions: tuple[ConditionView, ...] = ()

    @property
    def taken_up(self) -> bool:
        """The controller has begun the wished-for attempt; before that, the status is about an older one."""
        return self.number == self.attempt

    @property
    def ended(self) -> str | None:
        """How the wished-for attempt ended; None while it goes on."""
        return self.outcome if self.taken_up else None

    @property
    def cancelled_for(self) -> str | None:
        """Why the wished-for attempt is to end; None if nobody wishes that."""
        return self.cancel.cause if self.cancel and self.cancel.attempt == self.attempt else None

    def result(self) -> dict[str, Any]:
        """What the task returns: the same whichever try returns it."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
            "attempt": self.attempt,
            "externalId": self.external_id,
            "trackingUrl": self.tracking_url,
        }


def _holder(raw: Mapping[str, Any] | None) -> HolderView | None:
    if not raw:
        return None
    return HolderView(
        incarnation=raw.get("incarnation", ""),
        id=raw.get("id", ""),
        try_number=raw.get("tryNumber", 1),
        max_tries=raw.get("maxTries", 0),
        clear_number=raw.get("clearNumber", 0),
        acknowledged=raw.get("acknowledged", 0),
    )


def _progress(raw: Mapping[str, Any] | None) -> str | None:
    if not raw:
        return None
    percent = raw.get("percent")
    parts = [f"{percent} %" if percent is not None else "", raw.get("message") or ""]
    return ", ".join(part for part in parts if part) or None


def view_of(raw: Mapping[str, Any]) -> JobView:
    """The API server's JSON of a DurableJob as a view."""
    meta, spec = raw.get("metadata") or {}, raw.get("spec") or {}
    status = raw.get("status") or {}
    current, cancel = status.get("current") or {}, spec.get("cancel")
    return JobView(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        version=meta.get("resourceVersion", ""),
        deleting=bool(meta.get("deletionTimestamp")),
        deployment=(meta.get("annotations") or {}).get(DEPLOYMENT_ANNOTATION),
        attempt=spec.get("attempt", 1),
        accept_lost=spec.get("acceptLost", 0),
        holder=_holder(spec.get("holder")),
        cancel=CancelView(cancel["attempt"], cancel.get("cause", "User"), cancel.get("holderID")) if cancel else None,
        state=status.get("state", "Pending"),
        external_id=status.get("externalID"),
        tracking_url=status.get("trackingURL"),
        number=current.get("number", 0),
        outcome=current.get("outcome"),
        reason=current.get("reason"),
        message=current.get("message"),
        exit_code=current.get("exitCode"),
        progress=_progress(status.get("progress")),
        conditions=tuple(
            ConditionView(c.get("type", ""), c.get("status", ""), c.get("reason", ""), c.get("message", ""))
            for c in status.get("conditions") or ()
        ),
    )
