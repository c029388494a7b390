"""The line that can be cut: on it, bytes pass; off it, nothing does, and a new connection is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.events.line import Line


@pytest.fixture
def line() -> Iterator[Line]:
    """A line to a server that gives back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    made = Line("127.0.0.1", server.getsockname()[1])
    made.open()
    yield made
    made.close()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def connect(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.url_port), timeout=5)


def said(connection: socket.socket, what: bytes) -> bytes:
    connection.sendall(what)
    return connection.recv(100)


def ended(connection: socket.socket) -> bool:
    try:
        return said(connection, b"?") == b""
    except OSError:
        return True


def test_it_passes_bytes_until_it_is_cut_and_again_when_it_is_mended(line: Line) -> None:
    with connect(line) as connection:
        assert said(connection, b"one") == b"one"
        line.cut()
        assert ended(connection)
    with connect(line) as connection:
        assert ended(connection)
    line.mend()
    with connect(line) as connection:
        assert said(connection, b"two") == b"two"
