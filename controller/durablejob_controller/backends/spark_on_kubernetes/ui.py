"""A driver's UI: the Service, and perhaps the Ingress, by which people reach it; pure.

Both are owned by the driver's Pod, and go with it. They are named after it, so whoever makes them makes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from durablejob_api.backend import SparkIngress, SparkUI
from durablejob_controller.backends.kubernetes_objects.kind import Companion
from durablejob_controller.backends.kubernetes_objects.objects import KEY, OWNER, Object
from durablejob_controller.backends.spark_on_kubernetes.names import ROLE, SELECTOR, TRACKING

SERVICES = "/api/v1{}/services"
INGRESSES = "/apis/networking.k8s.io/v1{}/ingresses"


def url_of(pod: Object) -> str | None:
    """Where the UI of this driver is, as its Pod itself says."""
    found = (pod["metadata"].get("annotations") or {}).get(TRACKING)
    return str(found) if found else None


def tracking_url(ui: SparkUI, name: str, namespace: str, port: int) -> str:
    """Where the UI of the driver of this name will be."""
    if ui.ingress is None:
        return f"http://{called(name)}.{namespace}.svc:{port}"
    return f"{'https' if ui.ingress.tls_secret_name else 'http'}://{host_of(ui.ingress, name, namespace)}/"


def host_of(ingress: SparkIngress, name: str, namespace: str) -> str:
    return ingress.host.replace("{name}", name).replace("{namespace}", namespace)


def companions(ui: SparkUI, pod: Object, port: int) -> Iterator[Companion]:
    """What is made beside this Pod."""
    meta = pod["metadata"]
    name, namespace = meta["name"], meta["namespace"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": meta["uid"]}
    metadata: Object = {
        "name": called(name),
        "namespace": namespace,
        "labels": {label: meta["labels"][label] for label in (KEY, OWNER)},
        "ownerReferences": [owner],
    }
    served = {"name": "ui", "port": port, "targetPort": port}
    service = {"selector": {ROLE: "driver", SELECTOR: name}, "ports": [served]}
    yield Companion(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    if ui.ingress is not None:
        yield Companion(INGRESSES, _ingress(ui.ingress, metadata, host_of(ui.ingress, name, namespace), port))


def _ingress(given: SparkIngress, metadata: Object, host: str, port: int) -> Object:
    service = {"service": {"name": metadata["name"], "port": {"number": port}}}
    path = {"path": "/", "pathType": "Prefix", "backend": service}
    spec: Object = {"rules": [{"host": host, "http": {"paths": [path]}}]}
    if given.class_name is not None:
        spec["ingressClassName"] = given.class_name
    if given.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [host], "secretName": given.tls_secret_name}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {**metadata, "annotations": dict(given.annotations)},
        "spec": spec,
    }


def collections(ui: SparkUI) -> tuple[str, ...]:
    """Where there is something that leads to a UI."""
    return (SERVICES,) if ui.ingress is None else (SERVICES, INGRESSES)


def called(name: str) -> str:
    """Name of what leads to the UI of the driver of this name."""
    return f"{name}-ui"
