"""Makes the objects that the tests are about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestServer

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Current, Reservation
from durablejob_controller.backends.contract import Backend, Offer, Submission
from tests.backends.yarn.scripted_yarn import ScriptedYarn

GENERIC = {"yarn": {"command": "run <LOG_DIR>"}}
JAR = {"spark": {"mainApplicationFile": "hdfs://nn:8020/apps/etl.jar", "mainClass": "com.example.Etl"}}
PYTHON = {"spark": {"mainApplicationFile": "hdfs://nn:8020/apps/etl.py"}}
SPARK = {"version": "4.3.0", "archive": "hdfs://nn:8020/spark/libs.zip"}


def job(name: str = "load", **work: Any) -> DurableJob:
    """A DurableJob whose uid follows from its name."""
    ref = {"kind": "JobBackend", "name": "prod", "type": "Yarn"}
    meta = {"name": name, "namespace": "data", "uid": f"uid-of-{name}"}
    return DurableJob.model_validate({"metadata": meta, "spec": {"backendRef": ref, **(work or GENERIC)}})


def key(work: DurableJob) -> str:
    return attempt_key(work.metadata.uid, 1)


def backend(url: str = "http://rm:8088", *, gated: bool = False, **more: Any) -> JobBackendSpec:
    """A backend whose ResourceManager, NameNode and DataNode are all at ``url``."""
    staging = {"dir": "hdfs://nn:8020/staging", "webhdfs": webhdfs(url)}
    yarn = {"resourceManagers": [url], "user": "etl", "staging": staging, "spark": SPARK, **more.pop("yarn", {})}
    return JobBackendSpec.model_validate({"yarn": yarn, "fence": {"mode": "Gate" if gated else "Staging"}, **more})


def webhdfs(url: str) -> dict[str, Any]:
    """HDFS whose NameNode and DataNode are at ``url``."""
    return {"nameNodes": [url], "dataNodes": [url]}


def recorded(work: DurableJob, offer: Offer, body_hash: str = "h") -> Current:
    """The first attempt with this reservation."""
    reservation = Reservation.model_validate(
        {
            "backendUID": "b", "backendType": "Yarn", "clusterID": "c", "bodyHash": body_hash,
            "at": "2026-01-01T00:00:00Z", "applicationID": offer.application_id, "incarnation": offer.incarnation,
            "staging": offer.staging,
        }
    )  # fmt: skip
    return Current(number=1, key=key(work), reservation=reservation)


async def reserve(work: DurableJob, made: Backend, secrets: Mapping[tuple[str, str], str] | None = None) -> Submission:
    """Reserve it, and record that."""
    offer = await made.reserve(work, key(work))
    assert isinstance(offer, Offer), offer
    return Submission(work, recorded(work, offer, made.body_hash(work, key(work))), secrets or {})


@asynccontextmanager
async def serving(cluster: ScriptedYarn) -> AsyncIterator[ScriptedYarn]:
    """The stand-in at its ``url``."""
    for path in ("/apps/etl.jar", "/apps/etl.py", "/spark/libs.zip"):
        cluster.put(path, path.encode())
    async with TestServer(cluster.application()) as server:
        cluster.url = f"http://127.0.0.1:{server.port}"
        yield cluster
