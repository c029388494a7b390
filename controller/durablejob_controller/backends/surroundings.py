"""What the controller hands to a backend when it makes one, and nothing else of the controller does it see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from durablejob_controller.errors import InvalidBackend


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the controller hands to a backend when it makes one."""

    cluster_uid: str
    """uid of the Kubernetes cluster (of its kube-system namespace)."""
    gate_url: str
    """Where this backend's drivers reach the gate: what its own spec says of that is in here."""
    gate_token: GateTokens
    token: str | None = field(default=None, repr=False)
    """Credential named by the backend's tokenSecretRef."""
    timeout: float = 10.0
    """Seconds for one request."""
    kubernetes: KubernetesApi | None = None
    """The controller's own client of its own cluster; outlives every backend."""
    namespace: str | None = None
    """The namespace of a JobBackend, which is the only one its jobs are in; None: a ClusterJobBackend."""
    admission_policy: str = ""
    """The policy without which nothing is made in the controller's own cluster; none: nobody has named one."""

    def gate(self) -> str:
        """``gate_url``, for a backend whose drivers ask the gate; raises ``InvalidBackend`` where it is none."""
        if not self.gate_url.startswith(("http://", "https://")):
            raise InvalidBackend("spec.fence.gate.url: missing; drivers must reach the start gate somewhere")
        return self.gate_url


class KubernetesApi(Protocol):
    """The Kubernetes API for backends whose jobs are objects of the controller's own cluster."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One request, sent at most once, with the controller's credentials; raises ``KubernetesError`` only."""
        ...

    async def text(self, path: str, *, params: Mapping[str, str]) -> str:
        """GET of what is text (a pod's log); ``params`` must bound it. Raises ``KubernetesError`` only."""
        ...


class GateTokens(Protocol):
    """Makes the unforgeable part of a claim's URL."""

    def path(self, namespace: str, name: str, uid: str, attempt: int, claim: int) -> str:
        """Path below the gate's URL that stands for this claim, with its key id and HMAC."""
        ...
