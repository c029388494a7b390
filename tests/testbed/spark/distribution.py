"""Where Spark and Java come from: the pyspark wheel (which holds the whole distribution) and the machine's JDK."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache as once
from pathlib import Path

from tests.testbed import cache, pip
from tests.testbed.errors import TestbedError
from tests.testbed.progress import say

VERSION = "4.3.0"
OLDER = "3.5.7"
"""The last line of releases before 4, for what differs between the two."""
REQUIREMENTS = {
    VERSION: (f"pyspark=={VERSION}", "py4j==0.10.9.9"),
    OLDER: (f"pyspark=={OLDER}", "py4j==0.10.9.7"),
}
OLDEST_JAVA = 17
LEAN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
"""Options for programs that live for seconds, on few cores; they leave no /tmp/hsperfdata behind."""


def build(version: str = VERSION) -> Path:
    """Return SPARK_HOME in the cache, fetching Spark if need be."""
    return python_path(version) / "pyspark"


def python_path(version: str = VERSION) -> Path:
    """Return the folder from which Python imports pyspark and py4j."""
    requirements = REQUIREMENTS[version]

    def fetch(target: Path) -> None:
        say(f"fetching {' and '.join(requirements)} from PyPI: once, 300 to 500 MB")
        pip.install(target, *requirements)

    return cache.made(f"spark-{version}-{cache.key(*requirements)}", fetch)


@once
def java_home() -> Path:
    """Return the home of Java 17 or newer: $JAVA_HOME, else the `java` on PATH.

    Raises:
        TestbedError: there is none.

    """
    homes = [os.environ.get("JAVA_HOME"), _home_of(shutil.which("java"))]
    for home in homes:
        if home and (version := _java_version(Path(home) / "bin" / "java")) and version >= OLDEST_JAVA:
            return Path(home)
    raise TestbedError(
        f"Java {OLDEST_JAVA} or newer is needed for Spark: Debian package openjdk-17-jre-headless "
        "(openjdk-17-jdk-headless to compile test applications), or set JAVA_HOME"
    )


@once
def lean_java_home() -> Path:
    """Return the home of the same Java, whose programs compile less.

    One that counts a thousand numbers with Spark takes 13 s of CPU by it instead of 25. Not for what is measured.
    """
    real = java_home()

    def make(target: Path) -> None:
        programs = target / "bin"
        programs.mkdir(parents=True)
        for path in [*real.iterdir(), *(real / "bin").iterdir()]:
            if path.name not in ("bin", "java"):
                (target / path.relative_to(real)).symlink_to(path)
        write_lean_java(real, programs / "java")

    return cache.made(f"java-lean-{cache.key(str(real), *LEAN)}", make)


def write_lean_java(home: Path, program: Path) -> None:
    """Write the program that starts this home's Java in that way."""
    program.write_text(f'#!/bin/sh\nexec {home}/bin/java {" ".join(LEAN)} "$@"\n')
    program.chmod(0o755)


def jars(spark_home: Path) -> str:
    """Class path of everything that Spark brings, ZooKeeper among it."""
    return f"{spark_home}/jars/*"


def compile_java(
    sources: Sequence[Path], out_jar: Path, extra_classpath: Iterable[Path] = (), version: str = VERSION
) -> Path:
    """Compile Java sources against the jars of this version of Spark into `out_jar`, and return it.

    The result is kept in the cache, named by the content of the sources.

    Raises:
        TestbedError: there is no javac, or it refused the sources; with what it said.

    """
    javac = java_home() / "bin" / "javac"
    if not javac.exists():
        raise TestbedError(f"javac is needed (Java here: {java_home()}): Debian package openjdk-17-jdk-headless")
    classpath = os.pathsep.join([jars(build(version)), *map(str, extra_classpath)])
    parts = [part for path in sources for part in (path.name.encode(), path.read_bytes())]
    name = f"java-{cache.key(version, classpath, *parts)}"

    def make(target: Path) -> None:
        command = [str(javac), "--release", str(OLDEST_JAVA), "-cp", classpath, "-d", str(target / "classes")]
        done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"javac: {done.stderr.strip()}")
        _jar(target / "classes", target / "out.jar")

    made = cache.made(name, make) / "out.jar"
    out_jar.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, out_jar)
    return out_jar


def _jar(classes: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as jar:
        for path in sorted(classes.rglob("*.class")):
            entry = zipfile.ZipInfo(str(path.relative_to(classes)), (1980, 1, 1, 0, 0, 0))  # same bytes each time
            jar.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _home_of(java: str | None) -> str | None:
    return str(Path(java).resolve().parent.parent) if java else None


def _java_version(java: Path) -> int | None:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else None
