"""What the models refuse before anything is sent: the same as the API server, at the user's own desk."""

import pytest
from pydantic import ValidationError

from durablejob_api.backend import ClusterJobBackendSpec, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import BackendType, DurableJobSpec, KubernetesJobWork, PluginWork, SparkWork
from durablejob_api.status import State
from tests.api.client import Json, merged
from tests.api.states import SPEC

JAR = "local:///a.jar"
STAGING = {"dir": "hdfs://nn/staging", "webhdfs": {"nameNodes": ["http://nn:9870"]}}
YARN = {"yarn": {"resourceManagers": ["http://rm1:8088"], "user": "etl", "staging": STAGING}}


def test_a_spec_knows_its_one_work() -> None:
    assert isinstance(DurableJobSpec.model_validate(SPEC).work, SparkWork)
    plugin = merged(SPEC, {"spark": None, "plugin": {"parameters": {"seconds": "1"}}})
    assert DurableJobSpec.model_validate(plugin).work == PluginWork(parameters={"seconds": "1"})


def test_a_job_template_is_kept_as_it_is() -> None:
    template = {"template": {"spec": {"anything": [{"at": "all"}]}}}
    assert KubernetesJobWork(template=template).to_api() == {"template": template}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spark": None}, "exactly one of spark, kubernetesJob, yarn, plugin"),
        ({"plugin": {}}, "exactly one of spark, kubernetesJob, yarn, plugin"),
        ({"backendRef": None}, "backendRef"),
        ({"backendRef": ""}, "backendRef: name a JobBackend or ClusterJobBackend"),
        ({"backendRef": {"type": "Mesos"}}, r"backendRef\.type"),
        ({"attempt": 0}, "attempt"),
        ({"spark": {"mainClass": "a.B"}}, "mainClass: leave it out for a Python application"),
        ({"spark": {"mainApplicationFile": JAR}}, "mainClass: required, unless mainApplicationFile ends in .py"),
        ({"spark": {"env": [{"name": "A"}]}}, "environment variable A: give exactly one of value and valueFrom"),
        ({"spark": {"env": [{"name": "1", "value": ""}]}}, r"spark\.env\.0\.name"),
        ({"spark": {"driver": {"memory": "lots"}}}, r"spark\.driver\.memory"),
        ({"spark": {"arguments": ["x"] * 257}}, r"spark\.arguments"),
    ],
)
def test_a_wrong_spec_is_refused_and_the_field_is_named(change: Json, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DurableJobSpec.model_validate(merged(SPEC, change))


@pytest.mark.parametrize(
    ("file", "python"),
    [("local:///a.py", True), ("s3a://b/c.py?version=1.jar", True), (JAR, False), ("s3a://b/c.jar?x=.py", False)],
)
def test_a_python_application_is_told_by_its_file(file: str, python: bool) -> None:
    assert SparkWork(main_application_file=file, main_class=None if python else "a.B").is_python is python


def test_a_backend_knows_its_one_type() -> None:
    assert JobBackendSpec.model_validate(YARN).type is BackendType.YARN
    assert ClusterJobBackendSpec.model_validate({"plugin": {"name": "fake"}}).type is BackendType.PLUGIN


@pytest.mark.parametrize("spec", [{}, YARN | {"kubernetes": {}}])
def test_a_backend_is_exactly_one_system(spec: Json) -> None:
    with pytest.raises(ValidationError, match="exactly one of sparkStandalone, yarn, kubernetes, plugin"):
        JobBackendSpec.model_validate(spec)


def test_an_endpoint_is_a_host_and_nothing_behind_it() -> None:
    with pytest.raises(ValidationError, match=r"yarn\.resourceManagers\.0"):
        JobBackendSpec.model_validate({"yarn": {"resourceManagers": ["http://rm1:8088/ws?x"], "user": "etl"}})


def test_a_job_reads_back_what_it_wrote() -> None:
    job = DurableJob.model_validate(
        {"metadata": {"name": "a", "finalizers": ["durablejob.io/external-job"]}, "spec": SPEC}
    )
    assert DurableJob.model_validate(job.to_api()) == job
    assert job.guarded
    assert not job.deleting


def test_four_states_are_terminal() -> None:
    assert {state.value for state in State if state.terminal} == {"Succeeded", "Failed", "Cancelled", "Lost"}
