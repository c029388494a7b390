"""The logs of the fake kubelet: the one thing that an API server asks a kubelet for.

It does not verify who answers, as long as it is not told by whom kubelets are certified (and the built one is not). One
on another machine finds nobody, and says so.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.testbed.kube import pki

ADDRESS = "127.0.0.1"
LAST = "the program says so last"
"""The last line of every container's log."""
_LINES = ("the program says so first", LAST)


class LogServer:
    """Answers ``/containerLogs`` as a kubelet does, whatever the container, from its beginning until it is closed."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer((ADDRESS, 0), _Handler)
        self._server.daemon_threads = True
        self._server.socket = _context().wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="kubelet-logs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if not asked.path.startswith("/containerLogs/"):
            self.send_error(404)
            return
        (count,) = parse_qs(asked.query).get("tailLines", [str(len(_LINES))])
        lines = _LINES[-int(count) :] if int(count) else ()
        text = "".join(f"{line}\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """It says nothing."""


def _context() -> ssl.SSLContext:
    pair = pki.Authority.new().server(ADDRESS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        certificate.write_bytes(pair.certificate)
        pki.write_secret(key, pair.key)
        context.load_cert_chain(certificate, key)
    return context
