"""DurableJobs in the situations that the rules tell apart, and how each came about."""

from __future__ import annotations

from typing import Any

from durablejob_api.names import attempt_key
from tests.api.client import Api, Json, Refused

JOB = "DurableJob"
KEY, NEXT_KEY = attempt_key("uid", 1), attempt_key("uid", 2)
SPEC: Json = {
    "backendRef": {"kind": "ClusterJobBackend", "name": "spark-prod", "type": "SparkStandalone"},
    "holder": {"incarnation": "life-1", "id": "try-2", "tryNumber": 2},
    "spark": {"mainApplicationFile": "local:///opt/etl.py"},
}
RESERVATION: Json = {
    "backendUID": "b-1",
    "backendType": "SparkStandalone",
    "clusterID": "c-1",
    "bodyHash": "h-1",
    "at": "2026-01-01T00:00:00Z",
}
CANCEL: Json = {"attempt": 1, "holderID": "try-2", "cause": "Cleared"}
WON: Json = {"state": "Started", "nonce": "n-1", "driver": "driver-1"}
END: Json = {"finishedAt": "2026-01-01T01:00:00Z", "exitCode": 3}


def second(**fields: Any) -> Json:
    """The first write of attempt 2, on a situation where attempt 1 has ended."""
    current = {"number": 2, "key": NEXT_KEY, "reservation": None, "claim": None, "runStartedTime": None}
    gone = {"outcome": None, "reason": None, "exitCode": None, "finishedAt": None}
    return {"state": "Pending", "externalID": None, "current": {**current, **gone, **fields}}


STEPS: dict[str, tuple[str | None, tuple[Json, ...]]] = {
    "fresh": (None, ()),
    "pending": ("fresh", ({"status": {"state": "Pending", "current": {"number": 1, "key": KEY}}},)),
    "reserved": ("pending", ({"status": {"state": "Submitting", "current": {"reservation": RESERVATION}}},)),
    "open": ("reserved", ({"status": {"current": {"claim": {"number": 1, "state": "Open"}}}},)),
    "revoked": ("open", ({"status": {"current": {"claim": {"state": "Revoked"}}}},)),
    "started": (
        "open",
        ({"status": {"state": "Running", "externalID": "driver-1", "current": {"claim": WON, "runStartedTime": "s"}}},),
    ),
    "ended": ("started", ({"status": {"current": {"claim": {"state": "Ended", "how": "returned"}}}},)),
    "failed": (
        "started",
        ({"status": {"state": "Failed", "current": {"outcome": "Failed", "reason": "ExitCode", **END}}},),
    ),
    "unstarted": (
        "pending",
        ({"status": {"state": "Failed", "current": {"outcome": "Failed", "reason": "Rejected"}}},),
    ),
    "lost": ("started", ({"status": {"state": "Lost", "current": {"outcome": "Lost"}}},)),
    "accepted": ("lost", ({"spec": {"acceptLost": 1}},)),
    "acknowledged": ("failed", ({"spec": {"holder": {"acknowledged": 1}}},)),
    "wished": ("started", ({"spec": {"cancel": CANCEL}},)),
    "granted": ("wished", ({"status": {"state": "Cancelled", "current": {"outcome": "Cancelled"}}},)),
    "raised": ("granted", ({"spec": {"attempt": 2}},)),
    "second": ("raised", ({"status": second()},)),
}
"""Situation -> the one before it, and the writes that lead on. ``raised`` still holds the old cancel."""


class Situations:
    """Makes each situation once, by writes that the API server accepted."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._made: set[str] = set()

    def name(self, situation: str) -> str:
        """Name of the DurableJob in that situation."""
        if situation not in self._made:
            self._made.add(situation)
            try:
                self._make(situation)
            except Refused as refused:  # not to be taken for the refusal that a test is about
                raise AssertionError(f"{situation} cannot be reached") from refused
        return situation

    def _make(self, situation: str) -> None:
        self._api.create(JOB, situation, SPEC, keep=True)
        for change in self._history(situation):
            ((part, content),) = change.items()
            self._api.patch(JOB, situation, content, status=part == "status", keep=True)

    def _history(self, situation: str) -> tuple[Json, ...]:
        before, steps = STEPS[situation]
        return (*(self._history(before) if before else ()), *steps)
