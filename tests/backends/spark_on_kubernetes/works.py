"""DurableJobs of kind spark for a backend of type Kubernetes."""

from __future__ import annotations

from typing import Any

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key

Object = dict[str, Any]
NAMESPACE = "data"
SPEC = JobBackendSpec.model_validate(
    {"kubernetes": {"spark": {"image": "example.invalid/spark:4", "serviceAccountName": "spark"}}}
)


def job(name: str = "load", **spark: Any) -> DurableJob:
    """A DurableJob that runs a JAR; what is given changes its work."""
    work = {"mainApplicationFile": "local:///opt/app/etl.jar", "mainClass": "Etl", **spark}
    meta = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"}
    ref = {"kind": "JobBackend", "name": "here", "type": "Kubernetes"}
    given = {name: value for name, value in work.items() if value is not None}
    return DurableJob.model_validate({"metadata": meta, "spec": {"backendRef": ref, "spark": given}})


KEY = attempt_key("uid-of-load", 1)
