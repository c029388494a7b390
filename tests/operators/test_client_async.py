"""The triggers' client, against a server that does on cue what a real one does seldom."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from kubernetes_asyncio import client as kube

from durablejob_airflow.client_async import AsyncJobsClient
from tests.testbed.kube.pki import Authority

EVENT = b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}\n'


class SilentServer(threading.Thread):
    """Answers a watch with one event, and from then on nothing: not TLS' farewell either."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.gone = threading.Event()
        """Set when the client has left the connection."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        with self.context.wrap_socket(self.listener.accept()[0], server_side=True) as peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(EVENT), EVENT))
            with socket.socket(fileno=os.dup(peer.fileno())) as bare:
                try:
                    while bare.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
            self.gone.set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SilentServer]:
    pair = Authority.new().server("127.0.0.1")
    (tmp_path / "crt").write_bytes(pair.certificate)
    (tmp_path / "key").write_bytes(pair.key)
    server = SilentServer(tmp_path / "crt", tmp_path / "key")
    server.start()
    yield server
    server.listener.close()
    server.join(5)


async def test_a_watch_that_is_left_leaves_its_connection_at_once(server):
    settings = kube.Configuration(host=server.url)
    settings.verify_ssl = False
    async with kube.ApiClient(settings) as api:
        async with aclosing(AsyncJobsClient(api, "ns", "tests").watch("1")) as events:
            kind, _ = await anext(events)
        assert kind == "BOOKMARK"
        assert await asyncio.to_thread(server.gone.wait, 5)
