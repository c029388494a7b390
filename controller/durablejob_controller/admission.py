"""Whether a backend takes a job at all, before anything is reserved."""

from __future__ import annotations

import logging

from durablejob_api.backend import ClusterJobBackend, JobBackend
from durablejob_api.job import DurableJob
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Backend
from durablejob_controller.errors import InvalidWork
from durablejob_controller.kube import NAMESPACES, Kube
from durablejob_controller.reasons import Why
from durablejob_controller.views import NoSite

log = logging.getLogger(__name__)


class Admission:
    """Type and namespace must fit."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._labels: dict[str, dict[str, str]] = {}

    def forget(self) -> None:
        """Labels of namespaces may have changed."""
        self._labels.clear()

    async def refusal(self, resource: JobBackend, job: DurableJob) -> Why | None:
        """Why this job may not run there; None: it may. Raises ``KubernetesError`` when that cannot be known now."""
        ref = job.spec.backend_ref
        namespace = job.metadata.namespace or ""
        actual = resource.spec.type
        if actual is not ref.type:
            return reasons.backend_type_mismatch(ref.name, ref.type.value, actual.value)
        if not await self._admits(resource, namespace):
            return reasons.backend_not_allowed(ref.name, namespace)
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


def form_of(backend: Backend, job: DurableJob, key: str) -> str | NoSite:
    """Hash of what would be submitted, or why this work may not run there.

    An error in judging it is no verdict: nothing is submitted, and what has begun is looked after all the same.
    """
    try:
        backend.validate(job)
        return backend.body_hash(job, key)
    except InvalidWork as error:
        return NoSite(Why(error.reason, f"spec.{error}"), final=True)
    except Exception as error:  # whatever its author has written: one bad job never stops the rest
        log.exception("%s: unexpected error in judging its work", job.metadata.name)
        return NoSite(reasons.not_judged(error), final=False)
