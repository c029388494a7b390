"""What the API server says no to, and what that means for the job; pure."""

from __future__ import annotations

import re

from durablejob_controller.backends.contract import Deferred, Rejected
from durablejob_controller.backends.kubernetes_objects.kind import Kind
from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.errors import BackendUnavailable, Forbidden, KubernetesError, Refused

_QUOTA = re.compile("(exceeded quota|status unknown for quota): ")


def contended(body: Object) -> BackendUnavailable:
    """Not made: a quota has changed, again and again, while this was charged to it. Nothing has that name."""
    words = "the quota that it is charged to changes faster than it is made"
    return BackendUnavailable(f"the {body['kind']} {body['metadata']['name']} is not there yet: {words}")


def deferred(error: KubernetesError) -> Deferred | None:
    """A quota that is used up, or was not counted yet, in the words of Kubernetes' own quota admission.

    There may be room later.
    """
    if isinstance(error, Forbidden) and _QUOTA.search(str(error)):
        return Deferred("QuotaExceeded", f"Waiting for room in the namespace's quota: {error}"[:1024])
    return None


def rejected(kind: Kind, error: KubernetesError) -> Rejected:
    """What the API server said of the object: it names the field, or the policy."""
    reason = "InvalidSpec" if isinstance(error, Refused) else "Rejected"
    return Rejected(reason, f"{kind.field}: the API server refuses this {kind.name}: {error}"[:1024])
