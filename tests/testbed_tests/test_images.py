"""Images made without Docker: the same content gives the same bytes, and the Dockerfile is the one list of it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.testbed.errors import TestbedError
from tests.testbed.images import controller, dockerfile, oci

SETTINGS = oci.Settings(["/bin/true"], {"A": "b"}, "1:1", "/")


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "content"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/true").write_text("#!/bin/sh\n")
    (folder / "bin/true").chmod(0o755)
    (folder / "bin/also").symlink_to("true")
    return folder


def documents(archive: Path) -> tuple[dict[str, bytes], dict[str, object]]:
    """All files of an archive, and the configuration of its image."""
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    index = json.loads(files["index.json"])
    manifest = json.loads(files[_blob(index["manifests"][0]["digest"])])
    config: dict[str, object] = json.loads(files[_blob(manifest["config"]["digest"])])
    return files, config


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def test_the_same_content_gives_the_same_image(tmp_path: Path, content: Path) -> None:
    for name in ("one", "two"):
        oci.write(tmp_path / f"{name}.tar", "lab.local/x:1", [content], SETTINGS)
        (content / "bin/true").touch()  # another time says nothing of the content
    one, two = (documents(tmp_path / f"{name}.tar")[0] for name in ("one", "two"))
    assert one == two


def test_every_blob_is_what_its_name_says(tmp_path: Path, content: Path) -> None:
    oci.write(tmp_path / "x.tar", "lab.local/x:1", [content, content], SETTINGS)
    files, config = documents(tmp_path / "x.tar")
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    inside = config["config"]
    assert isinstance(inside, dict)
    assert (inside["Entrypoint"], inside["User"]) == (["/bin/true"], "1:1")
    assert "A=b" in inside["Env"]


def test_everybody_owns_nothing_of_a_layer(tmp_path: Path, content: Path) -> None:
    oci.write(tmp_path / "x.tar", "lab.local/x:1", [content], SETTINGS)
    with tarfile.open(tmp_path / "x.tar") as archive:
        layers = [member for member in archive if member.size > 2048]
        (layer,) = layers
        file = archive.extractfile(layer)
        assert file is not None
        with tarfile.open(fileobj=file) as inner:
            members = {member.name: member for member in inner}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert members["./bin/true"].mode == 0o755
    assert members["./bin/also"].linkname == "true"


def test_the_controllers_dockerfile_can_be_followed_without_docker() -> None:
    first, second = dockerfile.read(controller.DOCKERFILE)
    assert first.runs == controller.RUNS
    assert second.copies == [controller.COPY]
    assert second.user.partition(":")[0].isdigit()  # else a kubelet cannot know that it is not root
    assert second.user != "0:0"
    for sources, _ in first.copies:
        assert all((controller.ROOT / source).exists() for source in sources)


def test_what_the_dockerfile_copies_is_not_kept_from_docker() -> None:
    first, _ = dockerfile.read(controller.DOCKERFILE)
    admitted = (controller.ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{source}" for sources, _ in first.copies for source in sources} <= set(admitted)


@pytest.mark.parametrize("text", ["FROM a\nVOLUME /data\n", "RUN true\n"], ids=["unknown", "before FROM"])
def test_a_dockerfile_that_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    with pytest.raises(TestbedError):
        dockerfile.read(path)
