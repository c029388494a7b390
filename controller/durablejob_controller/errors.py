"""The errors that travel through the controller.

::

    DurableJobError
    +-- BackendError                what a backend may raise
    |   +-- BackendUnavailable      no complete answer: nothing may be concluded
    |   |   `-- CredentialsRefused  it answered 401 or 403
    |   +-- InvalidWork             this work can never run on this backend
    |   `-- InvalidBackend          this backend's own settings are wrong
    `-- KubernetesError             what the Kubernetes API client may raise
        +-- Conflict                the compare-and-swap lost: read again
        |   `-- AlreadyExists       something has this name already
        +-- NotFound                the API server itself says that this object is not there
        +-- Refused                 422, 400, …: sending it again would be refused again, until a rule changes
        +-- Forbidden               401, 403: also said while the API server starts, so it is tried again
        `-- KubernetesUnavailable   timeout, reset, 429, 5xx
            `-- NotServed           404 of something else: the kind is not installed, or a proxy answered

An error is either handled where it is caught or raised on; it is logged in one place only.
"""

from __future__ import annotations

import re

_RBAC = re.compile(r'User "[^"]*" cannot (\w+) resource "([^"]*)"')
"""How k8s.io/apiserver's responsewriters.Forbidden words what the authorizer refused; admission never does."""


class DurableJobError(Exception):
    """Base of all errors of ours."""


class BackendError(DurableJobError):
    """A backend could not do what it was asked."""


class BackendUnavailable(BackendError):
    """No complete answer came: nothing may be concluded from it."""


class CredentialsRefused(BackendUnavailable):
    """The external system answered 401 or 403."""


class InvalidWork(BackendError):
    """This work can never run on this backend. ``reason`` is for the condition, ``field`` names the culprit."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason = reason
        self.field = field


class InvalidBackend(BackendError):
    """The backend's own settings are wrong; the message names the field."""


class KubernetesError(DurableJobError):
    """The Kubernetes API refused or did not answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(KubernetesError):
    """409: the object has changed since it was read; of a creation: something that it depends on has (a quota)."""


class AlreadyExists(Conflict):
    """409 in the API server's own words for a name that is taken."""


class NotFound(KubernetesError):
    """There is no such object: 404 in the API server's own words."""


class Refused(KubernetesError):
    """The API server refused what is written: schema, CEL, a webhook that answers 400. Repeating does not help soon."""


class Forbidden(KubernetesError):
    """401 or 403: credentials, RBAC or admission, which change without the object changing."""

    @property
    def missing_right(self) -> str | None:
        """The right that the controller's account lacks; None: admission refused (a policy, a quota)."""
        if self.status == 401:
            return "to be known: HTTP 401"
        found = _RBAC.search(str(self))
        return f"{found[1]} {found[2]}" if found else None


class KubernetesUnavailable(KubernetesError):
    """No answer, or one that asks to come back later."""


class NotServed(KubernetesUnavailable):
    """A 404 that is not about an object: the kind is not installed, or something else than the API server spoke."""
