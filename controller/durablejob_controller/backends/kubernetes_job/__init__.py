"""Kubernetes Jobs (batch/v1) in the DurableJob's own namespace, on the controller's own cluster.

Follow one submission: ``validation`` says whether the work may run here, ``manifest`` builds the Job that is
POSTed inert (suspended, owned by the DurableJob) and the patch that activates exactly that object, ``calls``
sends both, the Job controller creates the pods, and ``reading`` says what became of them. ``backend`` ties
them together as the contract wants it.
"""

from __future__ import annotations

from durablejob_api.backend import JobBackendSpec
from durablejob_api.spec import BackendType
from durablejob_controller.backends.contract import Backend
from durablejob_controller.backends.kubernetes_job.backend import KubernetesJob
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import InvalidBackend


class KubernetesJobPlugin:
    """Makes backends of type Kubernetes."""

    type = BackendType.KUBERNETES

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        if surroundings.kubernetes is None:
            raise InvalidBackend("spec.kubernetes: this controller gives its backends no Kubernetes client")
        return KubernetesJob(spec, surroundings, surroundings.kubernetes)

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """Nothing: there is no start gate."""
        return None


plugin = KubernetesJobPlugin()
