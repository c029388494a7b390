"""What a real API server makes of the chart: installed, upgraded, uninstalled.

No container runs: the kubelet is a fake. But the ReplicaSet makes the pods, and Pod Security admits them.
"""

from __future__ import annotations

import json
import re
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Installed
from tests.chart.helm import EVERYTHING, NAMESPACE, RELEASE, Helm
from tests.testbed.errors import TestbedError
from tests.testbed.kube import Cluster

DRIVERS = Path(__file__).parents[1] / "node" / "manifests" / "spark-driver.yaml"
MODES: dict[str, list[str]] = {
    "a generated certificate": [],
    "cert-manager's": ["gate.tls.mode=CertManager", "gate.tls.certManager.issuerRef.name=ours"],
    "a Secret of one's own": ["gate.tls.mode=Secret", "gate.tls.secretName=mine"],
}


def namespace(cluster: Cluster, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
    cluster.kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=30s")  # pods need it


def dry_run(cluster: Cluster, objects: list[Any]) -> list[str]:
    """Have the API server judge them, unknown fields too; what it would have made of each."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    told = cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    return told.splitlines()


@pytest.mark.parametrize("mode", MODES)
def test_the_api_server_accepts_every_object_there_is(installed: Installed, helm: Helm, mode: str) -> None:
    for name in ("everything", "team-a", "team-b"):
        namespace(installed.cluster, name)
    # The CRDs are the installed release's.
    objects = helm.render(
        *MODES[mode], "crds.install=false", values=[EVERYTHING], release="all", namespace="everything"
    )
    assert len(dry_run(installed.cluster, objects)) == len(objects)
    kinds = {found["kind"] for found in objects}
    assert {"NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule", "Pod"} <= kinds


def test_an_unknown_field_would_be_noticed(installed: Installed, helm: Helm) -> None:
    objects = helm.render(values=[EVERYTHING], release="all", namespace="everything")
    (monitor,) = [found for found in objects if found["kind"] == "ServiceMonitor"]
    monitor["metadata"]["namespace"] = "default"
    monitor["spec"]["endpoints"][0]["intervall"] = "1s"
    with pytest.raises(TestbedError, match="intervall"):
        dry_run(installed.cluster, [monitor])


def test_the_deployment_rolls_out_where_only_restricted_pods_may_run(installed: Installed) -> None:
    installed.cluster.kubectl(
        "-n", NAMESPACE, "rollout", "status", "deployment/dj-durablejob", "--timeout=60s"
    )  # fmt: skip
    assert installed.get("-n", NAMESPACE, "deployment", "dj-durablejob")["status"]["readyReplicas"] == 2
    (helm_test,) = [o for o in installed.objects if o["kind"] == "Pod"]
    assert dry_run(installed.cluster, [helm_test]) == ["pod/dj-durablejob-test serverside-applied (server dry run)"]


def test_the_notes_have_next_commands_that_work(installed: Installed) -> None:
    manifests = re.findall(r"<<EOF\n(.*?)     EOF\n", installed.notes, re.DOTALL)
    told = [installed.cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=textwrap.dedent(one))
            for one in manifests]  # fmt: skip
    kinds = [[line.partition(" ")[0] for line in answer.splitlines()] for answer in told]
    account = ["serviceaccount", "role.rbac.authorization.k8s.io", "rolebinding.rbac.authorization.k8s.io"]
    assert kinds == [
        ["jobbackend.durablejob.io/spark"],
        ["jobbackend.durablejob.io/drivers", *(f"{kind}/spark-driver" for kind in account)],
    ]
    # The rights with which real drivers run in tests/node.
    given = yaml.safe_load_all(textwrap.dedent(manifests[1]))
    known = yaml.safe_load_all(DRIVERS.read_text())
    assert [found["rules"] for found in given if found["kind"] == "Role"] == [
        found["rules"] for found in known if found["kind"] == "Role"
    ]


def test_without_a_right_to_make_pods_the_notes_tell_nothing_of_drivers(installed: Installed) -> None:
    flags = ["--dry-run=server"]
    told = installed.helm.apply("upgrade", *installed.sets, "rbac.sparkPods=false", flags=flags)
    notes = told.partition("NOTES:")[2]
    assert "durablejob.io/v1alpha1" in notes
    assert "spark-driver" not in notes


def test_a_pod_that_is_not_restricted_would_be_refused_there(installed: Installed) -> None:
    (pod,) = [o for o in installed.helm.render(*installed.sets, "podSecurityContext=null") if o["kind"] == "Pod"]
    with pytest.raises(TestbedError, match="violates PodSecurity"):
        dry_run(installed.cluster, [pod])


def test_an_upgrade_keeps_a_generated_certificate_and_a_deleted_one_is_made_anew(installed: Installed) -> None:
    def upgraded(*more: str) -> Any:
        installed.helm.apply("upgrade", *installed.sets, "gate.tls.mode=Generated", *more)
        return installed.get("-n", NAMESPACE, "secret", "dj-durablejob-gate-tls")["data"]

    first = upgraded()
    assert upgraded("gate.tls.extraNames={later.example}", "podLabels.a=b") == first
    installed.cluster.kubectl("-n", NAMESPACE, "delete", "secret", "dj-durablejob-gate-tls")
    assert upgraded()["ca.crt"] != first["ca.crt"]


def test_uninstalled_it_leaves_crds_and_durablejobs_and_can_be_installed_again(installed: Installed) -> None:
    cluster = installed.cluster
    spec = {"backendRef": {"name": "none", "type": "Plugin"}, "plugin": {}}
    meta = {"name": "survivor", "namespace": "default"}
    job = {"apiVersion": "durablejob.io/v1alpha1", "kind": "DurableJob", "metadata": meta, "spec": spec}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(job))
    uid = installed.get("durablejob", "survivor")["metadata"]["uid"]
    installed.helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    ours = ("all,sa,secret,role,rolebinding,pdb", "-n", NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE}")
    for _ in range(100):  # pods go last
        if not (left := installed.get(*ours)["items"]):
            break
        time.sleep(0.2)
    assert [found["kind"] for found in left] == []
    assert uid == installed.get("durablejob", "survivor")["metadata"]["uid"]
    # An upgrade brings the CRDs of its chart.
    installed.helm.apply("install", *installed.sets, "crds.annotations.version=next")
    assert installed.get("crd", "durablejobs.durablejob.io")["metadata"]["annotations"]["version"] == "next"
    assert uid == installed.get("durablejob", "survivor")["metadata"]["uid"]
    cluster.kubectl("delete", "durablejob", "survivor")


@pytest.mark.parametrize("name", ["dj-durablejob", "dj-durablejob-backends"])
def test_the_api_server_finds_nothing_wrong_with_the_policys_types(installed: Installed, name: str) -> None:
    for _ in range(100):
        policy = installed.get("validatingadmissionpolicy", name)
        if "typeChecking" in policy.get("status", {}):
            break
        time.sleep(0.2)
    assert policy["status"]["typeChecking"] == {}
