"""What the chart renders, without a cluster."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import os
import ssl
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from durablejob_controller.certificate import Certificate
from durablejob_controller.settings import Settings, parse
from tests.chart.helm import CHART, EVERYTHING, MINIMAL, Helm, HelmFailed, Object, container, environment, only

WRONG = [
    {
        "image.repository=": "/image/repository",
        "image.digest=sha256:short": "/image/digest",
        "image.pullPolicy=Sometimes": "/image/pullPolicy",
        "replicas=-1": "/replicas",
        "watchNamespaces={Team_A}": "/watchNamespaces/0",
        "controller.workers=0": "/controller/workers",
        "controller.pollInterval=0": "/controller/pollInterval",
        "controller.logLevel=verbose": "/controller/logLevel",
        "controller.highWaterFile=here": "/controller/highWaterFile",
        "leaderElection.leaseDuration=15s": "/leaderElection/leaseDuration",
        "gate.port=99999": "/gate/port",
        "gate.url=gate:9472": "/gate/url",
        "gate.service.type=ExternalName": "/gate/service/type",
        "gate.tls.mode=Auto": "/gate/tls/mode",
        "http.address=localhost": "/http/address",
        "monitoring.serviceMonitor.interval=often": "/monitoring/serviceMonitor/interval",
        "podDisruptionBudget.maxUnavailable=half": "/podDisruptionBudget/maxUnavailable",
        "podLabels.a=1": "/podLabels/a",
        "probes.liveness.httpGet=x": "additional properties 'httpGet",
        "replica=2": "additional properties 'replica",
    },
    {
        "replicas=two": "/replicas",
        "controller.pollInterval=0.0": "/controller/pollInterval",
        "gate.tls.mode=Secret": "/gate/tls/secretName",
        "airflow.enabled=true": "/airflow/subjects",
        "gate.tls.enabled=true": "additional properties 'enabled",
    },
    {"gate.tls.mode=CertManager": "/gate/tls/certManager/issuerRef/name"},
    {"rbac.sparkPods=true": "/rbac/kubernetesJobs", "rbac.kubernetesJobs=false": "/rbac/kubernetesJobs"},
]
"""Given at once, since helm names all that is wrong: what is given, and how it is named."""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DURABLEJOB_")]:
        monkeypatch.delenv(name)


def settings(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a controller that runs in this pod."""
    for name, value in environment(objects).items():
        monkeypatch.setenv(name, value.replace("$(POD_NAME)", "pod-1"))
    return parse([])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, wrong: dict[str, str]) -> None:
    with pytest.raises(HelmFailed, match="values don't meet the specifications of the schema") as caught:
        helm.render(*wrong)
    for given, named in wrong.items():
        assert f"{named}'" in str(caught.value), given


def test_by_default_the_controllers_settings_are_its_defaults(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(helm.render(), monkeypatch)
    expected = dataclasses.replace(
        Settings(),
        own_namespace="durablejob-system",
        lease_name="dj-durablejob",
        identity="pod-1",
        gate_url="http://dj-durablejob-gate.durablejob-system.svc:9472",
        admission_policy="dj-durablejob",
        high_water_file="/tmp/high-water",  # in the pod, where only the container is thrown away
    )
    assert found == expected


def test_each_setting_can_be_reached_by_a_value(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    default, found = Settings(), settings(helm.render(values=[EVERYTHING]), monkeypatch)
    names = {field.name for field in dataclasses.fields(Settings)}
    assert {name for name in names if getattr(found, name) == getattr(default, name)} == set()
    assert (found.namespaces, found.elect, found.gate_listen) == (("team-a", "team-b"), False, "[::]:9000")


def test_the_policy_that_the_controller_looks_for_is_the_charts(helm: Helm) -> None:
    objects = helm.render("fullnameOverride=other")
    name = environment(objects)["DURABLEJOB_ADMISSION_POLICY"]
    assert only(objects, "ValidatingAdmissionPolicyBinding", name)["spec"]["policyName"] == name
    assert "durablejobs" in str(only(objects, "ValidatingAdmissionPolicy", name)["spec"]["matchConstraints"])
    without = helm.render("admissionPolicy.enabled=false")
    assert "DURABLEJOB_ADMISSION_POLICY" not in environment(without)
    asked = {resource for _, resource, _ in rules(only(without, "ClusterRole", "dj-durablejob"))}
    assert "validatingadmissionpolicies" not in asked


def test_listeners_and_ports_belong_together(helm: Helm) -> None:
    objects = helm.render("gate.port=9000", "gate.service.port=443", "http.port=9001")
    ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
    given = environment(objects)
    assert ports == {"gate": 9000, "http": 9001}
    assert (given["DURABLEJOB_GATE_LISTEN"], given["DURABLEJOB_HTTP_LISTEN"]) == ("0.0.0.0:9000", "0.0.0.0:9001")
    assert given["DURABLEJOB_GATE_URL"].endswith(".svc:443")
    gate = only(objects, "Service", "dj-durablejob-gate")["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in gate] == [(443, "gate")]


def test_services_and_budget_select_the_pods_and_only_these(helm: Helm) -> None:
    objects = helm.render("networkPolicy.enabled=true", "podLabels.mesh=off")
    pods = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test = only(objects, "Pod")["metadata"]["labels"]
    selectors = [o["spec"]["selector"] for o in objects if o["kind"] == "Service"]
    selectors += [only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    selectors += [only(objects, "Deployment")["spec"]["selector"]["matchLabels"]]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector.items() <= pods.items()
        assert not selector.items() <= test.items()


def test_the_pod_of_helms_test_is_let_in_by_the_network_policy(helm: Helm) -> None:
    objects = helm.render(values=[EVERYTHING])
    test, policy = only(objects, "Pod")["metadata"], only(objects, "NetworkPolicy")
    given = yaml.safe_load(EVERYTHING.read_text())["networkPolicy"]
    assert test["namespace"] == policy["metadata"]["namespace"]  # a podSelector alone is of that namespace
    for rule, name in zip(policy["spec"]["ingress"], ("gateFrom", "httpFrom"), strict=True):
        *others, own = rule["from"]
        assert others == given[name]
        assert own.keys() == {"podSelector"}
        assert own["podSelector"]["matchLabels"].items() <= test["labels"].items()
    assert not any(
        "from" in rule for rule in only(helm.render("networkPolicy.enabled=true"), "NetworkPolicy")["spec"]["ingress"]
    )


@pytest.mark.parametrize(
    ("sets", "image"),
    [
        ([], "registry.example/durablejob/controller:0.1.0"),
        (["image.tag=9.9"], "registry.example/durablejob/controller:9.9"),
        (
            ["image.tag=9.9", f"image.digest=sha256:{'0' * 64}"],
            f"registry.example/durablejob/controller@sha256:{'0' * 64}",
        ),
    ],
    ids=["default", "tag", "digest"],
)
def test_the_image_is_named_by_tag_or_by_digest(helm: Helm, sets: list[str], image: str) -> None:
    objects = helm.render(*sets)
    assert container(objects)["image"] == image
    assert only(objects, "Pod")["spec"]["containers"][0]["image"] == image


def test_the_charts_version_is_the_distributions() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (project, project)


# --- the gate's certificate -----------------------------------------------------------------------------


def test_without_tls_there_is_no_certificate(helm: Helm) -> None:
    objects = helm.render()
    assert not {"DURABLEJOB_GATE_TLS_CERT", "DURABLEJOB_GATE_TLS_KEY"} & environment(objects).keys()
    assert {o["kind"] for o in objects}.isdisjoint({"Secret", "Certificate"})


def test_a_certificate_of_ones_own_is_mounted_and_none_is_made(helm: Helm) -> None:
    objects = helm.render("gate.tls.mode=Secret", "gate.tls.secretName=mine")
    assert {o["kind"] for o in objects}.isdisjoint({"Secret", "Certificate"})
    assert mounted(objects) == "mine"


def test_cert_manager_is_asked_for_the_names_that_drivers_use(helm: Helm) -> None:
    more = ["gate.url=https://gate.example:8443/x", "gate.tls.extraNames={10.1.2.3,other.example}"]
    objects = helm.render("gate.tls.mode=CertManager", "gate.tls.certManager.issuerRef.name=ours", *more)
    spec = only(objects, "Certificate")["spec"]
    assert spec["secretName"] == mounted(objects) == "dj-durablejob-gate-tls"
    assert {"gate.example", "other.example", "dj-durablejob-gate.durablejob-system.svc"} <= set(spec["dnsNames"])
    assert spec["ipAddresses"] == ["10.1.2.3"]
    assert spec["issuerRef"] == {"name": "ours", "kind": "Issuer", "group": "cert-manager.io"}


async def test_a_generated_certificate_holds_for_the_names_that_drivers_use(helm: Helm, tmp_path: Path) -> None:
    more = ["gate.url=https://[fd00::1]:8443", "gate.tls.extraNames={gate.example,10.1.2.3}"]
    objects = helm.render("gate.tls.mode=Generated", *more)
    secret = only(objects, "Secret")
    assert (secret["metadata"]["name"], secret["type"]) == (mounted(objects), "kubernetes.io/tls")
    for name, data in secret["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    context = Certificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")).context
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for name in ("gate.example", "10.1.2.3", "fd00::1", "dj-durablejob-gate.durablejob-system.svc"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="elsewhere.example")


def mounted(objects: list[Object]) -> str:
    """The Secret from which the controller's certificate comes."""
    spec: Any = only(objects, "Deployment")["spec"]["template"]["spec"]
    (mount,) = [m for m in container(objects)["volumeMounts"] if m["name"] == "gate-tls"]
    given = environment(objects)
    assert given["DURABLEJOB_GATE_TLS_CERT"] == f"{mount['mountPath']}/tls.crt"
    assert given["DURABLEJOB_GATE_TLS_KEY"] == f"{mount['mountPath']}/tls.key"
    assert given["DURABLEJOB_GATE_URL"].startswith("https://")
    (volume,) = [v for v in spec["volumes"] if v["name"] == "gate-tls"]
    return str(volume["secret"]["secretName"])


# --- rights -----------------------------------------------------------------------------------------------


def rules(role: Object) -> set[tuple[str, str, str]]:
    """API group, resource, verb."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_named_namespaces_get_roles_and_the_cluster_role_has_nothing_of_theirs(helm: Helm) -> None:
    everywhere = helm.render()
    named = helm.render("watchNamespaces={a,b}")
    wide, small = (only(objects, "ClusterRole", "dj-durablejob") for objects in (everywhere, named))
    roles = [o for o in named if o["kind"] == "Role" and o["metadata"]["name"] == "dj-durablejob"]
    assert [role["metadata"]["namespace"] for role in roles] == ["a", "b"]
    assert rules(wide) == rules(small) | rules(roles[0])
    assert rules(roles[0]) == rules(roles[1])
    assert {resource for _, resource, _ in rules(small)} == {
        "clusterjobbackends", "clusterjobbackends/status", "namespaces",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    }  # fmt: skip
    (namespaces,) = [rule for rule in small["rules"] if rule["resources"] == ["namespaces"]]
    assert namespaces["resourceNames"] == ["kube-system"]


def test_the_admission_policy_holds_in_every_namespace_whichever_are_watched(helm: Helm) -> None:
    """What waits in a namespace that is not watched begins as soon as it is."""
    objects = helm.render("watchNamespaces={a,b}")
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [o["spec"] for o in objects if o["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert bindings == [{"policyName": name, "validationActions": ["Deny"]} for name in sorted(policies)]
    assert all(not spec["matchConstraints"].keys() - {"resourceRules"} for spec in policies.values())


def test_the_controller_may_read_no_secret_of_a_job_unless_it_is_named(helm: Helm) -> None:
    assert ("", "secrets", "get") not in rules(only(helm.render(), "ClusterRole", "dj-durablejob"))
    named = only(helm.render("rbac.secrets.names={etl}"), "ClusterRole", "dj-durablejob")
    (rule,) = [rule for rule in named["rules"] if rule["resources"] == ["secrets"]]
    assert (rule["resourceNames"], rule["verbs"]) == (["etl"], ["get"])
    every = only(helm.render("rbac.secrets.all=true"), "ClusterRole", "dj-durablejob")
    (rule,) = [rule for rule in every["rules"] if rule["resources"] == ["secrets"]]
    assert "resourceNames" not in rule


def test_without_kubernetes_jobs_there_is_no_right_to_make_any(helm: Helm) -> None:
    role = only(helm.render("rbac.kubernetesJobs=false"), "ClusterRole", "dj-durablejob")
    assert {resource for _, resource, _ in rules(role)}.isdisjoint({"jobs", "pods"})


def test_without_sparks_pods_there_is_no_right_to_make_any(helm: Helm) -> None:
    def granted(*given: str) -> set[tuple[str, str, str]]:
        return set(rules(only(helm.render(*given), "ClusterRole", "dj-durablejob")))

    plain = granted()
    assert {verb for _, resource, verb in plain if resource == "pods"} == {"list"}
    assert {resource for _, resource, _ in plain}.isdisjoint({"services", "ingresses"})
    assert {resource for _, resource, _ in granted("rbac.sparkServices=true") - plain} == {"services"}
    assert {resource for _, resource, _ in granted("rbac.sparkIngresses=true") - plain} == {"ingresses"}
    assert ("", "pods", "deletecollection") in granted("rbac.sparkPods=true")


def test_airflow_may_get_the_secrets_that_are_named_and_no_other(helm: Helm) -> None:
    given = ("airflow.enabled=true", "airflow.subjects[0].kind=User", "airflow.subjects[0].name=a",
             "airflow.namespaces={dags}")  # fmt: skip
    assert ("", "secrets", "get") not in rules(only(helm.render(*given), "Role", "dj-durablejob-airflow"))
    role = only(helm.render(*given, "airflow.secrets={etl,db}"), "Role", "dj-durablejob-airflow")
    (rule,) = [rule for rule in role["rules"] if rule["resources"] == ["secrets"]]
    assert (rule["resourceNames"], rule["verbs"]) == (["etl", "db"], ["get"])


@pytest.mark.parametrize("values", [MINIMAL, EVERYTHING], ids=["by default", "with everything"])
def test_nobody_but_the_controller_may_write_a_status(helm: Helm, values: Any) -> None:
    objects = helm.render(values=[values])
    roles = [o for o in objects if o["kind"] in ("Role", "ClusterRole")]
    writers = {o["metadata"]["name"] for o in roles if any(r.endswith("/status") for _, r, _ in rules(o))}
    assert writers == {"dj-durablejob"}
    assert all("*" not in part for role in roles for rule in rules(role) for part in rule)


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ("serviceAccount.create=false", {"ServiceAccount"}),
        ("rbac.create=false", {"Role", "RoleBinding", "ClusterRoleBinding"}),
        ("crds.install=false", {"CustomResourceDefinition"}),
        ("admissionPolicy.enabled=false", {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}),
        ("podDisruptionBudget.enabled=false", {"PodDisruptionBudget"}),
    ],
)
def test_what_is_switched_off_is_not_there(helm: Helm, given: str, absent: set[str]) -> None:
    assert absent <= {o["kind"] for o in helm.render()}
    assert absent.isdisjoint({o["kind"] for o in helm.render(given)})


def test_every_pod_field_that_a_value_names_is_in_the_pod(helm: Helm) -> None:
    pod = only(helm.render(values=[EVERYTHING]), "Deployment")["spec"]["template"]
    spec, values = pod["spec"], yaml.safe_load(EVERYTHING.read_text())
    for name in ("priorityClassName", "nodeSelector", "tolerations", "affinity", "terminationGracePeriodSeconds",
                 "imagePullSecrets"):  # fmt: skip
        assert spec[name] == values[name], name
    assert values["podAnnotations"].items() <= pod["metadata"]["annotations"].items()
    assert {**values["podLabels"], **values["commonLabels"]}.items() <= pod["metadata"]["labels"].items()
    (made,) = spec["containers"]
    assert values["env"][0] in made["env"]
    assert made["envFrom"] == values["envFrom"]
    assert values["volumes"][0] in spec["volumes"]
    assert values["volumeMounts"][0] in made["volumeMounts"]
    own, given = spec["topologySpreadConstraints"]
    assert own["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "controller"
    assert given["labelSelector"] == {"matchLabels": {"own": "selector"}}


def test_a_services_variables_are_not_taken_for_settings(helm: Helm) -> None:
    assert only(helm.render(), "Deployment")["spec"]["template"]["spec"]["enableServiceLinks"] is False
