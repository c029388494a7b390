"""Options of Spark's JVMs, by Spark's version: what ``org.apache.spark.launcher.JavaModuleOptions`` of it gives.

spark-submit adds them to each driver; who starts one without it must as well. A test compares this table with the
class itself, for each version that is at hand.
"""

from __future__ import annotations

_OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"),
    *("sun.security.action", "sun.util.calendar"),
)
_EVER = (99, 0)
_OPTIONS: tuple[tuple[tuple[int, int], tuple[int, int], tuple[str, ...]], ...] = (
    (
        (3, 3),
        _EVER,
        (
            "-XX:+IgnoreUnrecognizedVMOptions",
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
            "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
        ),
    ),
    ((3, 3), (4, 3), ("-Djdk.reflect.useDirectMethodHandle=false",)),
    ((4, 0), _EVER, ("--add-modules=jdk.incubator.vector", "-Dio.netty.tryReflectionSetAccessible=true")),
    (
        (4, 1),
        _EVER,
        (
            "-Dio.netty.allocator.type=pooled",
            "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
            "--enable-native-access=ALL-UNNAMED",
        ),
    ),
    ((4, 3), _EVER, ("--sun-misc-unsafe-memory-access=allow",)),
)
"""(since, until before, options)."""


def java_options(version: str) -> tuple[str, ...]:
    """Options for Spark of this version, such as ``3.5.7``."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return tuple(option for since, until, options in _OPTIONS if since <= (major, minor) < until for option in options)
