"""Which Jobs may run: what would start a program twice is refused by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_controller.backends.kubernetes_job.validation import validate
from durablejob_controller.errors import InvalidWork
from tests.backends.kubernetes_job import works


def pod(**spec: Any) -> works.Object:
    return {"template": {"spec": {"containers": [{"name": "main", "image": "i"}], **spec}}}


def rules(action: str) -> works.Object:
    onto = {"onExitCodes": {"operator": "In", "values": [3]}}
    return works.template(podFailurePolicy={"rules": [{"action": "Count", **onto}, {"action": action, **onto}]})


REFUSED: dict[str, tuple[works.Object, str, str]] = {
    "backoffLimit": (works.template(backoffLimit=3), "backoffLimit", "must be 0, not 3"),
    "backoffLimit false": (works.template(backoffLimit=False), "backoffLimit", "must be 0"),
    "podReplacementPolicy": (
        works.template(podReplacementPolicy="TerminatingOrFailed"), "podReplacementPolicy", "must be Failed"),
    "suspend": (works.template(suspend=True), "suspend", "use spec.suspend of the DurableJob"),
    "managedBy": (works.template(managedBy="example.com/other"), "managedBy", "leave it out"),
    "manualSelector": (works.template(manualSelector=True), "manualSelector", "leave it out"),
    "selector": (works.template(selector={"matchLabels": {"a": "b"}}), "selector", "leave it out"),
    "backoffLimitPerIndex": (works.template(backoffLimitPerIndex=1), "backoffLimitPerIndex", "again"),
    "maxFailedIndexes": (works.template(maxFailedIndexes=1), "maxFailedIndexes", "again"),
    "Ignore": (rules("Ignore"), "podFailurePolicy.rules[1].action", "must be FailJob or Count, not Ignore"),
    "FailIndex": (rules("FailIndex"), "podFailurePolicy.rules[1].action", "must be FailJob or Count"),
    "completions": (works.template(completions=2), "completions", "completionMode: Indexed"),
    "parallelism": (works.template(parallelism=2), "parallelism", "completionMode: Indexed"),
    "no completions": (works.template(completions=0, completionMode="Indexed"), "completions", "from 1"),
    "completions in words": (works.template(completions="2"), "completions", "must be a number"),
    "restartPolicy": (pod(restartPolicy="OnFailure"), "template.spec.restartPolicy", "must be Never"),
    "no template": ({}, "template", "missing"),
    "a template that is a list": ({"template": []}, "template", "must be an object"),
    "no pod": ({"template": {}}, "template.spec", "missing"),
    "no container": ({"template": {"spec": {}}}, "template.spec.containers", "at least one"),
    "a container that is restarted": (
        pod(containers=[{"name": "a", "restartPolicy": "OnFailure"}]),
        "template.spec.containers[0].restartPolicy", "must be Never"),
    "restart rules": (
        pod(containers=[{"name": "a", "restartPolicyRules": [{"action": "Restart"}]}]),
        "template.spec.containers[0].restartPolicyRules", "leave it out"),
    "an init container that is restarted on failure": (
        pod(initContainers=[{"name": "a", "restartPolicy": "OnFailure"}]),
        "template.spec.initContainers[0].restartPolicy", "must be Never"),
    "labels that are none": (
        {"template": {"metadata": {"labels": "x"}, **pod()["template"]}}, "template.metadata.labels", "object"),
}  # fmt: skip


@pytest.mark.parametrize(("work", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_its_field_and_what_would_be_right(work: works.Object, field: str, words: str) -> None:
    with pytest.raises(InvalidWork, match=r"^kubernetesJob\.template") as caught:
        validate(works.job(work=work))
    assert caught.value.field == f"kubernetesJob.template.{field}"
    assert caught.value.reason == "InvalidSpec"
    assert words in str(caught.value)


ALLOWED: dict[str, works.Object] = {
    "the least": works.template(),
    "what is forced anyway": {"backoffLimit": 0, "podReplacementPolicy": "Failed", **pod(restartPolicy="Never")},
    "one of one": works.template(completions=1, parallelism=1),
    "an Indexed Job": works.template(completionMode="Indexed", completions=8, parallelism=4),
    "a deadline and a time to live": works.template(activeDeadlineSeconds=60, ttlSecondsAfterFinished=10),
    "a failure policy that ends it": rules("FailJob"),
    "a sidecar": pod(initContainers=[{"name": "proxy", "restartPolicy": "Always"}]),
}  # fmt: skip


@pytest.mark.parametrize("work", ALLOWED.values(), ids=ALLOWED.keys())
def test_it_is_allowed(work: works.Object) -> None:
    validate(works.job(work=work))


def test_other_work_is_refused() -> None:
    job = works.job()
    other = job.model_copy(update={"spec": job.spec.model_copy(update={"kubernetes_job": None})})
    with pytest.raises(InvalidWork, match="kubernetesJob only"):
        validate(other)
