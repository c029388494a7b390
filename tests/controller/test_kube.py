"""The API client: one error map, and compare-and-swap in every write."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from kubernetes import client as kubernetes_client
from kubernetes.config import ConfigException

from durablejob_controller import kube as kubes
from durablejob_controller import metrics
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
from durablejob_controller.kube import (
    BACKENDS,
    CLUSTER_BACKENDS,
    JOBS,
    LEASES,
    Bearer,
    Kube,
    is_newer,
    load_configuration,
)
from tests.backends.faulty_server import faulty

Answering = Callable[[httpx.Request], httpx.Response]
META = {"name": "load", "namespace": "data", "uid": "u", "resourceVersion": "7"}


def client(answering: Answering, token: str = "hush") -> Kube:
    configuration = kubernetes_client.Configuration()
    configuration.host = "http://api.test"
    configuration.api_key = {"authorization": f"Bearer {token}"}
    kube = Kube(configuration)
    kube._client = httpx.AsyncClient(transport=httpx.MockTransport(answering), base_url="http://api.test")
    return kube


def status(code: int, reason: str, message: str = "words") -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "code": code, "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(404, "NotFound"), NotFound),
        (httpx.Response(404, text="404 page not found\n"), NotServed),
        (httpx.Response(404, text="<html>default backend</html>"), NotServed),
        (httpx.Response(404, json={"message": "Not Found"}), NotServed),
        (status(409, "Conflict"), Conflict),
        (status(409, "AlreadyExists"), AlreadyExists),
        (status(422, "Invalid"), Refused),
        (status(400, "BadRequest"), Refused),
        (status(413, "RequestEntityTooLarge"), Refused),
        (status(401, "Unauthorized"), Forbidden),
        (status(403, "Forbidden"), Forbidden),
        (status(410, "Expired"), KubernetesUnavailable),
        (status(429, "TooManyRequests"), KubernetesUnavailable),
        (status(500, "InternalError"), KubernetesUnavailable),
        (status(503, "ServiceUnavailable"), KubernetesUnavailable),
        (httpx.Response(302, headers={"Location": "http://evil.test/"}), KubernetesUnavailable),
        (httpx.Response(200, text="<html>please log in</html>"), KubernetesUnavailable),
        (httpx.Response(200, text='{"kind": "Durab'), KubernetesUnavailable),
        (httpx.Response(200, json=["a list"]), KubernetesUnavailable),
        (httpx.Response(200, json={}), KubernetesUnavailable),
        (httpx.Response(200, text="[" * 100_000), KubernetesUnavailable),
    ],
)
async def test_each_answer_has_its_error(answer: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(KubernetesError) as caught:
        await client(lambda _: answer).get(JOBS, "data", "load")
    assert caught.type is error


@pytest.mark.parametrize(
    ("message", "lacks"),
    [
        ('pods is forbidden: User "system:x" cannot create resource "pods" in API group "" in the namespace "n"', True),
        ('pods "dj-x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=5, limited: pods=5', False),
        ('pods "dj-x" is forbidden: ValidatingAdmissionPolicy "hours" denied request: not today', False),
    ],
    ids=["right", "quota", "policy"],
)
async def test_only_what_the_account_may_not_do_counts_as_a_missing_right(message: str, lacks: bool) -> None:
    counted = metrics.MISSING_RIGHTS.labels(method="POST")._value
    before = counted.get()
    with pytest.raises(Forbidden) as caught:
        await client(lambda _: status(403, "Forbidden", message)).create(JOBS, "data", {})
    assert (caught.value.missing_right is not None) == lacks
    assert counted.get() - before == lacks


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("x")])
async def test_no_answer_is_no_answer(error: Exception) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(KubernetesUnavailable, match=f"GET .*durablejobs/load: {type(error).__name__}"):
        await client(broken).get(JOBS, "data", "load")


async def test_a_client_that_was_closed_says_so_as_any_other_lack_of_an_answer() -> None:
    kube = client(lambda _: httpx.Response(200, json={}))
    await kube.aclose()
    with pytest.raises(KubernetesUnavailable):
        await kube.get(JOBS, "data", "load")


async def test_a_refusal_carries_the_api_servers_words() -> None:
    message = 'DurableJob "load" is invalid: status.current.outcome: never changes'
    with pytest.raises(Refused, match=r"status\.current\.outcome: never changes"):
        await client(lambda _: status(422, "Invalid", message)).replace(JOBS, {"metadata": META}, "status")


async def test_the_token_goes_to_the_api_server_and_nowhere_else() -> None:
    asked: list[httpx.Request] = []

    def redirecting(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"Location": "http://evil.test/steal"})

    with pytest.raises(KubernetesUnavailable) as caught:
        await client(redirecting).get(JOBS, "data", "load")
    assert [request.url.host for request in asked] == ["api.test"]
    assert asked[0].headers["Authorization"] == "Bearer hush"
    assert "hush" not in str(caught.value)


async def test_a_redirect_is_not_followed_by_the_real_client_either() -> None:
    configuration = kubernetes_client.Configuration()
    configuration.host = "http://api.test"
    kube = Kube(configuration)
    assert not kube._client.follow_redirects
    assert not kube._client.trust_env
    await kube.aclose()


async def test_every_write_names_the_version_that_it_replaces() -> None:
    bodies: list[tuple[str, str, dict[str, object]]] = []

    def recording(request: httpx.Request) -> httpx.Response:
        bodies.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"metadata": META})

    kube = client(recording)
    await kube.replace(JOBS, {"metadata": META, "status": {}}, "status")
    await kube.patch_metadata(JOBS, META, {"finalizers": ["f"]})
    await kube.delete(JOBS, META)
    path = "/apis/durablejob.io/v1alpha1/namespaces/data/durablejobs/load"
    version = {"uid": "u", "resourceVersion": "7"}
    assert bodies == [
        ("PUT", f"{path}/status", {"metadata": META, "status": {}}),
        ("PATCH", path, {"metadata": {**version, "finalizers": ["f"]}}),
        ("DELETE", path, {"preconditions": version}),
    ]


async def test_a_write_without_a_version_is_not_sent() -> None:
    with pytest.raises(KubernetesError, match="needs a resourceVersion"):
        await client(lambda _: httpx.Response(200, json={})).replace(JOBS, {"metadata": {"name": "x"}})


async def test_a_read_is_a_quorum_read() -> None:
    asked: list[str] = []

    def recording(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"metadata": META})

    await client(recording).get(CLUSTER_BACKENDS, None, "prod")
    assert asked == ["http://api.test/apis/durablejob.io/v1alpha1/clusterjobbackends/prod"]


async def test_all_pages_of_a_list_are_read() -> None:
    def paging(request: httpx.Request) -> httpx.Response:
        token = request.url.params.get("continue")
        items = [{"metadata": {"name": name}} for name in ("ab" if token is None else "c")]
        meta = {} if token else {"continue": "next"}
        return httpx.Response(200, json={"items": items, "metadata": meta})

    names = [raw["metadata"]["name"] async for raw in client(paging).pages(BACKENDS, None)]
    assert names == ["a", "b", "c"]


@pytest.mark.parametrize("page", [{}, {"kind": "Status"}, {"kind": "DurableJobList", "items": None}])
async def test_what_is_not_a_list_is_not_an_empty_list(page: dict[str, object]) -> None:
    with pytest.raises(KubernetesUnavailable):
        _ = [raw async for raw in client(lambda _: httpx.Response(200, json=page)).pages(JOBS, None)]


@pytest.mark.parametrize("kind", ["an endless body", "a byte a second", "half a body", "silence"])
async def test_no_answer_is_waited_for_or_read_for_ever(kind: str) -> None:
    async with faulty(kind) as server:
        configuration = kubernetes_client.Configuration()
        configuration.host = server.url
        kube = Kube(configuration, timeout=1)
        began = time.monotonic()
        with pytest.raises(KubernetesUnavailable):
            await kube.get(JOBS, "data", "load")
        assert time.monotonic() - began < 5
        await kube.aclose()


@pytest.mark.parametrize(("new", "old", "newer"), [("10", "9", True), ("9", "10", False), ("9", "9", False)])
def test_versions_are_compared_as_numbers(new: str, old: str, newer: bool) -> None:
    assert is_newer({"metadata": {"resourceVersion": new}}, {"metadata": {"resourceVersion": old}}) == newer


def test_credentials_that_cannot_be_read_are_an_error_of_ours(tmp_path: object) -> None:
    with pytest.raises(KubernetesError, match="no usable Kubernetes credentials"):
        load_configuration(f"{tmp_path}/nothing", None)


def refreshing(hook: Callable[[object], None]) -> kubernetes_client.Configuration:
    """What a pod and a kubeconfig with a token make: the package calls this before it gives the token."""
    configuration = kubernetes_client.Configuration()
    configuration.host = "http://127.0.0.1:9"
    configuration.api_key = {"BearerToken": "hush"}
    configuration.refresh_api_key_hook = hook
    return configuration


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ConfigException("empty"), KeyError("token")])
async def test_credentials_that_cannot_be_read_any_more_are_no_answer_until_they_can(error: Exception) -> None:
    faults = [error]

    def reading(_: object) -> None:
        if faults:
            raise faults.pop()

    kube = client(lambda _: httpx.Response(200, json={"metadata": META}))
    kube._bearer = Bearer(refreshing(reading))
    with pytest.raises(KubernetesUnavailable, match=f"credentials: {type(error).__name__}"):
        await kube.get(JOBS, "data", "load")
    assert await kube.get(JOBS, "data", "load") == {"metadata": META}
    await kube.aclose()


async def test_a_plugin_that_hangs_stops_neither_the_event_loop_nor_any_call_for_ever() -> None:
    hanging, asked = threading.Event(), []

    def plugin(_: object) -> None:
        asked.append(1)
        hanging.wait(5)

    kube = Kube(refreshing(plugin), timeout=0.2)
    others = kube.apart()
    began = time.monotonic()
    calls = [asyncio.create_task(each.get(JOBS, "data", "load")) for each in (kube, kube, others)]
    await asyncio.sleep(0.05)
    assert time.monotonic() - began < 0.15
    found = await asyncio.gather(*calls, return_exceptions=True)
    hanging.set()
    assert [type(each) for each in found] == [KubernetesUnavailable] * 3
    assert time.monotonic() - began < 2
    assert len(asked) == 1
    await kube.aclose()
    await others.aclose()


async def test_a_plugin_that_hung_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubes, "HANGS_AFTER", 0.2)
    hanging, asked = threading.Event(), []

    def plugin(its: object) -> None:
        asked.append(1)
        if len(asked) == 1:
            hanging.wait(5)
        vars(its)["api_key"].update(BearerToken="two")

    bearer = Bearer(refreshing(plugin))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await bearer.header()
    assert await bearer.header() == "two"
    hanging.set()


async def test_a_token_is_asked_for_again_as_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["one", "two"])
    configuration = refreshing(lambda its: vars(its)["api_key"].update(BearerToken=next(tokens)))
    bearer = Bearer(configuration)
    assert [await bearer.header(), await bearer.header()] == ["one", "one"]
    monkeypatch.setattr(kubes, "ASKED_FOR", 0.0)
    assert await bearer.header() == "two"


async def test_a_client_apart_has_connections_of_its_own() -> None:
    """Hundreds of calls that hang must not keep the lease from being renewed."""
    stuck = asyncio.Event()
    found = b'{"metadata": {"resourceVersion": "7"}}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"/leases/" not in asked:
            await stuck.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(found), found))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    configuration = kubernetes_client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kube = Kube(configuration, timeout=5)
    apart = kube.apart()
    calls = [asyncio.create_task(kube.get(JOBS, "data", f"job-{number}")) for number in range(100)]
    try:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            assert await apart.get(LEASES, "data", "one") == json.loads(found)
    finally:
        stuck.set()
        await asyncio.gather(*calls, return_exceptions=True)
        await kube.aclose()
        await apart.aclose()
        server.close()


async def test_text_is_given_as_it_is_and_errors_are_the_same() -> None:
    kube = client(lambda request: httpx.Response(200, text=f"last {request.url.params['tailLines']} lines\n"))
    assert await kube.text("/log", params={"tailLines": "2"}) == "last 2 lines\n"
    with pytest.raises(NotFound, match="words"):
        await client(lambda _: status(404, "NotFound")).text("/log", params={})
    with pytest.raises(KubernetesUnavailable):
        await client(lambda _: httpx.Response(302, headers={"Location": "http://evil.test/"})).text("/log", params={})
