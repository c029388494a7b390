"""Programs for real pods. Each writes a line to a ledger on the machine's disk as its first act: that is the judge."""

from __future__ import annotations

from typing import Any

from tests.e2e.desk import Desk, Object
from tests.testbed.images import busybox

NOTE = 'echo "$KEY" >> /ledger/ledger'
"""The first act."""
HOLD = "trap 'exit 143' TERM; sleep 600 & wait"
"""Runs until it is told to end, and then ends at once."""


class Programs:
    """Makes the work of DurableJobs, and counts what was started."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = desk.ledger.parent

    def template(self, script: str = "true", *, container: Object | None = None, **spec: Any) -> Object:
        """A JobSpec whose one pod notes its start, and then does what the shell script says."""
        key = {"fieldRef": {"fieldPath": "metadata.labels['durablejob.io/attempt-key']"}}
        main = {
            "name": "main",
            "image": busybox.NAME,
            "command": ["sh", "-c", f"{NOTE}; {script}"],
            "env": [{"name": "KEY", "valueFrom": key}],
            "volumeMounts": [{"name": "ledger", "mountPath": "/ledger"}],
            **(container or {}),
        }
        volume = {"name": "ledger", "hostPath": {"path": str(self.folder), "type": "Directory"}}
        return {"template": {"spec": {"containers": [main], "volumes": [volume]}}, **spec}

    def job(
        self, script: str = "true", *, backend: str = "here", template: Object | None = None, **more: Any
    ) -> Object:
        """Spec of a DurableJob."""
        work = {"template": template or self.template(script)}
        return {"backendRef": {"name": backend, "type": "Kubernetes"}, "kubernetesJob": work, **more}

    def starts(self, name: str) -> int:
        """How often the program of this job's current attempt was started."""
        return self.desk.starts()[self.key(name)]

    def key(self, name: str) -> str:
        return str(self.desk.get(name)["status"]["current"]["key"])
