"""The controller's own cluster as a backend: what a job becomes there depends on its work."""

from __future__ import annotations

from durablejob_api.backend import JobBackendSpec, KubernetesBackend
from durablejob_api.spec import BackendType
from durablejob_controller.backends.contract import Backend
from durablejob_controller.backends.kubernetes_job.kind import JobKind
from durablejob_controller.backends.kubernetes_objects.backend import KubernetesObjects
from durablejob_controller.backends.kubernetes_objects.kind import Kind
from durablejob_controller.backends.spark_on_kubernetes.kind import DriverKind
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import InvalidBackend


class KubernetesPlugin:
    """Makes backends of type Kubernetes."""

    type = BackendType.KUBERNETES

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        if surroundings.kubernetes is None:
            raise InvalidBackend("spec.kubernetes: this controller gives its backends no Kubernetes client")
        here = spec.kubernetes or KubernetesBackend()
        kinds: list[Kind] = [JobKind(here.start_deadline_seconds)]
        if here.spark is not None:
            kinds.append(DriverKind(spec, here))  # it needs further rights
        return KubernetesObjects(spec, surroundings, surroundings.kubernetes, kinds)

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """Nothing: there is no start gate."""
        return None


plugin = KubernetesPlugin()
