"""The smallest images: a shell with its tools, and what holds a pod's namespaces open."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.images import Image, oci
from tests.testbed.node.config import PAUSE

NAME = "lab.local/busybox:1"


def build() -> Image:
    """A shell and the usual small programs, all of them Debian's statically linked BusyBox."""
    return _build(NAME, oci.Settings(entrypoint=["/bin/sh"]))


def build_pause() -> Image:
    """What sleeps in every pod: it holds the pod's namespaces, and does nothing else."""
    return _build(PAUSE, oci.Settings(entrypoint=["/bin/sleep", "2147483647"], user="65535:65535"))


def _build(name: str, settings: oci.Settings) -> Image:
    found = shutil.which("busybox")
    if found is None:
        raise TestbedError("busybox is needed: Debian package busybox-static")
    program = Path(found).read_bytes()

    def make(target: Path) -> None:
        root = target / "root"
        for folder in ("bin", "tmp", "etc"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        busybox = root / "bin" / "busybox"
        busybox.write_bytes(program)
        busybox.chmod(0o755)
        for tool in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if tool != "busybox":
                (root / "bin" / tool).symlink_to("busybox")
        oci.write(target / "image.tar", name, [root], settings)
        shutil.rmtree(root)

    key = cache.key(program, name, repr(settings), Path(oci.__file__).read_bytes())
    return Image(name, cache.made(f"image-busybox-{key}", make) / "image.tar")
