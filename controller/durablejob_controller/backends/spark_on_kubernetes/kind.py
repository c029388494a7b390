"""Drivers' Pods as a kind of object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durablejob_api.backend import JobBackendSpec, KubernetesBackend, KubernetesSpark
from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.kubernetes_objects import objects, pods
from durablejob_controller.backends.kubernetes_objects.calls import PODS, Calls, delete_options, path_of
from durablejob_controller.backends.kubernetes_objects.kind import Companion, Right
from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.backends.kubernetes_objects.tails import Tails
from durablejob_controller.backends.spark_on_kubernetes import manifest, reading, ui, validation
from durablejob_controller.backends.spark_on_kubernetes.names import ROLE
from durablejob_controller.errors import BackendUnavailable, KubernetesError, NotFound


class DriverKind:
    """Pods in which a Spark driver runs, and which make executors."""

    name = "Pod"
    field = "spec.spark"
    collection = PODS
    assumption = "a kubelet starts a pod that is never restarted (a Spark driver's) once"
    selector = f"{objects.LISTED},{ROLE}=driver"

    def __init__(self, spec: JobBackendSpec, here: KubernetesBackend) -> None:
        validation.validate_defaults(spec)
        self._spec = spec
        self._start_deadline = here.start_deadline_seconds
        self._ui = (here.spark or KubernetesSpark()).ui
        self.rights: Sequence[Right] = tuple(self._rights())

    def _rights(self) -> Iterable[Right]:
        yield from (("", "pods", verb) for verb in ("create", "get", "list", "patch", "delete", "deletecollection"))
        if self._ui is not None:
            yield from (("", "services", verb) for verb in ("create", "delete"))
        if self._ui is not None and self._ui.ingress is not None:
            yield from (("networking.k8s.io", "ingresses", verb) for verb in ("create", "delete"))

    def suits(self, job: DurableJob) -> bool:
        return job.spec.spark is not None

    def validate(self, job: DurableJob) -> None:
        validation.validate(job, self._spec)

    def body(self, job: DurableJob, key: str) -> Object:
        return manifest.body(job, key, self._spec)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return manifest.body_hash(job, key, self._spec)

    def activation(self, job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
        return manifest.activation(job, found, uid, hash_)

    def is_inert(self, found: Object) -> bool:
        return manifest.is_inert(found)

    def started(self, found: Object) -> str | None:
        """Nothing stops it and starts it again."""

    def companions(self, job: DurableJob, made: Object) -> Iterable[Companion]:
        """What leads to its UI."""
        return ui.companions(self._ui, made) if self._ui is not None else ()

    async def runs(self, calls: Calls, tails: Tails, namespace: str | None, found: Sequence[Object]) -> list[Run]:
        guilty = {
            pod["metadata"]["uid"]: (pod["metadata"]["namespace"], pod["metadata"]["name"], manifest.CONTAINER)
            for pod in found
            if reading.has_failed(pod)
        }
        lines = await tails.of(guilty, reading.is_worth_telling)
        return [
            reading.run_of(pod, self._start_deadline, self._url(pod), lines.get(pod["metadata"]["uid"]))
            for pod in found
        ]

    def _url(self, pod: Object) -> str | None:
        return ui.url_of(self._ui, pod) if self._ui is not None else None

    def stays(self, found: Object) -> bool:
        """Nothing else removes a Pod that has ended; one that runs on (Orphan) is nobody's."""
        return not reading.run_of(found, self._start_deadline).active

    async def clear(self, calls: Calls, found: Object) -> None:
        """Its executors: a driver that was killed leaves them, and those that wait for a node would wait for ever.

        And what led to its UI, although that would go with the Pod: it leads nowhere now. And what others have put
        beside the program, if it runs on.
        """
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        selector = {"labelSelector": manifest.executors_of(found)}
        await _delete(calls, path_of(PODS, namespace), f"the executors of {name}", selector)
        if self._ui is not None and ui.port_of(found) is not None:
            for collection in ui.collections(self._ui):
                await _delete(calls, path_of(collection, namespace, ui.called(found)), f"the UI of {name}")

        if pods.phase(found) == "Running":
            options = delete_options(found["metadata"]["uid"], propagation="Background")
            await _delete(calls, path_of(PODS, namespace, name), f"what runs beside {name}", body=options)


async def _delete(
    calls: Calls, path: str, what: str, params: dict[str, str] | None = None, body: Object | None = None
) -> None:
    try:
        await calls.send("DELETE", path, params=params, body=body)
    except NotFound:
        return
    except KubernetesError as error:
        raise BackendUnavailable(f"{what} cannot be deleted") from error
