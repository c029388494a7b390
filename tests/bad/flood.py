"""Creates bad objects beside good jobs, on a real API server with a real controller process, and judges.

What is asked: the process lives on; every object that the API server takes says how it is, in a condition, within a
bound; every good job ends well, within another; nothing was met that the controller did not expect; all of it can be
deleted again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from durablejob_controller.errors import KubernetesError, NotFound, Refused
from durablejob_controller.kube import BACKENDS, JOBS, MERGE_PATCH, Kube, Resource, load_configuration
from tests.bad.generate import DRIVERS, FINALIZER, GOOD_JOBS, Generator
from tests.crash.master import Yard
from tests.testbed import controller as controllers
from tests.testbed import site as sites
from tests.testbed.controller import Controller
from tests.testbed.kube import kubelet
from tests.testbed.kube.cluster import Cluster

Json = Any
CRD = Resource("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)
PLURALS = {"durablejobs": JOBS, "jobbackends": BACKENDS}
AT_ONCE = 12
"""Requests at the same time."""
BACKLOG = 200
"""Jobs in the controller's queue beyond which nothing is created for a moment: its speed is the benchmark's matter."""
GOOD_EVERY = 40
"""A good job after so many bad objects."""
VERDICT_BOUND = 60.0
"""Seconds from the creation to a condition with a reason."""
GOOD_BOUND = 60.0
"""Seconds from a good job's creation to its end."""
GONE_BOUND = 0.25
"""Seconds for each object until all are deleted, and a minute."""
STORED_PATIENCE = 5.0
"""Seconds in which a stored one must be deleted, or counts as one that nobody can delete."""
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Lost")


@dataclass
class Report:
    """What came of it."""

    seed: int
    objects: int = 0
    refused: int = 0
    accepted: int = 0
    stored: int = 0
    """Objects that today's schema refuses, and that were there all the same."""
    good: int = 0
    crashes: int = 0
    stalls: list[str] = field(default_factory=list)
    """Objects without a verdict within the bound, and good jobs that were late."""
    unexpected: list[str] = field(default_factory=list)
    """Errors that the controller did not expect."""
    parked: int = 0
    """Stored ones that the API server lets nobody write, so that an event and the log say what a condition cannot."""
    kept: int = 0
    """Those of them that it lets nobody delete, as it lets nobody take a finalizer off."""
    left: list[str] = field(default_factory=list)
    """Valid objects that could not be deleted."""
    verdicts: Counter[str] = field(default_factory=Counter)
    backends: Counter[str] = field(default_factory=Counter)
    slowest_verdict: float = 0.0
    slowest_good: float = 0.0
    memory_mb: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return not (self.crashes or self.stalls or self.unexpected or self.left)

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "objects": self.objects,
            "refused_by_the_api_server": self.refused,
            "accepted": self.accepted,
            "stored_invalid": self.stored,
            "stored_parked": self.parked,
            "stored_not_deletable": self.kept,
            "good_jobs": self.good,
            "crashes": self.crashes,
            "stalls": len(self.stalls),
            "stalled": self.stalls[:50],
            "unexpected_errors": self.unexpected[:50],
            "not_deleted": self.left[:50],
            "verdicts": dict(self.verdicts.most_common()),
            "backends": dict(self.backends.most_common()),
            "slowest_verdict_s": round(self.slowest_verdict, 1),
            "slowest_good_job_s": round(self.slowest_good, 1),
            "memory_mb": self.memory_mb,
            "seconds": self.seconds,
        }


@dataclass
class Place:
    """A namespace with backends, and the controller that watches it."""

    cluster: Cluster
    controller: Controller
    namespace: str


@contextmanager
def place(cluster: Cluster, folder: Path, namespace: str) -> Iterator[Place]:
    """Backends fake, spark (a stand-in's), jobs and drivers, and a controller of one's own."""
    cluster.kubectl("create", "namespace", namespace)
    with Yard() as yard, yard.master() as master, kubelet.running(cluster, folder, node=f"{namespace}-node"):
        address = {"rest": master.url, "ui": master.url}
        spark = {"sparkStandalone": {"masters": [address]}, "artifactSchemes": ["local"]}
        specs: dict[str, Json] = {"fake": {"plugin": {"name": "fake"}}, "spark": spark, "jobs": {"kubernetes": {}}}
        specs["drivers"] = DRIVERS
        for name, spec in specs.items():
            meta = {"name": name, "namespace": namespace}
            body = {"apiVersion": "durablejob.io/v1alpha1", "kind": "JobBackend", "metadata": meta, "spec": spec}
            cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
        options = ("--namespaces", namespace, "--own-namespace", namespace, "--poll-interval", "1")
        with controllers.running(cluster, *options, name=f"controller-{namespace}") as controller:
            controller.wait_leading()
            yield Place(cluster, controller, namespace)


class Flood:
    """One run."""

    def __init__(self, where: Place, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
        self.report = Report(seed)
        self._where = where
        self._say = say
        self._generator = Generator(seed)
        self._kube = Kube(load_configuration(str(where.cluster.kubeconfig), None), timeout=60)
        self._made: set[tuple[str, str]] = set()
        """Plural and name of what was accepted."""
        self._good: set[str] = set()
        self._stored: set[str] = set()
        self._parked: set[str] = set()
        process = where.controller.process
        assert process is not None
        self._process = process

    async def run(self, count: int, stored: int) -> Report:
        """Create so many of each, judge, delete."""
        self._remember("before")
        began = time.monotonic()
        try:
            await self._create(list(self._generator.objects(count)))
            await self._store([self._generator.stored() for _ in range(stored)])
            self.report.seconds["creating"] = self._since(began)
            await self._until_told()
            self.report.seconds["all told"] = self._since(began)
            await self._verdicts()
            self._remember("all there")
            await self._delete()
            self.report.seconds["all deleted"] = self._since(began)
            self._remember("all deleted")
            self.report.memory_mb["peak"] = self._memory("VmHWM")
            self._look_at_the_process()
        finally:
            await self._kube.aclose()
        return self.report

    # --- creating ---------------------------------------------------------------------------------------

    async def _create(self, objects: Sequence[tuple[str, Json]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, plural: str, body: Json) -> None:
            async with gate:
                if number % 50 == 0:
                    await self._wait_for_the_queue()
                if number % GOOD_EVERY == 0:
                    await self._good_job(number // GOOD_EVERY)
                await self._post(plural, body)
                if number % 500 == 499:
                    self._say(f"{number + 1} of {len(objects)} made, {self.report.refused} of them refused")

        await asyncio.gather(*(one(number, plural, body) for number, (plural, body) in enumerate(objects)))

    async def _wait_for_the_queue(self) -> None:
        deadline = time.monotonic() + VERDICT_BOUND
        while time.monotonic() < deadline:
            try:
                if await asyncio.to_thread(self._where.controller.metric, "workqueue_depth") <= BACKLOG:
                    return
            except httpx.HTTPError as error:
                self._say(f"the controller's metrics: {type(error).__name__}")
            await asyncio.sleep(0.5)

    async def _post(self, plural: str, body: Json) -> bool:
        self.report.objects += 1
        name = str(body["metadata"]["name"])
        try:
            await self._kube.create(PLURALS[plural], self._where.namespace, body)
        except (Refused, NotFound):  # the second: a name that makes another path
            self.report.refused += 1
            return False
        except KubernetesError as error:
            if error.status != 409:
                raise
            self.report.refused += 1
            return False
        self.report.accepted += 1
        self._made.add((plural, name))
        return True

    async def _good_job(self, number: int) -> None:
        name = f"good-{number:05d}"
        meta = {"name": name, "finalizers": [FINALIZER]}
        spec = GOOD_JOBS[number % len(GOOD_JOBS)]
        body = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob", "metadata": meta, "spec": spec}
        await self._kube.create(JOBS, self._where.namespace, body)
        self._good.add(name)
        self.report.good += 1

    async def _store(self, objects: Sequence[tuple[str, Json]]) -> None:
        """Create them under a CRD that lets everything pass, as an older one might have; then today's is back."""
        if not objects:
            return
        name = "durablejobs.durablejob.io"
        today = await self._loosen(name)
        try:
            probe = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob", "metadata": {"name": "ancient"}}
            for _ in range(100):  # the new schema is served a moment later
                if await self._post("durablejobs", {**probe, "spec": {"ancient": True}}):
                    break
                self.report.objects -= 1
                self.report.refused -= 1
                await asyncio.sleep(0.1)
            self._stored.add("ancient")
            for plural, body in objects:
                if await self._post(plural, body):
                    self._stored.add(str(body["metadata"]["name"]))
            self.report.stored = len(self._stored)
        finally:
            await self._put_crd(name, today)
        self._say(f"{self.report.stored} invalid ones are stored; today's schema is back")

    async def _loosen(self, name: str) -> Json:
        """Let the CRD take everything; returns what it was."""
        today = await self._kube.get(CRD, None, name)
        loose = json.loads(json.dumps(today["spec"]))
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        root = loose["versions"][0]["schema"]["openAPIV3Schema"]
        root.pop("x-kubernetes-validations", None)
        root["properties"] |= {"spec": anything, "status": anything}
        loose["versions"][0]["subresources"] = {}  # a status may be created with the rest
        loose["versions"][0].pop("selectableFields", None)
        await self._put_crd(name, loose)
        return today["spec"]

    async def _put_crd(self, name: str, spec: Json) -> None:
        for _ in range(20):
            now = await self._kube.get(CRD, None, name)
            try:
                await self._kube.replace(CRD, {**now, "spec": spec})
            except KubernetesError as error:
                if error.status != 409:
                    raise
            else:
                return

    # --- judging ----------------------------------------------------------------------------------------

    async def _list(self) -> list[tuple[str, Json]]:
        found: list[tuple[str, Json]] = []
        for plural, resource in PLURALS.items():
            async for raw in self._kube.pages(resource, self._where.namespace):
                found.append((plural, raw))
        return found

    async def _until_told(self) -> None:
        """Until every object is told and every good job has ended; what is not by then has stalled."""
        deadline = time.monotonic() + VERDICT_BOUND + GOOD_BOUND
        while True:
            await self._look_for_parked()
            found = await self._by_name()
            rest = [name for name, raw in found if name in self._made and not self._is_told(name, raw)]
            late = [name for (_, name), raw in found if name in self._good and not has_ended(raw)]
            if not rest and not late:
                return
            if time.monotonic() > deadline:
                self.report.stalls += [f"{plural} {name}: nothing is said" for plural, name in rest]
                self.report.stalls += [f"good job {name} has not ended" for name in late]
                return
            self._say(f"{len(rest)} not told yet, {len(late)} good jobs under way")
            await asyncio.sleep(max(1.0, len(found) / 1000))

    def _is_told(self, key: tuple[str, str], raw: Json) -> bool:
        return is_told(raw) or key[1] in self._parked

    async def _look_for_parked(self) -> None:
        """Those that were stored against today's rules may be told by an event only."""
        path = f"/api/v1/namespaces/{self._where.namespace}/events"
        found = await self._kube.call("GET", path, params={"fieldSelector": "reason=Parked"})
        self._parked |= {item["involvedObject"]["name"] for item in found["items"]} & self._stored

    async def _by_name(self) -> list[tuple[tuple[str, str], Json]]:
        return [((plural, raw["metadata"]["name"]), raw) for plural, raw in await self._list()]

    async def _verdicts(self) -> None:
        """Count them, and how long each took, by the objects' own times (whole seconds)."""
        for key, raw in await self._by_name():
            status = raw.get("status") or {}
            if key[1] in self._good:
                self._judge_good(key[1], raw)
            if key not in self._made:
                continue
            if not is_told(raw):
                self.report.parked += key[1] in self._parked
                self.report.verdicts["(parked: the API server refuses every write)"] += 1
                continue
            conditions = status["conditions"]
            took = min(seconds(raw, condition["lastTransitionTime"]) for condition in conditions)
            self.report.slowest_verdict = max(self.report.slowest_verdict, took)
            if took > VERDICT_BOUND:
                self.report.stalls.append(f"{key[0]} {key[1]}: nothing was said for {took:.0f} s")
            if key[0] == "jobbackends":
                self.report.backends[f"{conditions[0]['status']} {conditions[0]['reason']}"] += 1
            else:
                self.report.verdicts[f"{status.get('state')} {status['current'].get('reason')}"] += 1

    def _judge_good(self, name: str, raw: Json) -> None:
        if not has_ended(raw):
            return  # it has stalled, which was said
        took, state = seconds(raw, raw["status"]["current"]["finishedAt"]), raw["status"]["state"]
        self.report.slowest_good = max(self.report.slowest_good, took)
        if state != "Succeeded" or took > GOOD_BOUND:
            self.report.stalls.append(f"good job {name}: {state} after {took:.0f} s")

    async def _delete(self) -> None:
        began, total = time.monotonic(), len(await self._list())
        for resource in (JOBS, BACKENDS):
            await self._kube.call("DELETE", resource.path(self._where.namespace), params={"gracePeriodSeconds": "0"})
            while left := [raw["metadata"]["name"] async for raw in self._kube.pages(resource, self._where.namespace)]:
                valid = [name for name in left if name not in self._stored]
                if resource is JOBS and not valid and time.monotonic() - began > STORED_PATIENCE:
                    self.report.kept = len(left)
                    await self._sweep(left)
                    break
                if time.monotonic() - began > 60 + total * GONE_BOUND:
                    self.report.left += [f"{resource.plural} {name}" for name in valid]
                    break
                self._say(f"{len(left)} {resource.plural} still to go")
                await asyncio.sleep(2)

    async def _sweep(self, names: Sequence[str]) -> None:
        """What the rules keep is let go under a CRD without rules: what an administrator would have to do."""
        crd = "durablejobs.durablejob.io"
        today = await self._loosen(crd)
        try:
            for name in names:
                path = JOBS.path(self._where.namespace, name)
                for _ in range(100):
                    try:
                        free = {"metadata": {"finalizers": None}}
                        await self._kube.call("PATCH", path, body=free, content_type=MERGE_PATCH)
                    except NotFound:
                        break
                    except KubernetesError:
                        await asyncio.sleep(0.1)
        finally:
            await self._put_crd(crd, today)

    # --- the process ------------------------------------------------------------------------------------

    def _look_at_the_process(self) -> None:
        alive = self._process.alive and self._where.controller.ready()
        self.report.crashes = 0 if alive else 1
        lines = self._where.controller.log.splitlines()
        words = ("unexpected error", "cannot be taken in", "probing failed", "Traceback", "list failed")
        self.report.unexpected = [line for line in lines if any(word in line for word in words)]

    def _remember(self, when: str) -> None:
        self.report.memory_mb[when] = self._memory("VmRSS")

    def _memory(self, name: str) -> float:
        try:
            text = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0.0
        line = next((line for line in text.splitlines() if line.startswith(name)), f"{name}: 0 kB")
        return round(int(line.split()[1]) / 1024, 1)

    @staticmethod
    def _since(began: float) -> float:
        return round(time.monotonic() - began, 1)


def seconds(raw: Json, until: str) -> float:
    """From its creation."""
    return (
        datetime.fromisoformat(until) - datetime.fromisoformat(raw["metadata"]["creationTimestamp"])
    ).total_seconds()


def has_ended(raw: Json) -> bool:
    return (raw.get("status") or {}).get("state") in TERMINAL


def is_told(raw: Json) -> bool:
    """It says how it is, in a condition that has a reason."""
    status = raw.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return bool(conditions) and all(isinstance(c, dict) and c.get("reason") for c in conditions or ())


def flood(cluster: Cluster, *, seed: int, count: int, stored: int, say: Callable[[str], None]) -> Report:
    """One run, in a namespace of its own."""
    with sites.temporary("bad") as site, place(cluster, site.folder, f"bad-{seed}") as where:
        return asyncio.run(Flood(where, seed, say).run(count, stored))
