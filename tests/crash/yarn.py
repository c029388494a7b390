"""YARN in the crash suite: the stand-in of ``tests/backends/yarn``, whose applications do what their command says.

Generic applications behind the staging fence, and Spark's behind the start gate.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from kubernetes import client as kubernetes_client

from durablejob_api import GROUP, VERSION
from tests.backends.yarn.scripted_yarn import ScriptedYarn
from tests.crash.stories import Story
from tests.crash.systems import Object

SEEN_WITHIN = 40.0
"""Seconds in which the controller has noted that it runs, whatever crashes."""


class YarnSystem:
    """A generic application behind the staging fence."""

    name = type = "Yarn"

    def __init__(self, yarn: ScriptedYarn, api: kubernetes_client.ApiClient, namespace: str) -> None:
        self._yarn = yarn
        self._namespace = namespace
        self._jobs = kubernetes_client.CustomObjectsApi(api)

    def backend(self) -> Object:
        url = self._yarn.url
        webhdfs = {"nameNodes": [url], "dataNodes": [url]}
        staging = {"dir": "hdfs://nn:8020/staging", "webhdfs": webhdfs}
        return {"yarn": {"resourceManagers": [url], "user": "etl", "staging": staging}}

    def work(self, story: Story) -> Object:
        return {"yarn": {"command": story.how}}

    def accepted(self, key: str) -> bool:
        return any(app.key == key for app in list(self._yarn.runs))

    def starts(self, key: str) -> int:
        return self._yarn.starts(key)

    def left(self, key: str) -> list[str]:
        del key  # the cluster is this cell's own
        return [str(app.to_api()) for app in self._yarn.active()]

    def remove(self, key: str) -> None:
        for app in list(self._yarn.active()):
            self._yarn.end(app, "KILLED", "KILLED", "Application killed by user.")

    def strip(self, key: str) -> None:
        """The ResourceManager forgets it as soon as the controller has seen it: earlier is assumed not to happen."""
        threading.Thread(target=self._forget_when_seen, daemon=True).start()

    def _forget_when_seen(self) -> None:
        deadline = time.monotonic() + SEEN_WITHIN
        while time.monotonic() < deadline:
            found: dict[str, Any] = self._jobs.get_namespaced_custom_object(
                GROUP, VERSION, self._namespace, "durablejobs", "job"
            )
            if (found.get("status") or {}).get("current", {}).get("runStartedTime"):
                self._yarn.known.clear()
                for app in list(self._yarn.active()):
                    self._yarn.end(app, "FAILED")
                return
            time.sleep(0.1)

    def clear(self, key: str) -> None:
        """Nothing: the cluster ends with its cell."""

    def evidence(self, key: str) -> str:
        return "\n".join(str(app.to_api()) for app in list(self._yarn.runs) if app.key == key)


class GatedYarnSystem(YarnSystem):
    """Spark applications behind the start gate; the resource's claim is what makes them start once."""

    name = "YarnGate"

    def backend(self) -> Object:
        spec = super().backend()
        spark = {"version": "4.3.0", "jars": "local:///opt/spark/jars"}
        return {"yarn": {**spec["yarn"], "spark": spark}, "fence": {"mode": "Gate"}, "artifactSchemes": ["local"]}

    def work(self, story: Story) -> Object:
        return {"spark": {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": [story.how]}}

    def strip(self, key: str) -> None:
        raise NotImplementedError("see the program that vanishes")
