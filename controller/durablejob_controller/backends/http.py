"""Calls to external systems: one client, one set of limits, one map of errors.

What every backend gets from here, so that none forgets it:

* no redirect is followed, no proxy or ``.netrc`` of the environment is used;
* no request is sent twice: httpx's transport retries nothing (``retries=0``), and a kept-alive
  connection that the server closed is noticed before sending or ends in ``Doubtful``, never in a repeat;
* an answer larger than its cap is an error, however slowly it comes;
* foreign errors become ours here, and say which host was asked and what was wrong, never what it said.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from durablejob_controller.errors import BackendUnavailable, CredentialsRefused

ANSWER_CAP = 1 << 20
"""Bytes of an ordinary answer."""
LIST_CAP = 64 << 20
"""Bytes of a listing."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Doubtful(BackendUnavailable):
    """The request may have arrived: it was sent, in whole or part, and no usable answer came."""


class Malformed(Doubtful):
    """A complete answer came, but not one that this system gives."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, within its cap."""

    host: str
    """Host and port that were asked, for messages."""
    status: int
    content_type: str
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object in it.

        Raises ``Malformed`` for anything else: HTML of some proxy, half an object, a list.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.content_type.partition(";")[0].strip() or "no content type"
            raise Malformed(f"{self.host} answered {self.status} with {kind}, where JSON was due") from None
        if not isinstance(value, dict):
            raise Malformed(f"{self.host} answered {self.status} with JSON that is not an object")
        return value


@cache
def _trust() -> ssl.SSLContext:
    """Shared by all clients: making it takes 20 ms of CPU."""
    return httpx.create_ssl_context(trust_env=False)


def client(timeout: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client for one external system; a request and its answer may take ``timeout`` seconds."""
    return httpx.AsyncClient(
        # Connecting gets half of it, so that its end is known to be one where nothing was sent.
        timeout=httpx.Timeout(timeout, connect=timeout / 2, pool=timeout / 2),
        headers=headers,
        follow_redirects=False,
        trust_env=False,
        verify=_trust(),
        # Servers close idle connections after 30 s (Jetty) or more: leave first.
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=10.0),
    )


async def fetch(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    body: Mapping[str, Any] | None = None,
    cap: int = ANSWER_CAP,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, sent at most once.

    Raises ``BackendUnavailable`` when nothing was sent, ``CredentialsRefused`` on 401 and 403, and
    ``Doubtful`` when the request may have been acted upon: lost on the way, too long, a redirect.
    """
    host = _host(url)
    try:
        async with (
            asyncio.timeout(http.timeout.read),  # httpx's own ends are for each piece: a byte a second would do
            http.stream(method, url, json=body, headers=headers) as response,
        ):
            data = await _read(response, host, cap)
    except _NOT_SENT as error:
        raise BackendUnavailable(f"{host} cannot be reached: {_words(error)}") from error
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        raise Doubtful(f"{host} gave no complete answer: {_words(error)}") from error
    except Malformed:
        raise
    except Exception as error:
        # What else comes through, all of it seen: a host that is no IDNA name, a header that is not ASCII, a client
        # that was closed meanwhile. Their texts may hold what was sent.
        raise Doubtful(f"{host} could not be asked: {type(error).__name__}") from error
    if response.status_code in (401, 403):
        raise CredentialsRefused(f"{host} refuses the credentials: HTTP {response.status_code}")
    if response.is_redirect:
        raise Malformed(f"{host} answered with a redirect ({response.status_code}), which is not followed")
    return Answer(host, response.status_code, response.headers.get("content-type", ""), data)


async def _read(response: httpx.Response, host: str, cap: int) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > cap:
            raise Malformed(f"{host} answered with more than {cap >> 20} MiB")
    return bytes(data)


def _host(url: str) -> str:
    try:
        where = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BackendUnavailable(f"{url.rpartition('@')[2][:200]!r} is not a URL") from error
    if where.port is not None and not 0 < where.port < 1 << 16:  # else OverflowError, in a group
        raise BackendUnavailable(f"{where.host}: there is no port {where.port}")
    return where.netloc.decode()


def _words(error: Exception) -> str:
    if isinstance(error, httpx.ProtocolError):
        return f"{type(error).__name__}, it does not speak HTTP or hung up"  # their texts quote what was said
    return str(error) or type(error).__name__
