"""Where Hadoop comes from: client jars of the pyspark wheel, and those of its daemons by Maven (65 MB, once)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.testbed import cache
from tests.testbed.errors import TestbedError
from tests.testbed.progress import say
from tests.testbed.spark import distribution as spark

VERSION = "3.5.0"
POM = Path(__file__).with_name("pom.xml")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
MISSING = Path(__file__).with_name("Testable.java")
"""What the daemons' JAR lacks, and a ResourceManager that is elected through ZooKeeper needs."""
FROM_SPARK = ("hadoop-client-api-*", "hadoop-client-runtime-*", "slf4j-api-*", "log4j-*", "jcl-over-slf4j-*")


def build() -> Path:
    """Return the folder with the daemons' jars, fetching them if need be.

    Raises:
        TestbedError: there is no Maven, or it could not fetch them.

    """
    spark.java_home()

    def fetch(target: Path) -> None:
        maven = shutil.which("mvn")
        if maven is None:
            raise TestbedError("Maven is needed to fetch Hadoop's jars: Debian package maven")
        say(f"fetching Hadoop {VERSION} by Maven: once, 65 MB")
        command = [maven, "-B", "-q", "-f", str(POM), COPY, f"-DoutputDirectory={target / 'lib'}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"Maven could not fetch Hadoop's jars: {(done.stdout + done.stderr).strip()[-1000:]}")

    made = cache.made(f"hadoop-{VERSION}-{cache.key(POM.read_bytes())}", fetch)
    for version in spark.REQUIREMENTS:
        spark.build(version)
    return made / "lib"


def jars() -> list[Path]:
    """All that daemons and clients of Hadoop need."""
    spark_jars = spark.build() / "jars"
    return [*sorted(build().glob("*.jar")), *(j for name in FROM_SPARK for j in sorted(spark_jars.glob(f"{name}.jar")))]


def missing(folder: Path) -> Path:
    """Compile into ``folder`` what Hadoop's JARs lack."""
    return spark.compile_java([MISSING], folder / "missing.jar", jars())


def home(folder: Path) -> Path:
    """Make a HADOOP_COMMON_HOME for containers: the jars where Hadoop's own distribution has those for clients."""
    client = folder / "share" / "hadoop" / "client"
    client.mkdir(parents=True)
    for jar in jars():
        (client / jar.name).symlink_to(jar)
    return folder


def classpath(conf: Path) -> str:
    """Class path of Hadoop's daemons, their settings in ``conf``."""
    return os.pathsep.join(map(str, [conf, *jars()]))
