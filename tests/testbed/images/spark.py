"""A Spark image for tests, with the entrypoint conventions of Spark's own: the pyspark wheel brings none.

Debian's Java and Python, the wheel's programs and JARs (without those that these tests never load), and test
applications below /opt/app. Its user is 185, as in Spark's own images.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.images import Image, debian, oci
from tests.testbed.progress import say
from tests.testbed.spark import distribution

NAME = "lab.local/spark:1"
ENTRYPOINT = Path(__file__).with_name("entrypoint.sh")
PACKAGES = (
    *("bash", "coreutils", "sed", "grep", "tini"),
    *("openjdk-17-jre-headless", "python3-minimal", "libpython3-stdlib"),
)
USELESS = (
    "breeze", "curator", "datanucleus", "derby", "hive-", "jline", "rocksdbjni", "spark-connect", "spark-graphx",
    "spark-hive", "spark-mllib", "spark-repl", "spire", "zookeeper",
)  # fmt: skip
"""JARs that begin so: half of Spark's size. (icu4j looks useless too, and PySpark's workers need it.)"""


def build(applications: Mapping[str, Path], version: str = distribution.VERSION) -> Image:
    """Return the image of this version of Spark with these files, by their names below /opt/app.

    Raises:
        TestbedError: it cannot be built.

    """
    content = [part for name, path in sorted(applications.items()) for part in (name, path.read_bytes())]
    recipe = [
        " ".join(distribution.LEAN).encode(),
        Path(__file__).read_bytes(),
        ENTRYPOINT.read_bytes(),
        Path(oci.__file__).read_bytes(),
    ]
    key = cache.key(version, Path(debian.__file__).read_bytes(), *recipe, *content)

    def make(target: Path) -> None:
        say(f"building the image of Spark {version}: once for these applications")
        base = debian.root(*PACKAGES)
        top = target / "top"
        _people(top)
        _java(base, top)
        for name, path in applications.items():
            place = top / "opt/app" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        programs = top / "opt/java/bin"
        programs.mkdir(parents=True)
        distribution.write_lean_java(Path("/") / _java_home(base), programs / "java")
        env = {"JAVA_HOME": "/opt/java", "SPARK_HOME": "/opt/spark"}
        settings = oci.Settings(["/opt/entrypoint.sh"], env, "185:185", "/opt/spark/work-dir")
        oci.write(target / "image.tar", name_of(version), [base, _spark(version), top], settings)
        shutil.rmtree(top)

    return Image(name_of(version), cache.made(f"image-spark-{key}", make) / "image.tar")


def name_of(version: str) -> str:
    """Name of the image of this version of Spark."""
    return NAME if version == distribution.VERSION else f"{NAME.partition(':')[0]}:{version}"


def _spark(version: str) -> Path:
    """The part of Spark's distribution that is needed, as /opt/spark of a layer."""

    def make(target: Path) -> None:
        source, home = distribution.build(version), target / "layer/opt/spark"
        home.mkdir(parents=True)
        for folder in ("bin", "jars", "python/lib"):
            useless = shutil.ignore_patterns(*(f"{prefix}*" for prefix in USELESS))
            shutil.copytree(source / folder, home / folder, ignore=useless)
        shutil.copyfile(ENTRYPOINT, home.parent / "entrypoint.sh")
        for program in [home.parent / "entrypoint.sh", *(home / "bin").iterdir()]:
            program.chmod(0o755)

    key = cache.key(version, *USELESS, ENTRYPOINT.read_bytes())
    return cache.made(f"image-layer-spark-{key}", make) / "layer"


def _people(top: Path) -> None:
    """The user, whose name Hadoop's libraries ask for, and a folder that is his."""
    etc = top / "etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/bash\nspark:x:185:185::/opt/spark:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\nspark:x:185:\n")
    work = top / "opt/spark/work-dir"  # executors copy the application's JAR to where they stand
    work.mkdir(parents=True)
    work.chmod(0o777)


def _java(base: Path, top: Path) -> None:
    """What Debian's packages do when they are configured: trusted certificates for Java, and a /bin/sh."""
    trusted = distribution.java_home() / "lib/security/cacerts"
    if trusted.exists():
        place = top / "etc/ssl/certs/java/cacerts"
        place.parent.mkdir(parents=True)
        shutil.copyfile(trusted.resolve(), place)
    if not (base / "bin/sh").exists():
        (top / "bin").mkdir()
        (top / "bin/sh").symlink_to("bash")


def _java_home(base: Path) -> Path:
    homes = [path for path in (base / "usr/lib/jvm").glob("java-17-openjdk-*") if not path.is_symlink()]
    if len(homes) != 1:
        raise TestbedError(f"{base} holds no Java 17, or several")
    return homes[0].relative_to(base)
