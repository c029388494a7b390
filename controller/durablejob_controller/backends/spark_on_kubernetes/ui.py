"""A driver's UI: the Service, and perhaps the Ingress, by which people reach it; pure.

Both are owned by the driver's Pod, go with it, and are named after its uid: what has that name already is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from durablejob_api.backend import SparkIngress, SparkUI
from durablejob_controller.backends.kubernetes_objects.kind import Companion
from durablejob_controller.backends.kubernetes_objects.objects import KEY, OWNER, Object
from durablejob_controller.backends.spark_on_kubernetes.names import PORT, ROLE, SELECTOR

SERVICES = "/api/v1{}/services"
INGRESSES = "/apis/networking.k8s.io/v1{}/ingresses"


def port_of(pod: Object) -> int | None:
    """Port of the driver's UI, if it has one."""
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or ())
    return next((int(port["containerPort"]) for port in ports if port.get("name") == PORT), None)


def url_of(ui: SparkUI, pod: Object) -> str | None:
    """Where the UI of this driver is while it runs."""
    port = port_of(pod)
    if port is None:
        return None
    if ui.ingress is None:
        return f"http://{called(pod)}.{pod['metadata']['namespace']}.svc:{port}"
    return f"{'https' if ui.ingress.tls_secret_name else 'http'}://{_host(ui.ingress, pod)}/"


def collections(ui: SparkUI) -> tuple[str, ...]:
    """Where there is something that leads to a UI."""
    return (SERVICES,) if ui.ingress is None else (SERVICES, INGRESSES)


def called(pod: Object) -> str:
    """Name of what leads to the UI of this driver."""
    return f"dj-ui-{pod['metadata']['uid']}"


def companions(ui: SparkUI, pod: Object) -> Iterator[Companion]:
    """What is made beside this Pod."""
    meta, port = pod["metadata"], port_of(pod)
    if port is None:
        return
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    metadata: Object = {
        "name": called(pod),
        "namespace": meta["namespace"],
        "labels": {label: meta["labels"][label] for label in (KEY, OWNER)},
        "ownerReferences": [owner],
    }
    served = {"name": PORT, "port": port, "targetPort": PORT}
    service = {"selector": {ROLE: "driver", SELECTOR: meta["name"]}, "ports": [served]}
    yield Companion(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    if ui.ingress is not None:
        yield Companion(INGRESSES, _ingress(ui.ingress, metadata, _host(ui.ingress, pod)))


def _ingress(given: SparkIngress, metadata: Object, host: str) -> Object:
    service = {"service": {"name": metadata["name"], "port": {"name": PORT}}}
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


def _host(ingress: SparkIngress, pod: Object) -> str:
    meta = pod["metadata"]
    return ingress.host.replace("{name}", meta["name"]).replace("{namespace}", meta["namespace"])
