"""One node for all tests of this stage, added to the session's cluster; and programs that keep a ledger."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.e2e.desk import Desk
from tests.node.programs import Programs
from tests.testbed import kube, node, spark
from tests.testbed.images import Image, busybox
from tests.testbed.images import spark as image
from tests.testbed.node import Node

APPS = Path(__file__).parents[1] / "apps"


@pytest.fixture(scope="package")
def here(crds: kube.Cluster) -> Iterator[Node]:
    """A real node."""
    why = node.lacking(crds)
    if why is not None:
        if os.environ.get("DURABLEJOB_REQUIRE_NODE"):
            pytest.fail(f"DURABLEJOB_REQUIRE_NODE is set, but {why}")
        pytest.skip(why)
    with node.running(crds) as running:
        running.load(busybox.build())
        yield running


@pytest.fixture(scope="package")
def desk(crds: kube.Cluster, here: Node, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(crds, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="package")
def programs(desk: Desk) -> Programs:
    return Programs(desk)


def manifest(name: str) -> Path:
    return Path(__file__).parent / "manifests" / name


class _Ledger(BaseHTTPRequestHandler):
    """Writes down whoever calls."""

    book: ClassVar[Path]
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        with self.lock, self.book.open("a") as book:
            book.write(self.path.strip("/") + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="package")
def ledger(here: Node, desk: Desk) -> Iterator[str]:
    """URL of the ledger, for pods."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Book", (_Ledger,), {"book": desk.ledger}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{here.reach(server.server_address[1])}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="package")
def spark_image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Image]:
    """Builds the image of a version of Spark, with the application in both languages."""

    def build(version: str) -> Image:
        jar = tmp_path_factory.mktemp("jar") / "job.jar"
        spark.compile_java([APPS / "Job.java"], jar, version=version)
        return image.build({"job.jar": jar, "job.py": APPS / "job.py"}, version)

    return build
