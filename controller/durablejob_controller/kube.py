"""The Kubernetes API as the controller needs it: a few verbs, one error map, optimistic locking everywhere.

Credentials come from the ``kubernetes`` package, which knows every form that kubectl knows (exec plugins,
rotating tokens); the calls are made with httpx, so that thousands of them share a few connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import httpx
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from durablejob_api import GROUP, VERSION
from durablejob_controller import metrics
from durablejob_controller.clock import Clock
from durablejob_controller.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    KubernetesError,
    KubernetesUnavailable,
    NotFound,
    NotServed,
    Refused,
)
from durablejob_controller.highwater import HighWater

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of one kind live."""

    prefix: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        parts = [self.prefix]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/".join(parts)


_OURS = f"/apis/{GROUP}/{VERSION}"
JOBS = Resource(_OURS, "durablejobs")
BACKENDS = Resource(_OURS, "jobbackends")
CLUSTER_BACKENDS = Resource(_OURS, "clusterjobbackends", namespaced=False)
SECRETS = Resource("/api/v1", "secrets")
NAMESPACES = Resource("/api/v1", "namespaces", namespaced=False)
EVENTS = Resource("/apis/events.k8s.io/v1", "events")
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases")

MERGE_PATCH = "application/merge-patch+json"
ANSWER_CAP = 64 << 20
"""Bytes of an answer: a page of 500 objects, each of which etcd lets have 1.5 MiB, and few of which come near that."""
HANGS_AFTER = 60.0
"""Seconds after which a question for credentials that has no answer is asked once more."""
ASKED_FOR = 10.0
"""Seconds for which an Authorization header is used; the package renews tokens minutes before they expire."""


def is_newer(new: Object, old: Object) -> bool:
    """Whether this version came later. They are numbers in every real API server; else every version is taken."""
    versions = [raw["metadata"].get("resourceVersion") for raw in (new, old)]
    try:
        return int(versions[0] or "") > int(versions[1] or "")
    except ValueError:
        return bool(versions[0] != versions[1])


def load_configuration(kubeconfig: str | None, context: str | None) -> kubernetes_client.Configuration:
    """Credentials from the pod's service account, or from a kubeconfig; raises ``KubernetesError``."""
    configuration = kubernetes_client.Configuration()
    try:
        if kubeconfig is None and context is None:
            with contextlib.suppress(kubernetes_config.ConfigException):
                kubernetes_config.load_incluster_config(client_configuration=configuration)
                return configuration
        kubernetes_config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    except (kubernetes_config.ConfigException, OSError) as error:
        raise KubernetesError(f"no usable Kubernetes credentials: {error}") from error
    return configuration


def bearer(configuration: kubernetes_client.Configuration) -> str:
    """The Authorization header; the package refreshes tokens that expire. It may block, and raise anything."""
    return str(configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or "")


class Bearer:
    """The Authorization header for an event loop, asked again and again.

    What the package does for it (read the token's file, run a kubeconfig's plugin) is done in a thread, or it would
    stop the loop; in one of its own, for a plugin that hangs must not keep this process from ending.
    """

    def __init__(self, configuration: kubernetes_client.Configuration) -> None:
        self._configuration = configuration
        self._answer: Future[str | Exception] | None = None
        self._asked = 0.0

    async def header(self) -> str:
        """It; raises ``KubernetesUnavailable``. Who asks meanwhile waits for the same answer."""
        if self._configuration.refresh_api_key_hook is None:
            return bearer(self._configuration)  # it never changes
        answer = self._answer
        if answer is None or self._is_old(answer):
            answer = Future()
            threading.Thread(target=self._ask, args=(answer,), name="credentials", daemon=True).start()
            self._answer, self._asked = answer, time.monotonic()
        found = answer.result() if answer.done() else await asyncio.shield(asyncio.wrap_future(answer))
        if isinstance(found, Exception):
            raise KubernetesUnavailable(f"no usable credentials: {type(found).__name__}: {found}") from found
        return found

    def _is_old(self, answer: Future[str | Exception]) -> bool:
        if not answer.done():  # a plugin that hangs is left to itself, and another one is started
            return time.monotonic() - self._asked >= HANGS_AFTER
        return isinstance(answer.result(), Exception) or time.monotonic() - self._asked >= ASKED_FOR

    def _ask(self, answer: Future[str | Exception]) -> None:
        try:
            answer.set_result(bearer(self._configuration))
        except Exception as error:  # whatever a file, a plugin or an identity provider does is told to who asked
            answer.set_result(error)


def _tls(configuration: kubernetes_client.Configuration) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https"):
        return False
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


class Kube:
    """A client. All methods raise ``KubernetesError`` and its kinds, nothing else."""

    def __init__(
        self, configuration: kubernetes_client.Configuration, timeout: float = 10.0, bearer: Bearer | None = None
    ) -> None:
        self.high_water = HighWater()
        self._configuration = configuration
        self._bearer = bearer or Bearer(configuration)
        self._timeout = timeout
        """Seconds for a request and its whole answer."""
        self.clock = Clock()
        self._client = httpx.AsyncClient(
            base_url=configuration.host,
            verify=_tls(configuration),
            timeout=timeout,
            follow_redirects=False,  # the token is for the API server only
            trust_env=False,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=60),
            headers={"User-Agent": "durablejob-controller"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    def apart(self) -> Kube:
        """Another client for the same API server: what waits for its connections does not wait for these."""
        return Kube(self._configuration, self._timeout, self._bearer)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """A quorum read: no resourceVersion is sent, so that the answer is not from a stale cache."""
        return _object(await self.call("GET", resource.path(namespace, name)))

    async def pages(self, resource: Resource, namespace: str | None) -> AsyncIterator[Object]:
        """All objects, page by page; the list is consistent as of its first page."""
        token: str | None = None
        while True:
            params = {"limit": "500"} | ({"continue": token} if token else {})
            asked = self.high_water.ask()
            page = await self.call("GET", resource.path(namespace), params=params)
            if not isinstance(page.get("items"), list):  # an absence is concluded from it: nothing else will do
                raise KubernetesUnavailable(f"GET {resource.path(namespace)}: the answer is not a list of objects")
            if token is None and resource.prefix == _OURS:  # a later page tells the first one's version
                self.high_water.answered(asked, page.get("metadata", {}).get("resourceVersion"))
            for item in page["items"]:
                yield item
            token = page.get("metadata", {}).get("continue")
            if not token:
                return

    async def check(self, namespace: str | None) -> None:
        """See how far the storage is: ``high_water`` notices when it has gone back."""
        asked = self.high_water.ask()
        page = await self.call("GET", JOBS.path(namespace), params={"limit": "1"})
        self.high_water.answered(asked, page.get("metadata", {}).get("resourceVersion"))

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        return _object(await self.call("POST", resource.path(namespace), body=body))

    async def replace(self, resource: Resource, body: Object, subresource: str | None = None) -> Object:
        """PUT: the resourceVersion in ``body`` makes it a compare-and-swap; ``Conflict`` when it lost."""
        meta = body["metadata"]
        if not meta.get("resourceVersion"):
            raise KubernetesError("a compare-and-swap needs a resourceVersion")
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        return await self._change("PUT", resource, path, body, "application/json")

    async def patch_metadata(self, resource: Resource, meta: Mapping[str, Any], changes: Object) -> Object:
        """Change metadata of the very version that ``meta`` is of; ``Conflict`` when it is another by now."""
        body = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], **changes}}
        path = resource.path(meta.get("namespace"), meta["name"])
        return await self._change("PATCH", resource, path, body, MERGE_PATCH)

    async def _change(self, method: str, resource: Resource, path: str, body: Object, content_type: str) -> Object:
        """A compare-and-swap; its answer tells the storage's revision, unless it changed nothing."""
        asked = self.high_water.ask()
        raw = _object(await self.call(method, path, body=body, content_type=content_type))
        version = raw["metadata"].get("resourceVersion")
        if resource.prefix == _OURS and version != body["metadata"]["resourceVersion"]:
            self.high_water.answered(asked, version)
        return raw

    async def delete(self, resource: Resource, meta: Mapping[str, Any]) -> None:
        """Delete this very version of this very object."""
        preconditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        path = resource.path(meta.get("namespace"), meta["name"])
        await self.call("DELETE", path, body={"preconditions": preconditions})

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request, sent at most once; raises ``KubernetesError``. The other methods are made of it."""
        response, answer = await self._send(method, path, params, body, content_type)
        found = _answer(method, path, response, answer)
        self.clock.told(response.headers.get("Date"))  # only of an answer that is an API server's
        return found

    async def text(self, path: str, *, params: Mapping[str, str]) -> str:
        """GET of what is text (a pod's log); ``params`` must bound it. Raises ``KubernetesError``."""
        response, answer = await self._send("GET", path, params)
        if response.status_code >= 300:
            _answer("GET", path, response, answer)
        return answer.decode(errors="replace")

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: object = None,
        content_type: str = "application/json",
    ) -> tuple[httpx.Response, bytes]:
        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = json.dumps(body).encode()
        began = time.perf_counter()
        code = "error"
        try:
            async with asyncio.timeout(self._timeout):  # httpx's own ends are for each piece: a byte a second would do
                token = await self._bearer.header()
                if token:
                    headers["Authorization"] = token
                request = self._client.build_request(method, path, params=params, content=content, headers=headers)
                response = await self._client.send(request, stream=True)
                try:
                    answer = await _whole(response)
                finally:
                    await response.aclose()
            code = str(response.status_code)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, RuntimeError) as error:  # the last: a closed client
            raise KubernetesUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            metrics.REST_REQUESTS.labels(code=code, method=method).inc()
            metrics.REST_SECONDS.labels(verb=method).observe(time.perf_counter() - began)
        return response, answer


def _object(found: Object) -> Object:
    """``found``, if it is an object that can be known again."""
    if not isinstance(found.get("metadata"), dict) or "resourceVersion" not in found["metadata"]:
        raise KubernetesUnavailable("the API server's answer is not an object")
    return found


async def _whole(response: httpx.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > ANSWER_CAP:
            raise httpx.DecodingError(f"more than {ANSWER_CAP >> 20} MiB")
    return bytes(data)


def _answer(method: str, path: str, response: httpx.Response, answer: bytes) -> Object:
    status = response.status_code
    try:
        body = json.loads(answer)
    except (ValueError, RecursionError):
        body = None
    if status < 300 and isinstance(body, dict):
        return body
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    text = f"{method} {path}: {status} {message or response.reason_phrase}"
    if status == 409:
        taken = isinstance(body, dict) and body.get("reason") == "AlreadyExists"
        raise AlreadyExists(text, status) if taken else Conflict(text, status)
    if status == 404:
        # Only a Status about the object says that it is gone; "404 page not found" is said for a kind that is not
        # (yet) served, and by proxies that have lost the API server.
        gone = isinstance(body, dict) and body.get("kind") == "Status" and body.get("reason") == "NotFound"
        raise NotFound(text, status) if gone else NotServed(text, status)
    if status in (401, 403):
        refusal = Forbidden(message or text, status)
        if refusal.missing_right is not None:
            metrics.MISSING_RIGHTS.labels(method=method).inc()
        raise refusal
    if status in (400, 405, 413, 415, 422):
        raise Refused(message or text, status)
    raise KubernetesUnavailable(text, status)
