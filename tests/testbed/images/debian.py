"""Folders that hold a small Debian: packages unpacked, without a package manager and without having run anything."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.progress import say

SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of that suite."""
BASE = ("ca-certificates", "libc-bin", "netbase", "tzdata")
_USELESS = (
    *(f"usr/share/{name}" for name in ("doc", "man", "locale", "info", "lintian")),
    *("var/cache/apt", "var/lib/apt", "var/lib/dpkg", "var/log", "dev"),
)


def root(*packages: str) -> Path:
    """Return the folder with these packages, and what they depend on; not to be written to.

    Raises:
        TestbedError: it cannot be made; with what mmdebstrap said.

    """
    wanted = sorted({*BASE, *packages})

    def make(target: Path) -> None:
        say(f"unpacking Debian packages: once, {' '.join(packages)}")
        folder = target / "root"
        done = _mmdebstrap(["--quiet", "--variant=extract", f"--include={','.join(wanted)}", SUITE, str(folder)])
        if done.returncode != 0:
            raise TestbedError(f"mmdebstrap: {done.stderr.strip()[-2000:]}")
        _finish(folder)

    recipe = Path(__file__).read_bytes()
    return cache.made(f"debian-{SUITE}-{cache.key(recipe, *wanted)}", make) / "root"


def _mmdebstrap(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["mmdebstrap", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TestbedError("mmdebstrap is needed: Debian package mmdebstrap") from None


def _finish(folder: Path) -> None:
    """What the packages' own scripts would have done, as far as it matters."""
    for name in _USELESS:
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "dev").mkdir()
    certificates = sorted((folder / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    trusted = folder / "etc/ssl/certs"
    trusted.mkdir(parents=True, exist_ok=True)
    (trusted / "ca-certificates.crt").write_bytes(b"".join(path.read_bytes() for path in certificates))
    (folder / "tmp").chmod(0o1777)
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n")
    (folder / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
