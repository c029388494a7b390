"""What KubernetesJobOperator's arguments mean as a JobSpec."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.secret import Secret
from kubernetes import config
from kubernetes.client import BatchV1Api
from kubernetes.client import models as k8s

from durablejob_airflow.kubernetes_payload import ARGUMENTS, as_json, job_spec, namespace_of
from durablejob_airflow.operators import DurableKubernetesJobOperator
from durablejob_airflow.payload import WrongArguments, build_spec
from durablejob_airflow.view import JobView
from tests.testbed.kube import Cluster

Json = dict[str, Any]
POD = {"metadata": {"labels": {"from": "pod"}}, "spec": {"containers": [{"name": "main", "env": [{"name": "P"}]}]}}
JOB = {"metadata": {"name": "j"}, "spec": {"completionMode": "Indexed", "template": {"spec": {"hostname": "job"}}}}

SETTINGS: Json = {
    "affinity": k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity()),
    "annotations": {"a": "b"},
    "arguments": ["x"],
    "automount_service_account_token": False,
    "base_container_name": "program",
    "cmds": ["x"],
    "completion_mode": "Indexed",
    "completions": 2,
    "configmaps": ["c"],
    "container_resources": k8s.V1ResourceRequirements(requests={"cpu": "1"}),
    "container_security_context": {"runAsUser": 1},
    "dns_config": k8s.V1PodDNSConfig(nameservers=["::1"]),
    "dnspolicy": "None",
    "env_from": [k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="c"))],
    "env_vars": {"A": 1},
    "full_job_spec": k8s.V1Job(spec=k8s.V1JobSpec(active_deadline_seconds=9, template=k8s.V1PodTemplateSpec())),
    "full_pod_spec": k8s.V1Pod(spec=k8s.V1PodSpec(containers=[], node_name="n")),
    "host_aliases": [k8s.V1HostAlias(ip="::1", hostnames=["h"])],
    "hostname": "h",
    "hostnetwork": True,
    "image": "i",
    "image_pull_policy": "Always",
    "image_pull_secrets": "a, b",
    "init_containers": [k8s.V1Container(name="first", image="i")],
    "labels": {"a": None},
    "node_selector": {"a": "b"},
    "parallelism": 2,
    "pod_runtime_info_envs": [k8s.V1EnvVar(name="IP")],
    "pod_template_dict": POD,
    "ports": [k8s.V1ContainerPort(container_port=1)],
    "priority_class_name": "p",
    "runtime_class_name": "r",
    "schedulername": "s",
    "secrets": [Secret("env", "A", "s", "k")],
    "security_context": k8s.V1PodSecurityContext(run_as_user=0),
    "service_account_name": "s",
    "subdomain": "s",
    "termination_grace_period": 0,
    "termination_message_policy": "File",
    "tolerations": [k8s.V1Toleration(key="k")],
    "volume_mounts": [k8s.V1VolumeMount(name="v", mount_path="/v")],
    "volumes": [k8s.V1Volume(name="v", empty_dir=k8s.V1EmptyDirVolumeSource())],
}


@pytest.fixture
def templates(tmp_path):
    """The same templates as files."""
    for name, content in (("job", JOB), ("pod", POD)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    return {"job_template_file": str(tmp_path / "job"), "pod_template_file": str(tmp_path / "pod")}


def operator(**arguments: Any) -> DurableKubernetesJobOperator:
    return DurableKubernetesJobOperator(task_id="t", retries=1, **arguments)


def program(spec: Json) -> Json:
    found: Json = spec["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_each_argument_changes_the_job(name, templates):
    value = {**SETTINGS, **templates}[name]
    assert operator(**{name: value}).work() != operator().work()
    build_spec(operator(**{name: value}).work(), {"name": "here", "type": "Kubernetes"})


ALSO: Json = {
    "dnspolicy": {"dns_config": SETTINGS["dns_config"]},
    "volume_mounts": {"volumes": SETTINGS["volumes"]},
    "completions": {"completion_mode": "Indexed"},
    "completion_mode": {"completions": 2},
    "full_pod_spec": {"image": "i"},
    "job_template_file": {"completions": 2},
}
"""What an argument cannot do without."""
CLASSES = """
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: p}, value: 1}
---
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: r}, handler: r}
"""


@pytest.fixture(scope="module")
def batch(crds: Cluster) -> BatchV1Api:
    """The real API server's Jobs, with the classes that the settings name."""
    crds.kubectl("apply", "-f", "-", input=CLASSES)
    return BatchV1Api(config.new_client_from_config(str(crds.kubeconfig)))


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_the_api_server_knows_each_field_that_an_argument_becomes(name, templates, batch: BatchV1Api):
    given = {"image": "i", **ALSO.get(name, {}), name: {**SETTINGS, **templates}[name]}
    spec = job_spec(given)
    spec["template"]["spec"]["restartPolicy"] = "Never"  # as the controller does
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}
    batch.create_namespaced_job("default", body, dry_run="All", field_validation="Strict")


def test_the_same_arguments_give_the_same_job():
    secrets = [Secret("volume", "/s", "s"), Secret("env", None, "all")]
    assert job_spec({"secrets": secrets}) == job_spec({"secrets": secrets})


def test_secrets_become_environment_and_volumes():
    spec = job_spec(
        {"secrets": [Secret("volume", "/s", "s"), Secret("env", None, "all"), Secret("env", "a", "s", "k")]}
    )
    assert program(spec) == {
        "name": "base",
        "volumeMounts": [{"name": "secret-0", "mountPath": "/s", "readOnly": True}],
        "envFrom": [{"secretRef": {"name": "all"}}],
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    }
    assert spec["template"]["spec"]["volumes"] == [{"name": "secret-0", "secret": {"secretName": "s"}}]


def test_a_variable_without_a_value_has_none_as_with_the_provider():
    env = program(job_spec({"env_vars": {"A": None, "B": "", "C": 1, "D": True}}))["env"]
    assert env[:2] == [{"name": "A"}, {"name": "B", "value": ""}]
    assert env[2:] == [{"name": "C", "value": "1"}, {"name": "D", "value": "true"}]
    assert env[:2] == as_json([k8s.V1EnvVar(name="A", value=None), k8s.V1EnvVar(name="B", value="")])


def test_a_list_of_pull_secrets_is_names():
    spec = job_spec({"image_pull_secrets": "a, b"})["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_arguments_go_over_the_pods_template_and_that_over_the_jobs(templates):
    spec = job_spec({**templates, "image": "i", "env_vars": {"A": "1"}, "labels": {"own": "1"}, "hostname": "own"})
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["hostname"] == "own"
    assert spec["template"]["metadata"]["labels"] == {"from": "pod", "own": "1"}
    assert program(spec) == {"name": "main", "image": "i", "env": [{"name": "P"}, {"name": "A", "value": "1"}]}
    assert job_spec(templates)["template"]["spec"]["hostname"] == "job"


def test_further_containers_of_a_template_stay():
    template = {"spec": {"containers": [{"name": "main"}, {"name": "sidecar"}]}}
    names = [one["name"] for one in job_spec({"pod_template_dict": template})["template"]["spec"]["containers"]]
    assert names == ["main", "sidecar"]


def test_a_template_that_is_not_there_is_said():
    with pytest.raises(WrongArguments, match=r"job_template_file: .*nowhere"):
        job_spec({"job_template_file": "/nowhere"})


def test_a_jobs_own_labels_are_refused_with_the_alternative():
    with pytest.raises(WrongArguments, match="Give 'labels'"):
        job_spec({"full_job_spec": {"metadata": {"labels": {"a": "b"}}}})


def test_a_template_of_another_namespace_is_refused():
    template = {"metadata": {"namespace": "there"}}
    assert namespace_of({"full_pod_spec": template}) == "there"
    with pytest.raises(WrongArguments, match="give namespace='there'"):
        operator(full_pod_spec=template, namespace="here").work()
    operator(full_pod_spec=template, namespace="there").work()


def test_objects_of_the_client_are_rendered():
    made = operator(
        volumes=[k8s.V1Volume(name="v", config_map=k8s.V1ConfigMapVolumeSource(name="day-{{ ds }}"))],
        env_vars=[k8s.V1EnvVar(name="DAY", value="{{ ds }}")],
        container_resources=k8s.V1ResourceRequirements(limits={"memory": "{{ ds }}Mi"}),
    )
    made.render_template_fields({"ds": "7"})
    spec = made.work()["kubernetesJob"]["template"]
    assert spec["template"]["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "day-7"}}]
    assert program(spec)["env"] == [{"name": "DAY", "value": "7"}]
    assert program(spec)["resources"] == {"limits": {"memory": "7Mi"}}


@pytest.mark.parametrize(
    ("skips", "outcome", "code", "skipped"),
    [(99, "Failed", 99, True), ([1, 99], "Failed", 99, True), (99, "Failed", 1, False), (0, "Succeeded", 0, False),
     (None, "Failed", 0, False), (99, "Failed", None, False)],
)  # fmt: skip
def test_an_exit_code_may_skip_the_task(skips, outcome, code, skipped):
    job = JobView("ns", "job", "u", number=1, outcome=outcome, exit_code=code)
    assert operator(skip_on_exit_code=skips).is_skip(job) is skipped


def test_all_template_fields_are_there():
    made = operator()
    assert all(hasattr(made, name) for name in made.template_fields)
    assert operator(do_xcom_push=False).do_xcom_push is False
    assert operator(job_poll_interval=3).poll_interval == 3
