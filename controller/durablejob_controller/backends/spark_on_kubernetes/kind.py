"""Drivers' Pods as a kind of object."""

from __future__ import annotations

from collections.abc import Sequence

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.kubernetes_objects.calls import PODS, Calls, path_of
from durablejob_controller.backends.kubernetes_objects.kind import Right
from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.backends.kubernetes_objects.tails import Tails
from durablejob_controller.backends.spark_on_kubernetes import manifest, reading, validation
from durablejob_controller.errors import BackendUnavailable, KubernetesError


class DriverKind:
    """Pods in which a Spark driver runs, and which make executors."""

    name = "Pod"
    field = "spec.spark"
    collection = PODS
    selector = f"{objects.LISTED},{manifest.ROLE}=driver"
    rights: Sequence[Right] = tuple(
        ("", "pods", verb) for verb in ("create", "get", "list", "patch", "delete", "deletecollection")
    )

    def __init__(self, spec: JobBackendSpec) -> None:
        validation.validate_defaults(spec)
        self._spec = spec

    def suits(self, job: DurableJob) -> bool:
        return job.spec.spark is not None

    def validate(self, job: DurableJob) -> None:
        validation.validate(job, self._spec)

    def body(self, job: DurableJob, key: str) -> Object:
        return manifest.body(job, key, self._spec)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return manifest.body_hash(job, key, self._spec)

    def activation(self, job: DurableJob, uid: str, hash_: str) -> list[Object]:
        return manifest.activation(job, uid, hash_)

    def is_inert(self, found: Object) -> bool:
        return manifest.is_inert(found)

    async def runs(self, calls: Calls, tails: Tails, namespace: str | None, found: Sequence[Object]) -> list[Run]:
        guilty = {
            pod["metadata"]["uid"]: (pod["metadata"]["namespace"], pod["metadata"]["name"], manifest.CONTAINER)
            for pod in found
            if reading.has_failed(pod)
        }
        lines = await tails.of(guilty)
        return [reading.run_of(pod, lines.get(pod["metadata"]["uid"])) for pod in found]

    def stays(self, found: Object) -> bool:
        """Nothing else removes a Pod that has ended; one that runs on (Orphan) is nobody's."""
        return (found.get("status") or {}).get("phase") in ("Succeeded", "Failed")

    async def clear(self, calls: Calls, found: Object) -> None:
        """Its executors: a driver that was killed leaves them, and those that wait for a node would wait for ever."""
        path = path_of(PODS, found["metadata"]["namespace"])
        try:
            await calls.send("DELETE", path, params={"labelSelector": manifest.executors_of(found)})
        except KubernetesError as error:
            raise BackendUnavailable(f"the executors of {found['metadata']['name']} cannot be deleted") from error
