"""The Pod of a driver, as it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durablejob_api.backend import JobBackendSpec, SparkUI
from durablejob_controller.backends.kubernetes_objects.objects import HASH, KEY, OWNER
from durablejob_controller.backends.spark_on_kubernetes import manifest, ui
from durablejob_controller.backends.spark_on_kubernetes.conf import Wishes
from durablejob_controller.backends.spark_on_kubernetes.names import TEMPLATE
from tests.backends.spark_on_kubernetes import works

Object = dict[str, Any]
NAME = f"dj-{works.KEY}"


def pod(**spark: Any) -> Object:
    return manifest.body(works.job(**spark), works.KEY, works.SPEC)


def container(**spark: Any) -> Object:
    (one,) = pod(**spark)["spec"]["containers"]
    found: Object = one
    return found


def conf(**spark: Any) -> dict[str, str]:
    args = container(**spark)["args"]
    pairs = [args[position + 1] for position, part in enumerate(args) if part == "--conf"]
    return dict(pair.split("=", 1) for pair in pairs)


def test_it_is_inert_and_its_durablejobs() -> None:
    made = pod()
    assert manifest.is_inert(made)
    assert made["spec"]["schedulingGates"] == [{"name": "durablejob.io/start"}]
    assert made["spec"]["restartPolicy"] == "Never"
    meta = made["metadata"]
    assert (meta["name"], meta["ownerReferences"][0]["uid"]) == (NAME, "uid-of-load")
    assert (meta["labels"][KEY], meta["labels"][OWNER]) == (works.KEY, "uid-of-load")


def test_it_is_the_same_whoever_builds_it_and_its_hash_says_so() -> None:
    assert pod() == pod()
    assert pod()["metadata"]["annotations"][HASH] == manifest.body_hash(works.job(), works.KEY, works.SPEC)
    assert pod()["metadata"]["annotations"][HASH] != pod(arguments=["x"])["metadata"]["annotations"][HASH]


def test_the_driver_is_told_who_it_is_and_who_makes_its_executors() -> None:
    args = container()["args"]
    assert args[:3] == ["driver", "--master", "k8s://https://kubernetes.default.svc"]
    assert args[-3:] == ["--class", "Etl", "local:///opt/app/etl.jar"]
    told = conf()
    assert told["spark.app.id"] == told["spark.kubernetes.driver.pod.name"] == NAME
    assert told["spark.kubernetes.namespace"] == "data"
    assert told["spark.kubernetes.container.image"] == "example.invalid/spark:4"
    assert told["spark.driver.host"] == "$(SPARK_DRIVER_BIND_ADDRESS)"


def test_no_text_of_the_user_is_expanded() -> None:
    env = [{"name": "PRICE", "value": "$(HOME) $5"}]
    made = container(arguments=["$(KUBERNETES_SERVICE_HOST)"], conf={"spark.x": "a$b"}, env=env)
    assert made["args"][-1] == "$$(KUBERNETES_SERVICE_HOST)"
    assert "spark.x=a$$b" in made["args"]
    assert made["env"][0] == {"name": "PRICE", "value": "$$(HOME) $$5"}


def test_a_secret_is_named_and_never_written() -> None:
    ref = {"secretKeyRef": {"name": "db", "key": "password"}}
    made = container(env=[{"name": "PASSWORD", "valueFrom": ref}])
    assert made["env"][0] == {"name": "PASSWORD", "valueFrom": ref}


def test_python_needs_no_class() -> None:
    args = container(mainApplicationFile="local:///opt/app/etl.py", mainClass=None, arguments=["--day", "1"])["args"]
    assert "--class" not in args
    assert args[-3:] == ["local:///opt/app/etl.py", "--day", "1"]


def executor(**spark: Any) -> Object:
    """The template of the executors' Pods, as their driver reads it."""
    found: Object = json.loads(pod(**spark)["metadata"]["annotations"][TEMPLATE])
    return found


def test_the_pods_settings_are_the_users_but_its_identity_is_ours() -> None:
    driver = {
        "labels": {"team": "a", "spark-role": "executor"}, "nodeSelector": {"disk": "ssd"},
        "priorityClassName": "high", "annotations": {"note": "n"},
    }  # fmt: skip
    pods = {"labels": {"team": "a"}, "nodeSelector": {"disk": "hdd"}, "priorityClassName": "low"}
    settings = {"image": "example.invalid/own:1", "serviceAccountName": "own", "driver": driver, "executor": pods}
    made = pod(kubernetes=settings)
    assert made["metadata"]["labels"][KEY] == works.KEY
    assert made["metadata"]["labels"]["spark-role"] == "driver"
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["metadata"]["annotations"]["note"] == "n"
    spec = made["spec"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("own", "high")
    assert spec["nodeSelector"] == {"disk": "ssd"}
    told = conf(kubernetes=settings)
    assert told["spark.kubernetes.container.image"] == "example.invalid/own:1"
    assert told["spark.kubernetes.executor.label.team"] == "a"
    assert told["spark.kubernetes.executor.node.selector.disk"] == "hdd"
    assert not [key for key in told if key.startswith(("spark.kubernetes.driver.label", "spark.kubernetes.auth"))]
    assert executor(kubernetes=settings)["spec"]["priorityClassName"] == "low"


def test_the_executors_template_is_a_file_of_the_drivers_pod() -> None:
    made = pod()
    (volume,) = made["spec"]["volumes"]
    (item,) = volume["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{TEMPLATE}']"
    (mount,) = made["spec"]["containers"][0]["volumeMounts"]
    assert conf()["spark.kubernetes.executor.podTemplateFile"] == f"{mount['mountPath']}/{item['path']}"
    assert mount["name"] == volume["name"]


def test_driver_and_executors_run_unprivileged_and_as_the_same_user() -> None:
    user = {"runAsUser": 185, "fsGroup": 185}
    settings = {"securityContext": user, "executor": {"serviceAccountName": "nobody"}}
    made, template = pod(kubernetes=settings)["spec"], executor(kubernetes=settings)["spec"]
    for one in (made, template):
        profile = {"type": "RuntimeDefault"}
        assert one["securityContext"] == {"seccompProfile": profile, "runAsNonRoot": True, **user}
        (container,) = one["containers"]
        dropped = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == dropped
    assert template["automountServiceAccountToken"] is False
    assert template["serviceAccountName"] == "nobody"
    assert "runAsNonRoot" not in pod()["spec"]["securityContext"]


def test_volumes_and_tolerations_are_of_both() -> None:
    volumes = [
        {"name": "data", "mountPath": "/data", "persistentVolumeClaim": "sales", "readOnly": True},
        {"name": "tmp", "mountPath": "/scratch", "emptyDir": "1Gi"},
        {"name": "more", "mountPath": "/more", "emptyDir": "2Gi"},
        {"name": "conf", "mountPath": "/conf", "configMap": "etl"},
        {"name": "key", "mountPath": "/key", "secret": "key"},
    ]
    tolerations = [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    settings = {"volumes": volumes, "tolerations": tolerations}
    for one in (pod(kubernetes=settings)["spec"], executor(kubernetes=settings)["spec"]):
        assert one["tolerations"] == tolerations
        assert one["volumes"][:5] == [
            {"name": "data", "persistentVolumeClaim": {"claimName": "sales"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "more", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "conf", "configMap": {"name": "etl"}},
            {"name": "key", "secret": {"secretName": "key"}},
        ]
        mounts = one["containers"][0]["volumeMounts"]
        assert mounts[0] == {"name": "data", "mountPath": "/data", "readOnly": True}
        assert [mount["mountPath"] for mount in mounts[:5]] == ["/data", "/scratch", "/more", "/conf", "/key"]


def test_the_container_has_room_for_more_than_the_heap() -> None:
    limits = container(driver={"memory": "1g", "cores": 2})["resources"]
    assert limits == {"requests": {"cpu": "2", "memory": "1408Mi"}, "limits": {"memory": "1408Mi"}}
    size = {"cpuRequest": "100m", "cpuLimit": "1", "memoryOverhead": "1g"}
    for given in (
        {"kubernetes": {"driver": {"resources": size}}},
        {"conf": {
            "spark.kubernetes.driver.request.cores": "100m", "spark.kubernetes.driver.limit.cores": "1",
            "spark.driver.memoryOverhead": "1g",
        }},
    ):  # fmt: skip
        made = container(**given)
        assert made["resources"]["requests"] == {"cpu": "100m", "memory": "2048Mi"}
        assert made["resources"]["limits"] == {"cpu": "1", "memory": "2048Mi"}


def test_the_executors_size_is_told_to_spark() -> None:
    size = {"cpuRequest": "500m", "cpuLimit": "2", "memoryOverhead": "512m"}
    settings = {"executor": {"resources": size, "secretEnv": {"PASSWORD": {"name": "db", "key": "password"}}}}
    told = conf(executor={"instances": 2, "cores": 1, "memory": "2g"}, kubernetes=settings)
    wanted = {
        "spark.executor.instances": "2",
        "spark.executor.cores": "1",
        "spark.executor.memory": "2g",
        "spark.executor.memoryOverhead": "512m",
        "spark.kubernetes.executor.request.cores": "500m",
        "spark.kubernetes.executor.limit.cores": "2",
        "spark.kubernetes.executor.secretKeyRef.PASSWORD": "db:password",
    }
    assert {key: told.get(key) for key in wanted} == wanted


def test_keys_that_spark_submit_would_read_mean_what_they_say() -> None:
    given = {
        "spark.kubernetes.driver.label.team": "a",
        "spark.kubernetes.driver.annotation.note": "n",
        "spark.kubernetes.node.selector.zone": "z",
        "spark.kubernetes.driver.node.selector.disk": "ssd",
        "spark.kubernetes.driverEnv.MODE": "fast",
        "spark.kubernetes.driver.secretKeyRef.PASSWORD": "db:password",
        "spark.kubernetes.driver.secrets.cert": "/etc/cert",
        "spark.kubernetes.container.image": "example.invalid/all:1",
        "spark.kubernetes.driver.container.image": "example.invalid/driver:1",
        "spark.kubernetes.container.image.pullPolicy": "Always",
        "spark.kubernetes.container.image.pullSecrets": "one, two",
        "spark.kubernetes.scheduler.name": "volcano",
        "spark.kubernetes.authenticate.driver.serviceAccountName": "maker",
        "spark.kubernetes.authenticate.executor.serviceAccountName": "worker",
    }
    made = pod(conf=given)
    meta, spec = made["metadata"], made["spec"]
    (container,) = spec["containers"]
    assert (meta["labels"]["team"], meta["annotations"]["note"]) == ("a", "n")
    assert spec["nodeSelector"] == {"zone": "z", "disk": "ssd"}
    assert container["env"][0] == {"name": "MODE", "value": "fast"}
    ref = {"secretKeyRef": {"name": "db", "key": "password"}}
    assert container["env"][1] == {"name": "PASSWORD", "valueFrom": ref}
    assert spec["volumes"][0] == {"name": "cert-volume", "secret": {"secretName": "cert"}}
    assert container["volumeMounts"][0] == {"name": "cert-volume", "mountPath": "/etc/cert"}
    assert (container["image"], container["imagePullPolicy"]) == ("example.invalid/driver:1", "Always")
    assert spec["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert (spec["schedulerName"], spec["serviceAccountName"]) == ("volcano", "maker")
    assert executor(conf=given)["spec"]["serviceAccountName"] == "worker"
    told = conf(conf=given)
    assert told["spark.kubernetes.container.image"] == "example.invalid/all:1"
    assert told["spark.kubernetes.node.selector.zone"] == "z"
    assert not [key for key in told if "authenticate" in key or "driverEnv" in key or "driver.label" in key]


def test_dynamic_allocation_tracks_shuffles_where_nothing_else_is_said() -> None:
    wanted = {"minExecutors": "1", "maxExecutors": "5", "enabled": "true", "shuffleTracking.enabled": "true"}
    told = conf(kubernetes={"dynamicAllocation": {"minExecutors": 1, "maxExecutors": 5}})
    assert {key: told.get(f"spark.dynamicAllocation.{key}") for key in wanted} == wanted
    own = {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.shuffleTracking.enabled": "false"}
    assert conf(conf=own)["spark.dynamicAllocation.shuffleTracking.enabled"] == "false"
    assert "spark.dynamicAllocation.shuffleTracking.enabled" not in conf()


def test_where_its_ui_is() -> None:
    def url(given: Object, **conf: str) -> str | None:
        made = pod(conf=conf)
        made["metadata"]["uid"] = "u1"
        return ui.url_of(SparkUI.model_validate(given), made)

    assert url({}) == "http://dj-ui-u1.data.svc:4040"
    assert url({}, **{"spark.ui.port": "4050"}) == "http://dj-ui-u1.data.svc:4050"
    ingress: Object = {"host": "{name}.{namespace}.example.invalid"}
    assert url({"ingress": ingress}) == f"http://{NAME}.data.example.invalid/"
    assert url({"ingress": {**ingress, "tlsSecretName": "cert"}}) == f"https://{NAME}.data.example.invalid/"
    assert url({}, **{"spark.ui.enabled": "false"}) is None
    for port in ("0", "²", "65536", "9" * 4000):
        assert url({}, **{"spark.ui.port": port}) is None


@pytest.mark.parametrize(
    ("heap", "conf", "python", "expected"),
    [
        ("512m", {}, False, 896),
        ("8g", {}, False, 9011),
        ("8g", {}, True, 11468),
        ("1g", {"spark.driver.memoryOverhead": "1g"}, False, 2048),
        ("10g", {"spark.kubernetes.memoryOverheadFactor": "0.5"}, False, 15360),
        ("512m", {"spark.driver.minMemoryOverhead": "1g"}, False, 1536),
        ("8g", {"spark.driver.minMemoryOverhead": "100m"}, False, 9011),
        ("1g", {"spark.driver.minMemoryOverhead": "2g", "spark.driver.memoryOverhead": "1g"}, False, 2048),
    ],
)
def test_memory_is_counted_as_spark_does(heap: str, conf: dict[str, str], python: bool, expected: int) -> None:
    assert Wishes(conf).memory(heap, python=python) == expected


@pytest.mark.parametrize("text", ["1024", "1gb", "1048576k"])
def test_the_drivers_heap_is_said_as_its_jvm_reads_it(text: str) -> None:
    """spark-submit in the Pod makes -Xmx of it as it is: 1024 would be bytes, and 1gb nothing."""
    assert conf(driver={"memory": text})["spark.driver.memory"] == "1024m"


def test_the_activation_takes_the_gate_from_this_pod_only() -> None:
    found = pod()
    found["metadata"]["resourceVersion"] = "7"
    found["spec"]["schedulingGates"].insert(0, {"name": "example.com/theirs"})
    patch = manifest.activation(works.job(), found, "o1", "hash")
    for path, value in (("/metadata/uid", "o1"), ("/metadata/resourceVersion", "7")):
        assert {"op": "test", "path": path, "value": value} in patch
    assert {"op": "remove", "path": "/spec/schedulingGates/1"} in patch
    tests = [step["op"] for step in patch].index("remove")
    assert all(step["op"] == "test" for step in patch[:tests])


def test_defaults_of_the_backend_lie_under_the_jobs_own() -> None:
    given = {"kubernetes": {"spark": {"image": "i"}}, "defaults": {"sparkConf": {"spark.a": "1", "spark.b": "1"}}}
    made = manifest.body(works.job(conf={"spark.b": "2"}), works.KEY, JobBackendSpec.model_validate(given))
    args = made["spec"]["containers"][0]["args"]
    assert "spark.a=1" in args
    assert "spark.b=2" in args
    assert "spark.b=1" not in args
