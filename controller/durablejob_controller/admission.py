"""Whether a backend takes a job at all, before anything is reserved."""

from __future__ import annotations

from durablejob_api.backend import ClusterJobBackend, JobBackend
from durablejob_api.job import DurableJob
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Backend
from durablejob_controller.errors import InvalidWork
from durablejob_controller.kube import NAMESPACES, Kube
from durablejob_controller.reasons import Why


class Admission:
    """Type, namespace and work must fit."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._labels: dict[str, dict[str, str]] = {}

    def forget(self) -> None:
        """Labels of namespaces may have changed."""
        self._labels.clear()

    async def refusal(self, resource: JobBackend, backend: Backend, job: DurableJob) -> Why | None:
        """Why this job may not run there; None: it may. Raises ``KubernetesError`` when that cannot be known now."""
        ref = job.spec.backend_ref
        namespace = job.metadata.namespace or ""
        actual = resource.spec.type
        if actual is not ref.type:
            return reasons.backend_type_mismatch(ref.name, ref.type.value, actual.value)
        if not await self._admits(resource, namespace):
            return reasons.backend_not_allowed(ref.name, namespace)
        try:
            backend.validate(job)
        except InvalidWork as error:
            return Why(error.reason, f"spec.{error}")
        return None

    async def _admits(self, resource: JobBackend, namespace: str) -> bool:
        if not isinstance(resource, ClusterJobBackend) or namespace in resource.spec.namespaces:
            return True
        selector = resource.spec.namespace_selector
        if selector is None:
            return False
        wanted = selector.match_labels.items()
        if wanted <= self._labels.get(namespace, {}).items():
            return True
        found = await self._kube.get(NAMESPACES, None, namespace)  # a refusal is for good: look again first
        self._labels[namespace] = found["metadata"].get("labels") or {}
        return wanted <= self._labels[namespace].items()
