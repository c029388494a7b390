"""A real ZooKeeper, of the jars in the pyspark wheel: elects the active one of several Masters or ResourceManagers."""

from __future__ import annotations

import socket

from tests.testbed.process import Process
from tests.testbed.site import Part, Site
from tests.testbed.spark import distribution

HOST = "127.0.0.1"


def start(site: Site, port: int) -> Process:
    """Start one server, and return when it answers; who is killed is missed within three seconds."""
    folder = site.folder / "zookeeper"
    folder.mkdir()
    settings = folder / "zoo.cfg"
    settings.write_text(
        f"dataDir={folder}\nclientPort={port}\nclientPortAddress={HOST}\ntickTime=500\n"
        "maxSessionTimeout=3000\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\n"
    )
    command: list[Part] = [distribution.lean_java_home() / "bin" / "java", "-Xmx128m"]
    command += ["-cp", distribution.jars(distribution.build()), "org.apache.zookeeper.server.ZooKeeperServerMain"]
    process = site.start("zookeeper", [*command, settings])
    site.wait_until(lambda: _answers(port), process, "answering")
    return process


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as line:
            line.sendall(b"ruok")
            return line.recv(16) == b"imok"
    except OSError:
        return False
