"""The calls: where objects are, what their answers must look like, and one map of errors.

What passes as it is are the API server's own definite words about an object: ``NotFound``, ``Conflict``,
``Refused``, and ``Forbidden`` where admission said it (a policy, a quota). A missing right of the controller's
own is no word about an object, and everything else is no answer. Neither quotes what was said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.backends.surroundings import KubernetesApi
from durablejob_controller.errors import (
    BackendUnavailable,
    Conflict,
    CredentialsRefused,
    Forbidden,
    KubernetesError,
    NotFound,
    Refused,
)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PODS = "/api/v1{}/pods"
"""The collection of pods; ``{}`` is where the namespace goes."""
_PAGE = 500
_LOG_BYTES = 64 * 1024
SHAPE = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError)
"""What reading an object that is none raises."""


class Calls:
    """Requests to the controller's own cluster, each within ``timeout`` seconds."""

    def __init__(self, kube: KubernetesApi, timeout: float) -> None:
        self._kube = kube
        self._timeout = timeout

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request, sent at most once.

        Raises ``NotFound``, ``Conflict``, ``Refused``, ``Forbidden`` (of admission), else ``BackendUnavailable``.
        """
        try:
            async with asyncio.timeout(self._timeout):  # the client's own ends are for each piece
                return await self._kube.call(method, path, params=params, body=body, content_type=content_type)
        except (NotFound, Conflict, Refused):
            raise
        except Forbidden as error:
            if error.missing_right is None:
                raise
            raise CredentialsRefused(f"the controller's account lacks the right {error.missing_right}") from error
        except KubernetesError as error:
            raise BackendUnavailable(f"the API server gives no usable answer: {_words(error)}") from error
        except TimeoutError:
            raise BackendUnavailable(f"the API server gave no complete answer within {self._timeout:g} s") from None
        except Exception as error:  # a host or a port that is none: httpx lets it through
            raise BackendUnavailable(f"the API server could not be asked: {type(error).__name__}") from error

    async def get(self, path: str) -> Object | None:
        """The object at this path, by a quorum read; None: there is none."""
        try:
            return checked(await self.send("GET", path))
        except NotFound:
            return None
        except KubernetesError as error:
            raise BackendUnavailable(f"{path} cannot be read: {_words(error)}") from error

    async def objects(self, collection: str, namespace: str | None, **selectors: str) -> list[Object]:
        """All objects of a collection that match, in one namespace or all, by a quorum read."""
        return await self._list(path_of(collection, namespace), selectors)

    async def pods(self, namespace: str | None, selector: str) -> list[Object]:
        """All pods with these labels, by a quorum read."""
        return await self.objects(PODS, namespace, labelSelector=selector)

    async def log(self, namespace: str, pod: str, container: str, lines: int) -> str:
        """The last lines of a container's log; raises ``BackendError``, whatever the reason."""
        path = f"{path_of(PODS, namespace, pod)}/log"
        # The kubelet counts the bytes from the first of these lines on.
        params = {"container": container, "tailLines": str(lines), "limitBytes": str(_LOG_BYTES)}
        try:
            async with asyncio.timeout(self._timeout):
                return await self._kube.text(path, params=params)
        except KubernetesError as error:
            raise BackendUnavailable(_words(error)) from error
        except TimeoutError:
            raise BackendUnavailable(f"no answer within {self._timeout:g} s") from None

    async def _list(self, path: str, selectors: Mapping[str, str]) -> list[Object]:
        found: list[Object] = []
        token = ""
        while True:
            params = {"limit": str(_PAGE), **selectors} | ({"continue": token} if token else {})
            try:
                page = await self.send("GET", path, params=params)
                if not str(page["kind"]).endswith("List") or not isinstance(page["items"], list):
                    raise ValueError
                found += [checked(item) for item in page["items"]]
                token = page["metadata"].get("continue") or ""
            except KubernetesError as error:
                raise BackendUnavailable(f"{path} cannot be listed: {_words(error)}") from error
            except SHAPE as error:
                raise BackendUnavailable(f"the answer to GET {path} is not a list of objects") from error
            if not token:
                return found


def checked(found: Object) -> Object:
    """``found``, if it is an object with an identity; raises ``BackendUnavailable``."""
    try:
        meta = found["metadata"]
        whole = all(isinstance(meta[name], str) and meta[name] for name in ("uid", "name", "namespace"))
        if not whole or not isinstance(found["spec"], dict) or not isinstance(found.get("status") or {}, dict):
            raise ValueError
    except SHAPE as error:
        raise BackendUnavailable("the API server's answer is not an object of its own") from error
    return found


def path_of(collection: str, namespace: str | None, name: str | None = None) -> str:
    """Path of a collection, or of one object in it."""
    where = f"/namespaces/{namespace}" if namespace is not None else ""
    return collection.format(where) + (f"/{name}" if name is not None else "")


def delete_options(uid: str, version: str | None = None, *, propagation: str) -> dict[str, Any]:
    """Delete this very object (and, where it is given, this very version of it)."""
    preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
    kind = {"kind": "DeleteOptions", "apiVersion": "v1"}
    return {**kind, "propagationPolicy": propagation, "preconditions": preconditions}


def _words(error: KubernetesError) -> str:
    if error.status is not None:
        return f"HTTP {error.status}"
    return type(error.__cause__ or error).__name__
