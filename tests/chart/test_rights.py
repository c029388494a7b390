"""The rights that the chart gives to the controller: with them every kind of work reaches its end; none is left over.

The judge is the API server's audit log: it names the role by which each call was allowed. A right that is in a role and
that no call was allowed by is superfluous; a call that was refused lacks one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chart import pod as pods
from tests.chart.audit import granted, now, refused, used
from tests.chart.conftest import Installed
from tests.chart.helm import CHART, NAMESPACE, Helm, Object, environment, only
from tests.chart.pod import Pod
from tests.crash.master import Master, Yard
from tests.e2e.desk import Desk
from tests.testbed import site as sites
from tests.testbed.kube import Cluster
from tests.testbed.kube.kubelet import END, FakeKubelet
from tests.waiting import eventually

# --- the stories --------------------------------------------------------------------------------------------


def secret(cluster: Cluster, namespace: str, name: str, **data: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))


def job(notes: dict[str, str] | None = None) -> Any:
    """A Kubernetes Job whose pod does what its annotations say."""
    container = {"name": "main", "image": "example.invalid/etl:1"}
    template = {"metadata": {"annotations": notes or {}}, "spec": {"containers": [container]}}
    return {"backendRef": {"name": "here", "type": "Kubernetes"}, "kubernetesJob": {"template": {"template": template}}}


def spark(name: str, kind: str = "JobBackend") -> Any:
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "etl", "key": "word"}}}]
    work = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": ["succeed"], "env": env}
    return {"backendRef": {"kind": kind, "name": name, "type": "SparkStandalone"}, "spark": work}


def driver(notes: dict[str, str] | None = None) -> Any:
    """A driver's pod, which does what its annotations say; without any, the fake kubelet ends it at once."""
    pods = {"driver": {"annotations": notes or {}}}
    work = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "kubernetes": pods}
    return {"backendRef": {"name": "drivers", "type": "Kubernetes"}, "spark": work}


FAKE: Any = {"backendRef": {"name": "fake", "type": "Plugin"}, "plugin": {"parameters": {"seconds": "0"}}}


class Town:
    """A namespace with backends of every kind, and the desk of somebody who works there."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, master: Master) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"town": namespace}}}
        cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
        folder.mkdir(exist_ok=True)
        self.desk = Desk(cluster, folder, namespace)
        self.cluster_backend = f"spark-of-{namespace}"
        secret(cluster, namespace, "spark-token", token="t1")
        secret(cluster, namespace, "etl", word="x")
        masters = [{"rest": master.url, "ui": master.url}]
        system = {"masters": masters, "tokenSecretRef": {"name": "spark-token"}}
        self._backend("spark", {"sparkStandalone": system, "artifactSchemes": ["local"]})
        self._backend("fake", {"plugin": {"name": "fake"}})
        self._backend("here", {"kubernetes": {"failureLogLines": 3}})
        ui = {"ingress": {"host": "{name}.example.invalid"}}
        self._backend("drivers", {"kubernetes": {"spark": {"image": "example.invalid/spark:4", "ui": ui}}})
        system = {"masters": masters, "tokenSecretRef": {"name": "cluster-token"}}
        selected = {"namespaceSelector": {"matchLabels": {"town": namespace}}, "clusterID": f"of-{namespace}"}
        spec = {"sparkStandalone": system, "artifactSchemes": ["local"], **selected}
        self.desk.apply({"kind": "ClusterJobBackend", "metadata": {"name": self.cluster_backend}, "spec": spec})

    def _backend(self, name: str, spec: Any) -> None:
        meta = {"name": name, "namespace": self.desk.namespace}
        self.desk.apply({"kind": "JobBackend", "metadata": meta, "spec": spec})

    def live(self) -> None:
        """Every kind of work, to every kind of end, at once."""
        desk = self.desk
        ends = {
            desk.submit(spark("spark")): "Succeeded",
            desk.submit(spark(self.cluster_backend, "ClusterJobBackend")): "Succeeded",
            desk.submit(FAKE): "Succeeded",
            desk.submit(job()): "Succeeded",
            desk.submit(job({END: "fail:3"})): "Failed",
            desk.submit(driver()): "Succeeded",
            # Refused for good, for which the backend is looked at once more: it is of another type.
            desk.submit({**FAKE, "backendRef": {"name": "spark", "type": "Plugin"}}): "Failed",
            desk.submit(
                {**FAKE, "backendRef": {"kind": "ClusterJobBackend", "name": self.cluster_backend, "type": "Plugin"}}
            ): "Failed",
        }
        held = [desk.submit(job({END: "hold"})), desk.submit(driver({END: "hold"}))]
        short = desk.submit({**FAKE, "ttlSecondsAfterFinished": 1})
        for name, state in ends.items():
            assert desk.end(name)["state"] == state, desk.get(name)
        for name in held:
            desk.state(name, "Running")
            desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
            assert desk.end(name)["state"] == "Cancelled"
        eventually(lambda: short not in [found["metadata"]["name"] for found in desk.jobs()], f"{short} is there still")

    def events(self) -> list[str]:
        """Reasons of all events about DurableJobs."""
        raw = self.desk.cluster.kubectl("-n", self.desk.namespace, "get", "events", "-o", "json")
        items = json.loads(raw)["items"]
        return [found["reason"] for found in items if found["involvedObject"]["kind"] == "DurableJob"]


@pytest.fixture(scope="module")
def master() -> Iterator[Master]:
    """A stand-in for Spark's Master, whose drivers ask the gate."""
    with Yard() as yard, yard.master() as running:
        yield running


@pytest.fixture(scope="module")
def wide(audit: Cluster, node: FakeKubelet, master: Master, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """One of the many namespaces that a controller for all of them looks after."""
    secret(audit, NAMESPACE, "cluster-token", token="t2")
    return Town(audit, "wide", tmp_path_factory.mktemp("wide"), master)


@contextmanager
def judged(audit: Cluster, objects: list[Object]) -> Iterator[Pod]:
    """A controller that begins from nothing: nothing is refused to it, and nothing is granted that it did not use."""
    since = now(audit)
    namespace = only(objects, "Deployment")["metadata"]["namespace"]
    for made in ("secret/durablejob-gate-key", "lease/" + environment(objects)["DURABLEJOB_LEASE_NAME"]):
        audit.kubectl("-n", namespace, "delete", made, "--ignore-not-found")
    with pods.running(audit, objects) as pod:
        yield pod
        rights = granted(objects, pod.account)
        assert len(rights) > 20
        assert refused(audit, pod.user, since) == set()
        assert rights - used(audit, pod.user, rights, since) == set()


def helm_test(objects: list[Object], pod: Pod, **env: str) -> subprocess.CompletedProcess[str]:
    """What `helm test` runs, without its container."""
    (found,) = [o for o in objects if o["kind"] == "Pod"]
    (made,) = found["spec"]["containers"]
    assert made["command"] == ["python3", "-c"]
    assert made["args"][0].strip() == (CHART / "files" / "check.py").read_text().strip()
    given = {entry["name"]: entry["value"] for entry in made["env"]}
    given |= {"READY_URL": f"{pod.url}/readyz", "PATIENCE": "1", **env}  # Services lead nowhere here
    return subprocess.run(
        [sys.executable, "-c", *made["args"]], env=given, capture_output=True, text=True, check=False, timeout=60
    )


def test_for_all_namespaces_the_rights_suffice_and_none_is_superfluous(
    installed: Installed, audit: Cluster, wide: Town
) -> None:
    objects = installed.objects
    with judged(audit, objects) as pod:
        wide.live()
        assert {"Succeeded", "Cancelled"} <= set(wide.events())
        done = helm_test(objects, pod)
        assert done.returncode == 0, done.stdout
        assert "gate: http" in done.stdout


def told(town: Town, ready: str, *words: str) -> str:
    """What the backend of Kubernetes Jobs says, once its Ready condition is this, and it says these words."""

    def said(backend: Object) -> Object:
        found: Object = backend.get("status", {}).get("conditions", [{"status": ""}])[0]
        return found

    def is_so(backend: Object) -> bool:
        return said(backend)["status"] == ready and all(word in said(backend)["message"] for word in words)

    found = town.desk.until("jobbackends", "here", is_so, 30)
    return str(said(found)["message"])


def test_without_its_admission_policy_no_kubernetes_backend_is_ready(
    installed: Installed, audit: Cluster, wide: Town
) -> None:
    there = installed.get("validatingadmissionpolicybinding", "dj-durablejob")
    meta = {name: there["metadata"][name] for name in ("name", "labels", "annotations")}
    binding = {**there, "metadata": meta}
    with pods.running(audit, installed.objects):
        assert "policy" not in told(wide, "True")
        audit.kubectl("delete", "validatingadmissionpolicybinding", "dj-durablejob")
        try:
            assert "the ValidatingAdmissionPolicy dj-durablejob is not there, or no binding" in told(wide, "False")
            waiting = wide.desk.submit(job())
            told_of = wide.desk.state(waiting, "Pending")["current"]["message"]
            assert "AdmissionPolicyMissing" in told_of
        finally:
            audit.kubectl("apply", "-f", "-", input=json.dumps(binding))
        told(wide, "True")
        assert wide.desk.end(waiting)["state"] == "Succeeded"
    without = installed.helm.render(*installed.sets, "admissionPolicy.enabled=false")
    with pods.running(audit, without):
        wide.desk.until("jobbackends", "here", lambda o: "no admission policy" in o["status"]["message"], 30)
        assert "no admission policy" in told(wide, "True")


def test_rights_that_are_taken_away_are_named(installed: Installed, audit: Cluster, wide: Town) -> None:
    """Said by the backend, before the first job; and it is ready again as soon as they are back."""

    def give(rules: list[Object]) -> None:
        audit.kubectl("patch", "clusterrole", "dj-durablejob", "--type=merge", "-p", json.dumps({"rules": rules}))

    rights = (*(f"{verb} jobs.batch" for verb in ("create", "get", "list", "patch", "delete")), "list pods")
    rules = installed.get("clusterrole", "dj-durablejob")["rules"]
    with pods.running(audit, installed.objects):
        told(wide, "True")
        give([rule for rule in rules if rule["resources"] not in (["jobs"], ["pods"])])
        try:  # a probe that asks while the API server takes the new rules over may miss some
            told(wide, "False", *rights)
        finally:
            give(rules)
        told(wide, "True")


def test_for_named_namespaces_roles_suffice_and_none_is_superfluous(
    installed: Installed, audit: Cluster, helm: Helm, wide: Town, master: Master, tmp_path: Path
) -> None:
    towns = [Town(audit, name, tmp_path / name, master) for name in ("east", "west")]
    gate, http = sites.free_ports(2)
    sets = [*installed.sets, f"gate.port={gate}", f"gate.url=http://127.0.0.1:{gate}", f"http.port={http}"]
    sets += ["watchNamespaces={east,west}", "crds.install=false", "fullnameOverride=small"]
    objects = helm.render(*sets, release="small", namespace="small")
    audit.kubectl("create", "namespace", "small")
    secret(audit, "small", "cluster-token", token="t2")
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [o for o in objects if o["kind"] != "Deployment"]})
    audit.kubectl("apply", "--server-side", "-f", "-", input=text)
    ignored = wide.desk.submit(FAKE)
    with judged(audit, objects):
        towns[0].live()
        assert towns[1].desk.end(towns[1].desk.submit(FAKE))["state"] == "Succeeded"
    assert "status" not in wide.desk.get(ignored)


def test_the_gate_is_served_with_the_generated_certificate(installed: Installed, node: FakeKubelet) -> None:
    (url,) = [given for given in installed.sets if given.startswith("gate.url=")]
    tls = ["gate.tls.mode=Generated", "gate.tls.extraNames={127.0.0.1}", url.replace("http:", "https:")]
    objects = installed.helm.render(*installed.sets, *tls)
    (made,) = [found for found in objects if found["kind"] == "Secret"]
    installed.cluster.kubectl("apply", "-f", "-", input=json.dumps(made))
    with pods.running(installed.cluster, objects) as pod:
        authority = str(pod.certificate / "ca.crt")
        done = helm_test(objects, pod, GATE_CA=authority)
        assert done.returncode == 0, done.stdout
        assert "gate: https" in done.stdout
        assert "CERTIFICATE_VERIFY_FAILED" in helm_test(objects, pod).stdout
        pod.kill()
        done = helm_test(objects, pod, GATE_CA=authority)
        assert done.returncode == 1
        assert [line.partition(":")[0] for line in done.stdout.splitlines() if "answers (0, " in line] == [
            "controller",
            "gate",
        ]
    installed.cluster.kubectl("-n", NAMESPACE, "delete", "secret", made["metadata"]["name"])
