"""The Pod of a driver, as it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_controller.backends.kubernetes_objects.objects import HASH, KEY, OWNER
from durablejob_controller.backends.spark_on_kubernetes import manifest
from durablejob_controller.backends.spark_on_kubernetes.conf import driver_memory, mebibytes
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


def test_the_pods_settings_are_the_users_but_its_identity_is_ours() -> None:
    driver = {
        "labels": {"team": "a", KEY: "stolen"}, "nodeSelector": {"disk": "ssd"}, "priorityClassName": "high",
        "annotations": {"note": "n"},
    }  # fmt: skip
    executor = {"labels": {"team": "a"}, "nodeSelector": {"disk": "hdd"}}
    settings = {"image": "example.invalid/own:1", "serviceAccountName": "own", "driver": driver, "executor": executor}
    made = pod(kubernetes=settings)
    assert made["metadata"]["labels"][KEY] == works.KEY
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["metadata"]["annotations"]["note"] == "n"
    spec = made["spec"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("own", "high")
    assert spec["nodeSelector"] == {"disk": "ssd"}
    told = conf(kubernetes=settings)
    assert told["spark.kubernetes.container.image"] == "example.invalid/own:1"
    assert told["spark.kubernetes.executor.label.team"] == "a"
    assert told["spark.kubernetes.executor.node.selector.disk"] == "hdd"


def test_the_container_has_room_for_more_than_the_heap() -> None:
    limits = container(driver={"memory": "1g", "cores": 2})["resources"]
    assert limits == {"requests": {"cpu": "2", "memory": "1408Mi"}, "limits": {"memory": "1408Mi"}}
    cores = {"spark.kubernetes.driver.request.cores": "100m", "spark.kubernetes.driver.limit.cores": "1"}
    made = container(conf=cores)
    assert made["resources"]["requests"]["cpu"] == "100m"
    assert made["resources"]["limits"]["cpu"] == "1"
    assert not [part for part in made["args"] if "driver.request.cores" in part or "driver.limit.cores" in part]


@pytest.mark.parametrize(
    ("heap", "conf", "python", "expected"),
    [
        ("512m", {}, False, 896),
        ("8g", {}, False, 9011),
        ("8g", {}, True, 11468),
        ("1g", {"spark.driver.memoryOverhead": "1g"}, False, 2048),
        ("10g", {"spark.kubernetes.memoryOverheadFactor": "0.5"}, False, 15360),
    ],
)
def test_memory_is_counted_as_spark_does(heap: str, conf: dict[str, str], python: bool, expected: int) -> None:
    assert driver_memory(heap, conf, python=python) == expected


@pytest.mark.parametrize("text", ["1.5g", "1x", "", "-1g"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        mebibytes(text)


def test_the_activation_takes_the_gate_from_this_pod_only() -> None:
    patch = manifest.activation(works.job(), "o1", "hash")
    assert {"op": "test", "path": "/metadata/uid", "value": "o1"} in patch
    assert {"op": "remove", "path": "/spec/schedulingGates"} in patch
    tests = [step["op"] for step in patch].index("remove")
    assert all(step["op"] == "test" for step in patch[:tests])


def test_defaults_of_the_backend_lie_under_the_jobs_own() -> None:
    given = {"kubernetes": {"spark": {"image": "i"}}, "defaults": {"sparkConf": {"spark.a": "1", "spark.b": "1"}}}
    made = manifest.body(works.job(conf={"spark.b": "2"}), works.KEY, JobBackendSpec.model_validate(given))
    args = made["spec"]["containers"][0]["args"]
    assert "spark.a=1" in args
    assert "spark.b=2" in args
    assert "spark.b=1" not in args
