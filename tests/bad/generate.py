"""Bad DurableJobs and JobBackends, the same ones for the same seed.

Three ways: a good one with some fields changed (what the schema says of the field tells how); one that is made from the
schema alone; and one that no schema of today would let pass, as an older CRD might have (``stored``).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.bad import shapes

Json = Any
CRDS = Path(__file__).parents[2] / "crds"
FINALIZER = "durablejob.io/external-job"
FREE = "x-kubernetes-preserve-unknown-fields"
HUGE = 0.005
"""Share of the objects that are as large as their schema allows (but smaller than what etcd takes)."""


def schema(plural: str) -> Json:
    """The schema of ``spec``."""
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


GOOD_JOBS: tuple[Json, ...] = (
    {"backendRef": {"name": "fake", "type": "Plugin"}, "plugin": {"parameters": {"seconds": "0.1"}}},
    {"backendRef": {"name": "spark", "type": "SparkStandalone"},
     "spark": {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": ["succeed"]}},
    {"backendRef": {"name": "jobs", "type": "Kubernetes"},
     "kubernetesJob": {"template": {"template": {"spec": {"containers": [shapes.CONTAINER]}}}}},
    {"backendRef": {"name": "drivers", "type": "Kubernetes"},
     "spark": {"mainApplicationFile": "local:///a.jar", "mainClass": "A",
               "kubernetes": {"driver": {"labels": {"team": "etl"}}}}},
)  # fmt: skip
DRIVERS: Json = {
    "kubernetes": {
        "spark": {"image": "example.invalid/spark:4", "ui": {"ingress": {"host": "{name}.example.invalid"}}},
        "failureLogLines": 1,
    }
}
_MASTER = {"rest": "http://127.0.0.1:9", "ui": "http://127.0.0.1:9"}
GOOD_BACKENDS: tuple[Json, ...] = (
    {"plugin": {"name": "fake"}}, {"kubernetes": {}}, {"sparkStandalone": {"masters": [_MASTER]}},
    {"yarn": {"resourceManagers": ["http://127.0.0.1:9"], "user": "etl"}}, {"plugin": {"name": "nobody"}}, DRIVERS,
    {**DRIVERS, "defaults": {"sparkConf": {"spark.driver.memory": "1g"}}},
)  # fmt: skip


class Generator:
    """Makes one bad object after the other."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._schemas = {plural: schema(plural) for plural in ("durablejobs", "jobbackends")}
        self._serial = 0

    def objects(self, count: int) -> Iterator[tuple[str, Json]]:
        """(plural, object), one after the other; one in twelve is a backend."""
        for _ in range(count):
            yield self.backend() if self._rng.random() < 1 / 12 else self.job()

    def job(self) -> tuple[str, Json]:
        rng = self._rng
        spec = copy.deepcopy(rng.choice(GOOD_JOBS))
        roll = rng.random()
        if roll < HUGE:
            spec = self._huge()
        elif roll < 0.15:
            spec = self._value(self._schemas["durablejobs"], 0)
            spec["backendRef"] = {**copy.deepcopy(rng.choice(GOOD_JOBS)["backendRef"]), **self._some_ref()}
        elif roll < 0.35:
            kind, name = ("jobs", "Kubernetes"), shapes.template(rng)
            spec = {"backendRef": {"name": kind[0], "type": kind[1]}, "kubernetesJob": {"template": name}}
        elif roll < 0.5:
            spec = copy.deepcopy(rng.choice((GOOD_JOBS[1], GOOD_JOBS[3])))
            spec["spark"]["conf"] = shapes.conf(rng)
        elif roll < 0.56:
            spec = copy.deepcopy(GOOD_JOBS[3])
            settings = self._schemas["durablejobs"]["properties"]["spark"]["properties"]["kubernetes"]
            spec["spark"]["kubernetes"] = self._value(settings, 0)
        elif roll < 0.64:
            spec = copy.deepcopy(GOOD_JOBS[0])
            words = [shapes.text(rng, 64) for _ in range(3)]
            names = (rng.choice(("seconds", "outcome", "exitCode", "message")), *words[:2])
            spec["plugin"]["parameters"] = {name: shapes.text(rng, 4096) for name in names[: rng.randint(1, 3)]}
        else:
            for _ in range(rng.randint(1, 4)):
                self._change(spec, self._schemas["durablejobs"])
        return "durablejobs", self._object("DurableJob", spec)

    def backend(self) -> tuple[str, Json]:
        spec = copy.deepcopy(self._rng.choice(GOOD_BACKENDS))
        for _ in range(self._rng.randint(0, 3)):
            self._change(spec, self._schemas["jobbackends"])
        return "jobbackends", self._object("JobBackend", spec)

    def stored(self) -> tuple[str, Json]:
        """A DurableJob that only an older schema may have let pass."""
        rng = self._rng
        spec: Json = copy.deepcopy(rng.choice(GOOD_JOBS))
        for _ in range(rng.randint(1, 3)):
            where: Json = spec
            if rng.random() < 0.5:
                where = next((value for value in spec.values() if isinstance(value, dict)), spec)
            name = rng.choice((*where, "attempt", "holder", "cancel", "ttlSecondsAfterFinished", "ancient"))
            where[name] = shapes.stranger(rng)
        made = self._object("DurableJob", spec if rng.random() < 0.9 else {})
        if rng.random() < 0.3:
            made["status"] = rng.choice(
                ({"state": "Odd"}, {"state": 5}, {"current": "x"}, {"current": {"number": -1}}, {"conditions": [{}]},
                 {"state": "Running", "current": {"number": 1, "key": "short"}})
            )  # fmt: skip
        return "durablejobs", made

    # --- parts ------------------------------------------------------------------------------------------

    def _object(self, kind: str, spec: Json) -> Json:
        rng = self._rng
        self._serial += 1
        meta: Json = {"name": f"bad-{self._serial:05d}", "finalizers": [FINALIZER]}
        if kind == "JobBackend" or rng.random() < 0.2:
            del meta["finalizers"]
        if rng.random() < 0.1:
            meta["name"] = rng.choice((
                f"x{self._serial}." + "a" * 240, f"{self._serial}.0.0.1", f"xn--{self._serial}", f"bad_{self._serial}",
                f"Bad-{self._serial}", f"-{self._serial}", f"{self._serial}-", "a" * 254, "", f"é{self._serial}",
                f"{self._serial}" + "-" * 200 + "x", f"a.{self._serial}..b", f"kube-{self._serial}",
            ))  # fmt: skip
        if rng.random() < 0.1:
            meta["annotations"] = {
                rng.choice(
                    ("durablejob.io/created-at", "durablejob.io/release", "durablejob.io/run-restored")
                ): shapes.text(rng, 100)
            }
        if rng.random() < 0.05:
            meta["labels"] = {"kueue.x-k8s.io/queue-name": rng.choice(("q", "", "a" * 63, "Ä"))}
        return {"apiVersion": "durablejob.io/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}

    def _some_ref(self) -> Json:
        rng = self._rng
        if rng.random() < 0.7:
            return {}
        return rng.choice(({"name": "nowhere"}, {"kind": "ClusterJobBackend"}, {"type": "Yarn"}, {"name": "bad-00001"}))

    def _change(self, spec: Json, node: Json) -> None:
        """Change one field, somewhere: leave it out, or give it another value."""
        rng = self._rng
        while True:
            fields = node.get("properties") or {}
            if not fields or not isinstance(spec, dict):
                return
            known = [name for name in fields if name in spec]
            name = rng.choice(known if known and rng.random() < 0.6 else sorted(fields))
            inner = spec.get(name)
            if isinstance(inner, dict) and fields[name].get("properties") and rng.random() < 0.7:
                spec, node = inner, fields[name]
                continue
            roll = rng.random()
            if roll < 0.12:
                spec.pop(name, None)
            elif roll < 0.22:
                spec[name] = shapes.stranger(rng)
            elif roll < 0.28:
                spec[rng.choice(shapes.STRINGS) or "unknown"] = shapes.stranger(rng)
            else:
                spec[name] = self._value(fields[name], 0)
            return

    def _value(self, node: Json, depth: int) -> Json:
        """Something of the right type, mostly within its bounds."""
        rng = self._rng
        if node.get(FREE):
            return shapes.template(rng)
        if "enum" in node:
            return rng.choice(node["enum"]) if rng.random() < 0.9 else shapes.text(rng, 20)
        kind = node.get("type")
        if kind == "integer":
            bounds = [node[key] for key in ("minimum", "maximum", "default") if key in node]
            return rng.choice([*bounds, *(bound + rng.choice((-1, 1)) for bound in bounds), *shapes.NUMBERS[:4]])
        if kind == "boolean":
            return rng.random() < 0.5
        if kind == "array":
            return [self._value(node["items"], depth + 1) for _ in range(rng.choice((0, 1, 1, 2, 5)))]
        if kind == "object" and "additionalProperties" in node:
            size = rng.choice((0, 1, 2, 5))
            return {shapes.text(rng, 30): self._value(node["additionalProperties"], depth + 1) for _ in range(size)}
        if kind == "object":
            required, fields = node.get("required") or [], node.get("properties") or {}
            chosen = [name for name in fields if rng.random() < (0.97 if name in required else 0.35 / (depth + 1))]
            return {name: self._value(fields[name], depth + 1) for name in chosen}
        return shapes.text(rng, min(node.get("maxLength", 64), 4096))

    def _huge(self) -> Json:
        """As large as the schema lets it be, and etcd."""
        spec = copy.deepcopy(self._rng.choice(GOOD_JOBS))
        if "spark" in spec:
            spec["spark"]["arguments"] = ["x" * 4096] * 200 + ["succeed"]
        elif "plugin" in spec:
            spec["plugin"]["parameters"] = {"message": "é" * 4096, **{f"k{n}": "x" * 4096 for n in range(60)}}
        else:
            container = {**shapes.CONTAINER, "args": ["x" * 1000] * 600}
            spec["kubernetesJob"]["template"]["template"]["spec"]["containers"] = [container]
        return spec
