"""The same requests for triggers, on their event loop; answers are translated as in ``client``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from kubernetes_asyncio import client as kube
from kubernetes_asyncio.client.exceptions import ApiException

from durablejob_airflow.cancel import with_cancel
from durablejob_airflow.resource import PLURAL, REQUEST_TIMEOUT, Absent, Backoff, Conflict, Unavailable, raise_for
from durablejob_api import GROUP, VERSION

WATCH_SECONDS = 50
"""A watch is asked anew that often, so that a dead connection is noticed within a minute."""
_PAGE = 500
_LINE_LIMIT = 8 * 1024 * 1024


class AsyncJobsClient:
    """DurableJobs of one namespace, for triggers."""

    def __init__(self, api: kube.ApiClient, namespace: str, deployment: str) -> None:
        self.namespace = namespace
        self.deployment = deployment
        """Name of this Airflow, by the connection."""
        self._custom = kube.CustomObjectsApi(api)

    async def _call(self, what: str, method: str, *args: Any, **kwargs: Any) -> Any:
        timeout = {"_request_timeout": REQUEST_TIMEOUT} | kwargs
        try:
            return await getattr(self._custom, method)(*args, **timeout)
        except ApiException as error:
            raise_for(error.status or 0, error.body or error.reason, what)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from error

    def _where(self, name: str | None = None) -> tuple[str, ...]:
        return (GROUP, VERSION, self.namespace, PLURAL, *([name] if name else []))

    async def get(self, name: str) -> dict[str, Any] | None:
        """The job, or None if there is none (a quorum read)."""
        try:
            answer = await self._call(
                f"read {self.namespace}/{name}", "get_namespaced_custom_object", *self._where(name)
            )
        except Absent:
            return None
        if not isinstance(answer, dict):
            raise Unavailable(f"read {self.namespace}/{name}: the answer is not JSON")
        return answer

    async def replace(self, body: Mapping[str, Any]) -> None:
        """Write the job by compare-and-swap.

        :raises Conflict: it was changed since
        """
        name = body["metadata"]["name"]
        what = f"write {self.namespace}/{name}"
        await self._call(what, "replace_namespaced_custom_object", *self._where(name), dict(body))

    async def cancel(self, name: str, holder_id: str, cause: str, seconds: float) -> bool:
        """Write the wish that the job's attempt ends, if ``holder_id`` still holds it; True if it was written.

        :param seconds: for how long to try while the API server is away, or somebody else writes
        :raises Unavailable, Conflict: that went on
        """
        loop = asyncio.get_running_loop()
        give_up, backoff = loop.time() + seconds, Backoff(first=0.2, most=5)
        while True:
            try:
                raw = await self.get(name)
                body = with_cancel(raw, holder_id, cause) if raw else None
                if body is None:
                    return False
                await self.replace(body)
            except (Unavailable, Conflict):
                if loop.time() > give_up:
                    raise
                await asyncio.sleep(backoff.next())
            else:
                return True

    async def pages(self) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
        """All jobs, page by page, as they were at one resource version."""
        token = ""
        while True:
            more = {"_continue": token} if token else {}
            what = f"list {self.namespace}"
            page = await self._call(what, "list_namespaced_custom_object", *self._where(), limit=_PAGE, **more)
            if not isinstance(page, dict) or "metadata" not in page:
                raise Unavailable(f"{what}: the answer is not a list")
            yield page["metadata"].get("resourceVersion", ""), page.get("items") or []
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def watch(self, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Events since a resource version, as ``(type, object)``; ends when the server ends it.

        :raises Expired: the version is too old; list again
        """
        what = f"watch {self.namespace}"
        response = await self._call(
            what,
            "list_namespaced_custom_object",
            *self._where(),
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=(REQUEST_TIMEOUT, WATCH_SECONDS + REQUEST_TIMEOUT),
        )
        try:
            if response.status != 200:
                raise_for(response.status, await response.text(), what)
            async for line in _lines(response.content, what):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    raise_for(int(status.get("code") or 0), status, what)
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from error
        finally:
            _drop(response)


def _drop(response: aiohttp.ClientResponse) -> None:
    """Leave an answer in the middle, and its connection at once.

    A close would say TLS' farewell and wait for the server's, up to 30 s, with the socket open: nobody needs it here.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _lines(content: aiohttp.StreamReader, what: str) -> AsyncIterator[bytes]:
    """Lines of any length (aiohttp's own reader refuses long ones)."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_LIMIT:
            raise Unavailable(f"{what}: an event is longer than {_LINE_LIMIT} bytes")
        for line in lines:
            if line.strip():
                yield line
