"""What is odd, value by value: at the bounds and beyond, of another type, in another script, with another meaning."""

from __future__ import annotations

import random
from typing import Any

Json = Any
STRINGS = (
    "", " ", "\n", "\t\x01", "\u0000x", "null", "true", "0", "-1", "1e309", "NaN", "../../etc/passwd",
    "${jndi:ldap://x/a}",
    "$(id)", "`id`", "'; --", "%s%n", "{{ ds }}", "a" * 63, "a" * 64, "a" * 253, "a" * 254, "é", "ß", "İ", "日本語",
    "🙂" * 20,
    "\u202eabc", "a\u0300" * 30, "\ufeff", "\U0010ffff", "http://169.254.169.254/latest", "file:///etc/shadow",
    "local://",
    "s3a://b/k?x#y", "ftp://h/f", "hdfs:///a\nb", "spark://[::1]:0", "javascript:alert(1)", "C:\\x", "-rf",
    "--master=local",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 7, 100_000, 100_001, 2**31 - 1, 2**31, 2**53, 2**63 - 1, -(2**63), 31_536_000, 31_536_001)
STRANGERS: tuple[Json, ...] = (None, True, 0, -1.5, "text", [], {}, [[]], [None], {"": ""}, {"a": {"b": {"c": [1]}}})
"""Values of some other type."""

CONF_KEYS = (
    "spark.master", "spark.submit.deployMode", "spark.driver.supervise", "spark.driver.extraJavaOptions",
    "spark.driver.defaultJavaOptions", "spark.executor.extraJavaOptions", "spark.driver.extraClassPath",
    "spark.driver.extraLibraryPath", "spark.jars.packages", "spark.jars.ivySettings", "spark.plugins",
    "spark.extraListeners", "spark.durablejob.tokenURL", "spark.durablejob.mainClass", "spark.app.id", "spark.jars",
    "spark.driver.userClassPathFirst", "SPARK.MASTER", " spark.master", "spark.master ", "spark.master\n",
    "spark..master",
    "spark.\u200bmaster", "", "a" * 1000, "spark.sql.shuffle.partitions",
    "spark.driver.memory", "spark.driver.memoryOverhead", "spark.driver.cores", "spark.ui.port", "spark.ui.enabled",
    "spark.driver.resource.gpu.amount", "spark.kubernetes.namespace", "spark.kubernetes.container.image",
    "spark.kubernetes.driver.podTemplateFile", "spark.kubernetes.driver.label.", "spark.kubernetes.driver.label.a b",
    "spark.kubernetes.driver.annotation.a", "spark.kubernetes.driver.secretKeyRef.X", "spark.kubernetes.driverEnv.X",
    "spark.kubernetes.driver.secrets.s", "spark.kubernetes.driver.volumes.hostPath.x.mount.path",
    "spark.kubernetes.driver.volumes..x.mount.path", "spark.kubernetes.driver.request.cores",
    "spark.kubernetes.driver.limit.cores", "spark.kubernetes.node.selector.a", "spark.kubernetes.memoryOverheadFactor",
    "spark.kubernetes.executor.podNamePrefix", "spark.dynamicAllocation.enabled", "spark.executor.instances",
)  # fmt: skip
CONF_VALUES = (
    "local", "client", "true", "-javaagent:x.jar", "-XX:OnError=touch /tmp/x", "@/tmp/args", "-agentlib:jdwp", "",
    "\n", "1",
    "-Dx=y", "a" * 4096, "1g", "-1g", "9" * 400, "²", "1e999", "0", "a:b", ":", "/", "500m", "NaN",
)  # fmt: skip

KEY = "durablejob.io/attempt-key"
CONTAINER: Json = {"name": "main", "image": "example.invalid/etl:1"}
TEMPLATES: tuple[Json, ...] = (
    {}, {"template": {}}, {"template": None}, {"template": []}, {"template": "x"}, {"template": {"spec": None}},
    {"template": {"spec": []}}, {"template": {"spec": {"containers": None}}},
    {"template": {"spec": {"containers": {}}}},
    {"template": {"spec": {"containers": [None]}}}, {"template": {"spec": {"containers": [CONTAINER] * 2}}},
    {"template": {"spec": {"containers": [CONTAINER], "restartPolicy": "Always"}}},
    {"template": {"spec": {"containers": [CONTAINER], "restartPolicy": 3}}},
    {"template": {"spec": {"containers": [CONTAINER]}, "metadata": []}},
    {"template": {"spec": {"containers": [CONTAINER]}, "metadata": {"labels": ["a"]}}},
    {"template": {"spec": {"containers": [CONTAINER]}, "metadata": {"labels": {"a": 1}}}},
    {"template": {"spec": {"containers": [CONTAINER]}, "metadata": {"labels": {KEY: "forged"}}}},
    {"template": {"spec": {"containers": [CONTAINER]}, "metadata": {"finalizers": ["durablejob.io/outcome"]}}},
    {"template": {"spec": {"containers": [CONTAINER], "nodeName": "nowhere"}}},
    {"template": {"spec": {"containers": [CONTAINER], "nodeSelector": {"no": "such"}}}},
    {"template": {"spec": {"containers": [CONTAINER], "serviceAccountName": "nobody"}}},
    {"template": {"spec": {"containers": [{**CONTAINER, "resources": {"requests": {"cpu": "many"}}}]}}},
    {"template": {"spec": {"containers": [{**CONTAINER, "name": "UPPER"}]}}},
    {"template": {"spec": {"containers": [{**CONTAINER, "env": [{"name": "A=B", "value": "\u0001"}]}]}}},
)  # fmt: skip
JOB_FIELDS: dict[str, tuple[Json, ...]] = {
    "backoffLimit": (0, 1, 6, -1, "0", None, 2**40), "completions": (0, 1, 2, 100_000, -1, "1"),
    "parallelism": (0, 1, 2, -1, None), "suspend": (True, False, "yes"), "manualSelector": (True, False),
    "selector": ({}, {"matchLabels": {"a": "b"}}), "completionMode": ("Indexed", "NonIndexed", "Odd"),
    "podReplacementPolicy": ("Failed", "TerminatingOrFailed", 1),
    "podFailurePolicy": ({"rules": []}, {"rules": [{}]}, []),
    "backoffLimitPerIndex": (1, 0), "managedBy": ("example.com/x", ""), "ttlSecondsAfterFinished": (0, -1, 2**31),
    "activeDeadlineSeconds": (0, 1, -1, "1"), "successPolicy": ({"rules": [{"succeededCount": 1}]}, {}),
    "maxFailedIndexes": (0, 1), "nonsense": (1, None, {"a": [{}]}), "metadata": ({"name": "other"}, []),
}  # fmt: skip


def text(rng: random.Random, longest: int) -> str:
    """An odd string; sometimes at the bound, or just beyond it."""
    roll = rng.random()
    if roll < 0.08:
        return rng.choice("aé日") * longest
    if roll < 0.12:
        return "a" * (longest + 1)
    if roll < 0.3:
        return "".join(chr(rng.choice((rng.randint(1, 0x2FF), rng.randint(0x3040, 0x30FF)))) for _ in range(8))
    return rng.choice(STRINGS)


def stranger(rng: random.Random) -> Json:
    return rng.choice(STRANGERS)


def template(rng: random.Random) -> Json:
    """A JobSpec of some odd shape."""
    shape: Json = dict(rng.choice(TEMPLATES))
    if rng.random() < 0.5:
        shape.setdefault("template", {"spec": {"containers": [CONTAINER]}})
    for name in rng.sample(sorted(JOB_FIELDS), rng.randint(0, 3)):
        shape[name] = rng.choice(JOB_FIELDS[name])
    if rng.random() < 0.1:
        deep: Json = {}
        for _ in range(rng.choice((5, 60))):
            deep = {"x": [deep]}
        shape[rng.choice(("template", "deep"))] = deep
    return shape


def conf(rng: random.Random) -> dict[str, str]:
    keys = rng.sample(CONF_KEYS, rng.randint(1, 4))
    return {key: rng.choice(CONF_VALUES) for key in keys}
