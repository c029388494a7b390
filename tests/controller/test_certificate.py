"""The gate's certificate over a renewal, as new connections see it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from durablejob_controller.certificate import Certificate
from tests.testbed.kube import pki


def write(folder: Path, pair: pki.Pair) -> None:
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)


def made(folder: Path) -> Certificate:
    return Certificate(str(folder / "tls.crt"), str(folder / "tls.key"))


@asynccontextmanager
async def served(certificate: Certificate) -> AsyncIterator[int]:
    """A listener with this certificate; gives its port."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shown(port: int, authority: pki.Authority) -> bytes:
    """The certificate that a client which trusts this authority is shown; raises ``ssl.SSLError``."""
    trust = ssl.create_default_context(cadata=authority.pair.certificate.decode())
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(found)


async def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path) -> None:
    authority = pki.Authority.new()
    first, second = authority.server("127.0.0.1"), authority.server("127.0.0.1")
    write(tmp_path, first)
    certificate = made(tmp_path)
    async with served(certificate) as port:
        assert await shown(port, authority) == ssl.PEM_cert_to_DER_cert(first.certificate.decode())
        write(tmp_path, second)
        certificate.look()
        assert await shown(port, authority) == ssl.PEM_cert_to_DER_cert(second.certificate.decode())


@pytest.mark.parametrize("broken", ["another key", "no certificate", "no file"])
async def test_what_cannot_be_used_leaves_the_old_one_in_service(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    authority = pki.Authority.new()
    first, second = authority.server("127.0.0.1"), authority.server("127.0.0.1")
    write(tmp_path, first)
    certificate = made(tmp_path)
    async with served(certificate) as port:
        if broken == "no file":
            (tmp_path / "tls.crt").unlink()
        else:
            (tmp_path / "tls.crt").write_bytes(second.certificate if broken == "another key" else b"nonsense")
        certificate.look()
        assert await shown(port, authority) == ssl.PEM_cert_to_DER_cert(first.certificate.decode())
        assert "cannot be used" in caplog.text
        write(tmp_path, second)
        certificate.look()
        assert await shown(port, authority) == ssl.PEM_cert_to_DER_cert(second.certificate.decode())


def test_files_that_are_no_pair_end_the_start(tmp_path: Path) -> None:
    authority = pki.Authority.new()
    write(tmp_path, authority.server("127.0.0.1"))
    (tmp_path / "tls.key").write_bytes(authority.server("127.0.0.1").key)
    with pytest.raises(ssl.SSLError):
        made(tmp_path)
