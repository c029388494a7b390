"""The token of the controller's account goes to the API server, and nowhere else, whoever asks for it or redirects.

A real controller process with a real account's token. Between it and the real API server stands a relay that notes
what is asked, and sends the first call of each form elsewhere. The backends and the gate note what they are asked; one
stand-in answers all with a redirect, one with a question for credentials.
"""

from __future__ import annotations

import base64
import io
import json
import re
import ssl
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp import web

from tests.backends.yarn.scripted_yarn import ScriptedYarn
from tests.crash.master import Master, Yard
from tests.e2e.desk import Desk
from tests.faults.relay import Exchange, Fault, Relay, Reply, Request
from tests.testbed import controller as controllers
from tests.testbed import site as sites
from tests.testbed.controller import Controller
from tests.testbed.kube import Cluster, kubelet

NAMESPACE = "token"
LURED = 503
"""What the place answers that redirects lead to: come back later."""
ASKED = 6
"""So many requests of a kind, and whoever sends them has asked more than once."""


@dataclass
class Book:
    """Every request that was noted, by where it arrived."""

    seen: dict[str, list[Request]] = field(default_factory=dict)

    def note(self, where: str, request: Request) -> None:
        self.seen.setdefault(where, []).append(request)

    def noting(self, where: str, then: Fault) -> Fault:
        """A fault that notes first."""

        async def noted(exchange: Exchange) -> None:
            self.note(where, exchange.request)
            await then(exchange)

        return noted

    def middleware(self, where: str) -> Any:
        """The same for a stand-in that aiohttp serves."""

        @web.middleware
        async def noted(request: web.Request, handler: Any) -> Any:
            headers = dict(request.headers)
            self.note(where, Request(request.method, request.path_qs, headers, await request.read()))
            return await handler(request)

        return noted

    def wait(self, where: str, count: int = ASKED, timeout: float = 60) -> None:
        """Until so many requests have arrived there."""
        deadline = time.monotonic() + timeout
        while len(self.seen.get(where, ())) < count:
            assert time.monotonic() < deadline, f"{len(self.seen.get(where, ()))} requests at {where}"
            time.sleep(0.2)


def answering(status: int, **headers: str) -> Fault:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(Reply.of(status, b'{"kind": "Status", "message": "later"}', **headers))

    return answer


def leading_to(place: Relay) -> Fault:
    async def redirect(exchange: Exchange) -> None:
        await exchange.answer(Reply.of(307, Location=place.url + exchange.request.target))

    return redirect


class OnceElsewhere:
    """The first call of each form is sent elsewhere, all others are passed on."""

    def __init__(self, place: Relay) -> None:
        self._redirect = leading_to(place)
        self.forms: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        path = re.sub(r"/(job-|dj-)[^/]+|\.[0-9a-f]{8,}", "/NAME", request.path)
        form = f"{request.method} {path} {'watch' if request.watches else ''}"
        if form in self.forms:
            await exchange.pass_on()
        else:
            self.forms.add(form)
            await self._redirect(exchange)


@dataclass
class Town:
    """Everything around one controller."""

    token: str
    book: Book
    desk: Desk
    controller: Controller
    forms: set[str]


def account(cluster: Cluster) -> tuple[str, dict[str, Any]]:
    """An account that may do everything in its cluster: its token, and the cluster as its kubeconfig names it."""
    meta = {"name": "controller", "namespace": NAMESPACE}
    subject = {"kind": "ServiceAccount", **meta}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "token-controller"}, "subjects": [subject], "roleRef": role,
        },
    ]  # fmt: skip
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    found = yaml.safe_load(cluster.account_kubeconfig(NAMESPACE, "controller").read_text())
    return str(found["users"][0]["user"]["token"]), dict(found["clusters"][0]["cluster"])


def kubeconfig(path: Path, server: str, token: str) -> Path:
    parts = {
        "clusters": [{"name": "relay", "cluster": {"server": server}}],
        "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "account"}}],
        "users": [{"name": "account", "user": {"token": token}}],
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "relay", **parts}))
    return path


def noted(monkeypatch: pytest.MonkeyPatch, book: Book, stand_in: type[Master | ScriptedYarn], where: str) -> None:
    """From now on this stand-in notes what it is asked."""
    plain = stand_in.application

    def application(self: Any) -> web.Application:
        made = plain(self)
        made.middlewares.insert(0, book.middleware(where))
        return made

    monkeypatch.setattr(stand_in, "application", application)


def yarn(url: str, **more: Any) -> Any:
    webhdfs = {"nameNodes": [url], "dataNodes": [url]}
    staging = {"dir": "hdfs://nn:8020/staging", "webhdfs": webhdfs}
    return {"yarn": {"resourceManagers": [url], "user": "etl", "staging": staging, **more}}


def standalone(url: str) -> Any:
    system = {"masters": [{"rest": url, "ui": url}], "tokenSecretRef": {"name": "spark-token"}}
    return {"sparkStandalone": system, "artifactSchemes": ["local"]}


@pytest.fixture(scope="module")
def town(crds: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder, book = tmp_path_factory.mktemp("token"), Book()
    token, known = account(crds)
    trust = ssl.create_default_context(cadata=base64.b64decode(known["certificate-authority-data"]).decode())
    desk = Desk(crds, folder, NAMESPACE)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        noted(patch, book, Master, "master")
        noted(patch, book, ScriptedYarn, "yarn")
        yard = stack.enter_context(Yard())
        master, resource_manager = stack.enter_context(yard.master()), stack.enter_context(yard.yarn())
        trap, mirage, locked = (stack.enter_context(Relay("http://127.0.0.1:9")) for _ in range(3))
        trap.fault = book.noting("trap", answering(LURED))
        mirage.fault = book.noting("mirage", leading_to(trap))
        locked.fault = book.noting("locked", answering(401, WWW_Authenticate='Bearer realm="kubernetes"'))
        kube = stack.enter_context(Relay(crds.url, trust))
        elsewhere = OnceElsewhere(trap)
        kube.fault = book.noting("kube-apiserver", elsewhere)
        secrets(desk)
        path = kubeconfig(folder / "relay.kubeconfig", kube.url, token)
        (port,) = sites.free_ports(1)
        gate = stack.enter_context(Relay(f"http://127.0.0.1:{port}"))
        gate.fault = book.noting("gate", Exchange.pass_on)
        own = (
            "--namespaces",
            NAMESPACE,
            "--own-namespace",
            NAMESPACE,
            "--kubeconfig",
            str(path),
            "--gate-url",
            gate.url,
        )
        options = (*own, "--poll-interval", "0.5", "--probe-interval", "1", "--log-level", "debug")
        stack.enter_context(kubelet.running(crds, folder, "token-node"))
        controller = stack.enter_context(controllers.running(crds, *options, name="token", gate_port=port))
        controller.wait_leading()
        spark = {"version": "4.3.0", "jars": "local:///opt/spark/jars"}
        gated = {**yarn(resource_manager.url, spark=spark), "fence": {"mode": "Gate"}, "artifactSchemes": ["local"]}
        backends = {
            "here": {"kubernetes": {"failureLogLines": 1, "spark": {"image": "example.invalid/spark:4"}}},
            "master": standalone(master.url),
            "yarn": yarn(resource_manager.url),
            "yarn-gate": gated,
            **{f"master-{name}": standalone(url) for name, url in (("mirage", mirage.url), ("locked", locked.url))},
            **{f"yarn-{name}": yarn(url) for name, url in (("mirage", mirage.url), ("locked", locked.url))},
        }
        for name, spec in backends.items():
            desk.backend(name, spec)
        yield Town(token, book, desk, controller, elsewhere.forms)


def secrets(desk: Desk) -> None:
    """What may be sent: a backend's token, and a job's word."""
    for name, data in (("spark-token", {"token": "the-masters-own"}), ("etl", {"word": "a-jobs-own"})):
        meta = {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}
        desk.cluster.kubectl("apply", "-f", "-", input=json.dumps(body))


def jobs() -> Iterator[Any]:
    """One of each kind of work."""
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "etl", "key": "word"}}}]
    spark = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": ["succeed"]}
    pod = {"spec": {"containers": [{"name": "main", "image": "example.invalid/etl:1"}]}}
    for name, kind, work in (
        ("here", "Kubernetes", {"kubernetesJob": {"template": {"template": pod}}}),
        ("here", "Kubernetes", {"spark": spark}),
        ("master", "SparkStandalone", {"spark": {**spark, "env": env}}),
        ("yarn", "Yarn", {"yarn": {"command": "succeed"}}),
        ("yarn-gate", "Yarn", {"spark": spark}),
    ):
        yield {"backendRef": {"name": name, "type": kind}, **work}


def texts(request: Request) -> Iterator[str]:
    """All that was sent, archives unpacked."""
    yield request.target
    yield from (f"{name}: {value}" for name, value in request.headers.items())
    yield request.body.decode("latin-1")
    if zipfile.is_zipfile(io.BytesIO(request.body)):
        archive = zipfile.ZipFile(io.BytesIO(request.body))
        yield from (archive.read(name).decode("latin-1") for name in archive.namelist())


def forms_of(token: str) -> list[str]:
    """The token, as it may be written."""
    return [token, token.rpartition(".")[2], base64.b64encode(token.encode()).decode().rstrip("=")]


def holds(text: str, token: str) -> bool:
    return any(form in text for form in forms_of(token))


def test_the_token_of_the_controllers_account_goes_to_the_api_server_and_nowhere_else(town: Town) -> None:
    names = [town.desk.submit(spec) for spec in jobs()]
    ends = {name: town.desk.end(name, 120)["state"] for name in names}
    assert set(ends.values()) == {"Succeeded"}, ends
    for name in names:
        town.desk.delete(name)
    for where in ("mirage", "locked", "trap"):
        town.book.wait(where, ASKED if where != "trap" else 1)
    seen = {where: list(requests) for where, requests in town.book.seen.items()}
    # It is sent where it should be, each time in one header only: so it would be noticed elsewhere.
    for request in seen.pop("kube-apiserver"):
        (header,) = [text for text in texts(request) if holds(text, town.token)]
        assert header.lower() == f"authorization: bearer {town.token}".lower()
    assert seen.keys() == {"master", "yarn", "gate", "mirage", "locked", "trap"}
    for where, requests in seen.items():
        sent = [f"{one.method} {one.target}" for one in requests for text in texts(one) if holds(text, town.token)]
        assert sent == [], where
    # What is for a Master goes to that Master; so notes are complete.
    owned = {where for where, requests in seen.items() for one in requests
             if any("the-masters-own" in text for text in texts(one))}  # fmt: skip
    assert "master" in owned
    assert owned <= {"master", "mirage", "locked"}
    assert any("a-jobs-own" in text for one in seen["master"] for text in texts(one))


def test_calls_of_every_form_were_redirected_and_none_was_followed_with_the_token(town: Town) -> None:
    """Both clients were: ours, and kopf's, which watches."""
    verbs = {form.partition(" ")[0] for form in town.forms}
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= verbs
    assert any(form.endswith("watch") for form in town.forms)
    lured = town.book.seen["trap"]
    assert not any(name.lower() == "authorization" for one in lured for name in one.headers)


def test_it_is_neither_logged_nor_measured_nor_shown(town: Town) -> None:
    assert town.controller.log
    assert not holds(town.controller.log, town.token)
    for path in ("/metrics", "/healthz", "/readyz"):
        assert not holds(httpx.get(town.controller.url + path, timeout=10).text, town.token)
