"""A line to a server that can be cut and mended: bytes go through, whatever they mean."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Line:
    """Passes connections on as long as it is whole; a cut ends them all and refuses new ones."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.whole = True
        self.url_port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def cut(self) -> None:
        """As when a cable is pulled at the server's end."""
        self.whole = False
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(10)

    def mend(self) -> None:
        self.whole = True

    def open(self) -> None:
        self._thread.start()
        self.url_port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        self.cut()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
            ends = {writer, far_writer}
            self._writers |= ends
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                self._writers -= ends
                for end in ends:
                    end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()


@contextmanager
def to_cluster(kubeconfig: Path, folder: Path) -> Iterator[tuple[Line, Path]]:
    """A line to a cluster's API server, and a kubeconfig that goes over it."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    line = Line(server.hostname or "127.0.0.1", server.port or 443)
    line.open()
    try:
        cluster["tls-server-name"] = server.hostname
        cluster["server"] = f"https://127.0.0.1:{line.url_port}"
        path = folder / "over-the-line.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        yield line, path
    finally:
        line.close()
