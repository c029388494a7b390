"""The controller's image, as controller/Dockerfile describes it, made without Docker.

Debian's Python takes the place of the Dockerfile's base image. All the rest is read from the Dockerfile.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.images import Image, debian, dockerfile, oci
from tests.testbed.progress import say

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "controller" / "Dockerfile"
NAME = "lab.local/durablejob-controller:lab"
PACKAGES = ("python3-minimal", "libpython3-stdlib")
RUNS = [
    'pip install --no-cache-dir --no-compile --target /app "/src[controller]"',
    "python3 -m compileall -q --invalidation-mode unchecked-hash /app",
]
"""What the Dockerfile's first stage runs; ``_make`` does the same in its own way."""
COPY = (["--from=build", "/app"], "/app")
"""What its second stage takes from there."""


def build() -> Image:
    """Return the image of the working tree's controller, building it if these sources have none.

    Raises:
        TestbedError: it cannot be built; with what the tool said.

    """
    first, second = dockerfile.read(DOCKERFILE)
    if first.runs != RUNS or second.runs or second.copies != [COPY]:
        raise TestbedError(f"{DOCKERFILE} does other steps than {__file__}: change both")
    sources = sorted(_sources(first))
    parts = [part for path in sources for part in (str(path.relative_to(ROOT)), path.read_bytes())]
    tools = [path.read_bytes() for path in (Path(__file__), Path(oci.__file__), Path(debian.__file__), DOCKERFILE)]
    settings = oci.Settings(second.entrypoint, second.env, second.user, "/")
    name = f"image-controller-{cache.key(*parts, *tools)}"
    return Image(NAME, cache.made(name, lambda target: _make(target, first, settings)) / "image.tar")


def _sources(stage: dockerfile.Stage) -> list[Path]:
    """The files that the first stage copies from the repository."""
    found = [ROOT / source for sources, _ in stage.copies for source in sources]
    files = [each for path in found for each in (path.rglob("*") if path.is_dir() else [path])]
    return [path for path in files if path.is_file() and "__pycache__" not in path.parts]


def _make(target: Path, stage: dockerfile.Stage, settings: oci.Settings) -> None:
    say("building the controller's image: once for these sources")
    source, layer, wheels = target / "src", target / "layer", target / "wheels"
    for sources, into in stage.copies:
        for name in sources:
            place = source / Path(into).relative_to("/src") / (Path(name).name if into.endswith("/") else "")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source))
    (wheel,) = wheels.glob("*.whl")
    app = layer / "app"
    # For the image's Python, whichever ours is; that needs ready-made wheels of everything.
    _pip(
        "install", "--no-compile", "--target", str(app), "--only-binary=:all:", "--implementation=cp",
        f"--python-version={debian.PYTHON}", f"{wheel}[controller]",
    )  # fmt: skip
    base = debian.root(*PACKAGES)
    _compile(base, app)
    oci.write(target / "image.tar", NAME, [base, layer], settings)
    for folder in (source, layer, wheels):
        shutil.rmtree(folder)


def _compile(base: Path, app: Path) -> None:
    """Let the image's own Python compile, as another version's result would be of no use."""
    program = base / "usr" / "bin" / f"python{debian.PYTHON}"
    paths = [base / "usr" / "lib" / f"python{debian.PYTHON}"]
    env = {"PYTHONHOME": str(base / "usr"), "PYTHONPATH": ":".join(map(str, paths)), "PATH": "/usr/bin:/bin"}
    command: list[str | Path] = [program, "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    done = subprocess.run([*command, "-s", app.parent, app], capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise TestbedError(f"compileall: {(done.stdout + done.stderr).strip()[-2000:]}")


def _pip(command: str, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    if command == "wheel":
        quiet.remove("--root-user-action=ignore")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TestbedError(f"pip {command}: {done.stderr.strip()[-2000:]}")
