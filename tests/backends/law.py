"""What the law needs to know of a backend to hold it to its word: a stand-in with a ledger of what truly started.

A new backend adds a ``Law`` to ``LAWS``; without one, ``test_law`` fails. One that makes different things of different
work has a law for each, with a word of its own after a slash.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import httpx
from kubernetes.client import Configuration

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.status import Current, Reservation
from durablejob_controller.backends.contract import Backend, Leftover, Offer, Submission
from durablejob_controller.backends.fake import plugin as fake
from durablejob_controller.backends.fake import world
from durablejob_controller.backends.kubernetes import plugin as kubernetes
from durablejob_controller.backends.spark_standalone import plugin as spark_standalone
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.backends.yarn import plugin as yarn
from durablejob_controller.errors import InvalidBackend
from durablejob_controller.kube import Kube
from tests.backends.kubernetes_job import works as kubernetes_works
from tests.backends.kubernetes_job.scripted_cluster import ScriptedCluster
from tests.backends.spark_law import GatedCluster, spark_case
from tests.backends.spark_on_kubernetes import works as driver_works
from tests.backends.spark_on_kubernetes.scripted_pods import ScriptedPods
from tests.backends.spark_standalone import works
from tests.backends.spark_standalone.scripted_gate import Paths
from tests.backends.yarn import works as yarn_works
from tests.backends.yarn.scripted_yarn import ScriptedYarn

SURROUNDINGS = Surroundings("cluster", "http://gate:1", Paths(), token="hush", timeout=0.2)
BEHAVIOURS = ("well", "reject", "unclear", "unavailable")
"""Of the external system: as it should; refuses every submission; takes each, and loses the answer; is away."""


class Case(ABC):
    """One backend on one external system."""

    backend: Backend

    @abstractmethod
    def job(self, name: str = "load", **changes: str) -> DurableJob: ...

    @abstractmethod
    async def reserved(self, job: DurableJob) -> Submission:
        """What the engine would submit: reserved, and recorded."""

    @abstractmethod
    def starts(self, job: DurableJob) -> int:
        """How often the user's program truly started."""

    @abstractmethod
    async def finish(self, job: DurableJob) -> None:
        """Its program ends."""

    @abstractmethod
    def forget(self) -> None:
        """The external system forgets what has ended, if it ever does."""

    def fill(self, full: bool) -> bool:
        """There is no room for another one; or again there is. False: the system knows of no such thing."""
        return False

    def hinder(self) -> bool:
        """What is submitted from now on can never begin. False: such a thing is not waited for there."""
        return False

    async def shut(self, job: DurableJob, current: Current) -> None:
        """What the engine does to close an attempt."""
        await self.backend.close(job, current)


class Law(ABC):
    """One registered backend."""

    @abstractmethod
    def opened(self, behaviour: str = "well") -> AbstractAsyncContextManager[Case]: ...

    @asynccontextmanager
    async def pointed_at(self, url: str) -> AsyncIterator[Backend | None]:
        """A backend whose system is at this URL; None: it speaks no HTTP."""
        yield None


def verbs(submission: Submission, backend: Backend) -> dict[str, Awaitable[object]]:
    """Every verb, called."""
    job, current = submission.job, submission.current
    return {
        "reserve": backend.reserve(job, current.key),
        "submit": backend.submit(submission),
        "observe": backend.observe(),
        "look_up": backend.look_up(current.key, current),
        "kill": backend.kill("driver-1"),
        "close": backend.close(job, current),
        "release": backend.release(job, current),
        "leftovers": backend.leftovers(),
        "discard": backend.discard(Leftover("uid-1", "Job/dj-1", "data", "load", job.metadata.uid, runs=False)),
        "probe": backend.probe(),
    }


class FakeCase(Case):
    def __init__(self, behaviour: str) -> None:
        self._cluster = f"cluster-{uuid.uuid4().hex[:8]}"
        fault = {"well": "none"}.get(behaviour, behaviour)
        parameters = {"name": "fake", "parameters": {"fault": fault}}
        spec = JobBackendSpec.model_validate({"clusterID": self._cluster, "plugin": parameters})
        self.backend = fake.make(spec, SURROUNDINGS)

    def job(self, name: str = "load", **changes: str) -> DurableJob:
        ref = {"kind": "JobBackend", "name": "fake", "type": "Plugin"}
        spec = {"backendRef": ref, "plugin": {"parameters": {"seconds": "600", **changes}}}
        meta = {"name": name, "namespace": "data", "uid": f"{self._cluster}-{name}"}
        return DurableJob.model_validate({"metadata": meta, "spec": spec})

    async def reserved(self, job: DurableJob) -> Submission:
        key = attempt_key(job.metadata.uid, 1)
        offer = await self.backend.reserve(job, key)
        assert isinstance(offer, Offer)
        reservation = Reservation.model_validate(
            {
                "backendUID": "b", "backendType": "Plugin", "clusterID": self._cluster, "at": "2026-01-01T00:00:00Z",
                "applicationID": offer.application_id, "incarnation": offer.incarnation,
                "bodyHash": self.backend.body_hash(job, key),
            }
        )  # fmt: skip
        return Submission(job, Current(number=1, key=key, reservation=reservation))

    def starts(self, job: DurableJob) -> int:
        key = attempt_key(job.metadata.uid, 1)
        return sum(started == key for started, _ in world(self._cluster).ledger)

    async def finish(self, job: DurableJob) -> None:
        for application in world(self._cluster).applications.values():
            application.due = 0.0

    def forget(self) -> None:
        """It never does."""


class FakeLaw(Law):
    @asynccontextmanager
    async def opened(self, behaviour: str = "well") -> AsyncIterator[Case]:
        yield FakeCase(behaviour)


class SparkCase(Case):
    def __init__(self, backend: Backend, cluster: GatedCluster) -> None:
        self.backend = backend
        self._cluster = cluster

    def job(self, name: str = "load", **changes: str) -> DurableJob:
        return works.job(name, **(works.JAR | ({"arguments": list(changes.values())} if changes else {})))

    async def reserved(self, job: DurableJob) -> Submission:
        await self.backend.reserve(job, works.key(job))
        return works.submission(self._cluster.record(job))

    def starts(self, job: DurableJob) -> int:
        return self._cluster.ledger.count(works.key(job))

    async def finish(self, job: DurableJob) -> None:
        self._cluster.finish(works.key(job))

    def forget(self) -> None:
        self._cluster.completed.clear()

    async def shut(self, job: DurableJob, current: Current) -> None:
        await super().shut(job, current)
        self._cluster.revoke(job)


class SparkLaw(Law):
    @asynccontextmanager
    async def opened(self, behaviour: str = "well") -> AsyncIterator[Case]:
        async with spark_case(behaviour, SURROUNDINGS) as (backend, cluster):
            yield SparkCase(backend, cluster)

    @asynccontextmanager
    async def pointed_at(self, url: str) -> AsyncIterator[Backend | None]:
        backend = spark_standalone.make(works.backend(url, url), SURROUNDINGS)
        try:
            yield backend
        finally:
            await backend.aclose()


class ObjectsCase(Case):
    """A backend whose programs are objects of Kubernetes."""

    _cluster: ScriptedCluster | ScriptedPods

    async def reserved(self, job: DurableJob) -> Submission:
        return await kubernetes_works.reserve(job, self.backend)

    def starts(self, job: DurableJob) -> int:
        return self._cluster.ledger.count(kubernetes_works.key(job))

    async def finish(self, job: DurableJob) -> None:
        self._cluster.finish(kubernetes_works.key(job))

    def fill(self, full: bool) -> bool:
        self._cluster.full = full
        return True

    def hinder(self) -> bool:
        self._cluster.hindered = True
        return True


class KubernetesCase(ObjectsCase):
    def __init__(self, behaviour: str) -> None:
        self._cluster = self._jobs = ScriptedCluster(behaviour)
        surroundings = replace(SURROUNDINGS, kubernetes=self._cluster, namespace=kubernetes_works.NAMESPACE)
        self.backend = kubernetes.make(kubernetes_works.SPEC, surroundings)

    def job(self, name: str = "load", **changes: str) -> DurableJob:
        return kubernetes_works.job(name, kubernetes_works.template(*changes.values()))

    def forget(self) -> None:
        self._jobs.jobs.clear()


class KubernetesLaw(Law):
    SPEC = kubernetes_works.SPEC

    @asynccontextmanager
    async def opened(self, behaviour: str = "well") -> AsyncIterator[Case]:
        yield KubernetesCase(behaviour)

    @asynccontextmanager
    async def pointed_at(self, url: str) -> AsyncIterator[Backend | None]:
        configuration = Configuration()
        configuration.host = url
        try:
            kube = Kube(configuration, SURROUNDINGS.timeout)
        except httpx.InvalidURL:
            yield None  # the controller itself would not start
            return
        surroundings = replace(SURROUNDINGS, kubernetes=kube, namespace=kubernetes_works.NAMESPACE)
        try:
            yield kubernetes.make(self.SPEC, surroundings)
        finally:
            await kube.aclose()  # the backend's client is the controller's


class DriverCase(ObjectsCase):
    def __init__(self, behaviour: str) -> None:
        self._cluster = self._drivers = ScriptedPods(behaviour)
        surroundings = replace(SURROUNDINGS, kubernetes=self._cluster, namespace=driver_works.NAMESPACE)
        self.backend = kubernetes.make(driver_works.SPEC, surroundings)

    def job(self, name: str = "load", **changes: str) -> DurableJob:
        return driver_works.job(name, arguments=list(changes.values()))

    def forget(self) -> None:
        self._drivers.pods.clear()


class DriverLaw(KubernetesLaw):
    SPEC = driver_works.SPEC

    @asynccontextmanager
    async def opened(self, behaviour: str = "well") -> AsyncIterator[Case]:
        yield DriverCase(behaviour)


class YarnCase(Case):
    def __init__(self, cluster: ScriptedYarn) -> None:
        self._cluster = cluster
        patient = replace(SURROUNDINGS, timeout=10.0)  # a submission is a dozen calls, and the machine may be busy
        self.backend = yarn.make(yarn_works.backend(cluster.url), patient)

    def job(self, name: str = "load", **changes: str) -> DurableJob:
        return yarn_works.job(name, yarn={"command": " ".join(["run", *changes.values()])})

    async def reserved(self, job: DurableJob) -> Submission:
        return await yarn_works.reserve(job, self.backend)

    def starts(self, job: DurableJob) -> int:
        return self._cluster.starts(yarn_works.key(job))

    async def finish(self, job: DurableJob) -> None:
        self._cluster.finish(yarn_works.key(job))

    def forget(self) -> None:
        """What has ended is evicted, which is assumed to happen only after its fence was closed."""


class YarnLaw(Law):
    @asynccontextmanager
    async def opened(self, behaviour: str = "well") -> AsyncIterator[Case]:
        async with yarn_works.serving(ScriptedYarn(behaviour)) as cluster:
            case = YarnCase(cluster)
            try:
                yield case
            finally:
                await case.backend.aclose()

    @asynccontextmanager
    async def pointed_at(self, url: str) -> AsyncIterator[Backend | None]:
        try:
            backend = yarn.make(yarn_works.backend(url), SURROUNDINGS)
        except InvalidBackend:
            yield None  # such a backend is not made
            return
        try:
            yield backend
        finally:
            await backend.aclose()


LAWS: dict[str, Law] = {
    "fake": FakeLaw(),
    "kubernetes": KubernetesLaw(),
    "kubernetes/spark": DriverLaw(),
    "spark-standalone": SparkLaw(),
    "yarn": YarnLaw(),
}
