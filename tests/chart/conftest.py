"""helm; and one cluster for the chart's tests, which writes down every call (audit), with a Node that is a fake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from tests.chart.helm import NAMESPACE, RELEASE, Helm, Object
from tests.testbed import gotools, kube
from tests.testbed import site as sites
from tests.testbed.kube import kubelet
from tests.testbed.kube.kubelet import END, FakeKubelet

FOREIGN = {
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0"): (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    ("github.com/cert-manager/cert-manager", "v1.21.2"): ("deploy/crds/cert-manager.io_certificates.yaml",),
}
"""CRDs that others publish in their Go modules: the API server then knows the kinds that the chart makes of theirs."""


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm without a cluster: it renders."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="package")
def audited() -> Iterator[kube.Cluster]:
    """A cluster of this package's own; it knows the kinds of the Prometheus operator and of cert-manager."""
    with kube.running(audit=True) as cluster:
        paths = [gotools.module(*module) / path for module, files in FOREIGN.items() for path in files]
        crds = [document for path in paths for document in yaml.safe_load_all(path.read_text()) if document]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": crds})
        cluster.kubectl("apply", "--server-side", "-f", "-", input=text)
        names = [f"crd/{crd['metadata']['name']}" for crd in crds]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        yield cluster


@pytest.fixture(scope="package")
def node(audited: kube.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubelet]:
    """A Node on which pods seem to run."""
    with kubelet.running(audited, tmp_path_factory.mktemp("kubelet")) as running:
        yield running


@pytest.fixture(scope="package")
def installer(audited: kube.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm with that cluster."""
    return Helm(tmp_path_factory.mktemp("installer"), audited)


@dataclass(frozen=True)
class Installed:
    """A release of the chart, for all namespaces; its pods seem to run."""

    helm: Helm
    cluster: kube.Cluster
    sets: tuple[str, ...]
    notes: str
    """What helm told when it was installed."""

    @property
    def objects(self) -> list[Object]:
        """What it consists of, as rendered."""
        return self.helm.render(*self.sets)

    def get(self, *what: str) -> Object:
        """What kubectl gets."""
        found: Object = json.loads(self.cluster.kubectl("get", *what, "-o", "json"))
        return found


@pytest.fixture(scope="package")
def installed(audited: kube.Cluster, installer: Helm, node: FakeKubelet) -> Iterator[Installed]:
    """The chart, installed and rolled out in a namespace that takes pods of the restricted standard only."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    audited.kubectl("create", "-f", "-", input=json.dumps(body))
    gate, http = sites.free_ports(2)  # so that a controller can run beside the pods that do not
    end = END.replace(".", "\\.")
    sets = (
        f"gate.port={gate}", f"gate.url=http://127.0.0.1:{gate}", f"http.port={http}",
        "controller.pollInterval=0.3", "controller.probeInterval=1", "leaderElection.leaseDuration=3",
        "rbac.secrets.names={spark-token,etl}", "rbac.secrets.ownNames={cluster-token}", "rbac.podLogs=true",
        "rbac.sparkPods=true", "rbac.sparkServices=true", "rbac.sparkIngresses=true",
        f"podAnnotations.{end}=hold",  # else the fake kubelet ends each pod at once, and the next is made
    )  # fmt: skip
    # In a cluster of somebody's own, other tests may have applied the CRDs before.
    notes = installer.apply("install", *sets, flags=["--take-ownership"])
    audited.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/durablejobs.durablejob.io")
    yield Installed(installer, audited, sets, notes)
    installer.run("uninstall", RELEASE, "--namespace", NAMESPACE)


@pytest.fixture(scope="package")
def audit(installed: Installed) -> kube.Cluster:
    """The cluster, if it writes down its calls."""
    if not hasattr(installed.cluster, "audit_log"):
        pytest.skip(f"a cluster of kind {installed.cluster.kind!r} shows no audit log")
    return installed.cluster
