"""Writes an OCI image archive, as `ctr images import` takes it, with no build tool and no daemon.

Layers are plain tar files, made by tar(1) in a fixed order with a fixed time: the same content gives the same
digest. See the OCI image specification, "Image Layout".
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.errors import TestbedError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Settings:
    """How containers of the image are started, unless their pod says otherwise."""

    entrypoint: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""


def write(out: Path, name: str, layers: Sequence[Path], settings: Settings) -> None:
    """Write the image `name` to the file `out`: each layer is the content of a folder, later ones over earlier."""
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        blobs = _Blobs(Path(temporary))
        packed = [blobs.layer(folder) for folder in layers]
        config = blobs.json(_CONFIG, _config(packed, settings))
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": packed}
        entry = blobs.json(_MANIFEST, manifest)
        entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        index = {"schemaVersion": 2, "manifests": [entry]}
        _pack(out, blobs, {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index})


def _config(layers: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        "config": {
            "Entrypoint": list(settings.entrypoint) or None,
            "Env": [f"{key}={value}" for key, value in {**path, **settings.env}.items()],
            "User": settings.user,
            "WorkingDir": settings.workdir,
        },
    }


class _Blobs:
    """The files of an archive, named by their content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def layer(self, content: Path) -> dict[str, Any]:
        draft = self.folder / "draft"
        command = ["tar", "-C", str(content), "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0"]
        command += ["--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
        done = subprocess.run([*command, "-cf", str(draft), "."], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"tar: {done.stderr.strip()}")
        return self._keep(draft, _LAYER)

    def json(self, media_type: str, content: object) -> dict[str, Any]:
        draft = self.folder / "draft"
        draft.write_text(json.dumps(content, sort_keys=True))
        return self._keep(draft, media_type)

    def _keep(self, draft: Path, media_type: str) -> dict[str, Any]:
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        kept = draft.rename(self.folder / digest)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": kept.stat().st_size}


def _pack(out: Path, blobs: _Blobs, documents: Mapping[str, object]) -> None:
    names = [path.name for path in sorted(blobs.folder.iterdir())]
    for name, content in documents.items():
        (blobs.folder / name).write_text(json.dumps(content, sort_keys=True))
    with tarfile.open(out, "w") as archive:
        for name in documents:
            archive.add(blobs.folder / name, name)
        for name in names:
            archive.add(blobs.folder / name, f"blobs/sha256/{name}")
