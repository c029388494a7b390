"""Makes the objects that the tests are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Claim, ClaimState, Current, Reservation
from durablejob_controller.backends.contract import Submission

JAR = {"mainApplicationFile": "local:///apps/etl.jar", "mainClass": "com.example.Etl"}
PYTHON = {"mainApplicationFile": "local:///apps/etl.py"}


def job(name: str = "load", **spark: Any) -> DurableJob:
    """A DurableJob whose uid follows from its name."""
    ref = {"kind": "JobBackend", "name": "prod", "type": "SparkStandalone"}
    return DurableJob.model_validate(
        {
            "metadata": {"name": name, "namespace": "data", "uid": f"uid-of-{name}"},
            "spec": {"backendRef": ref, "spark": spark or JAR},
        }
    )


def backend(
    rest: str = "http://master:6066", ui: str = "http://master:8080", conf: Mapping[str, str] | None = None, **more: Any
) -> JobBackendSpec:
    """A backend with one Master; ``more`` are further fields of its spec."""
    masters = more.pop("masters", [{"rest": rest, "ui": ui}])
    return JobBackendSpec.model_validate(
        {"sparkStandalone": {"masters": masters}, "defaults": {"sparkConf": dict(conf or {})}, **more}
    )


def current(work: DurableJob, claim: int = 1, driver: str | None = None) -> Current:
    """The first attempt, with this claim open (or won by ``driver``)."""
    state = ClaimState.OPEN if driver is None else ClaimState.STARTED
    return Current(
        number=1,
        key=key(work),
        claim=Claim(number=claim, state=state, driver=driver),
        reservation=Reservation.model_validate(
            {"backendUID": "b", "backendType": "SparkStandalone", "clusterID": "c", "bodyHash": "h", "at": _NOW}
        ),
    )


def submission(work: DurableJob, claim: int = 1, secrets: Mapping[tuple[str, str], str] | None = None) -> Submission:
    return Submission(work, current(work, claim), secrets or {})


def key(work: DurableJob) -> str:
    return attempt_key(work.metadata.uid, 1)


_NOW = "2026-01-01T00:00:00Z"
