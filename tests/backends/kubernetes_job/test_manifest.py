"""The inert Job, its hash, and its activation."""

from __future__ import annotations

import pytest

from durablejob_api.job import DurableJob
from durablejob_controller.backends.kubernetes_job import manifest
from durablejob_controller.backends.kubernetes_objects import objects
from tests.backends.kubernetes_job import works

QUEUE = {"kueue.x-k8s.io/queue-name": "night", "kueue.x-k8s.io/priority-class": "low", "team": "a"}


def test_an_inert_job_is_suspended_owned_and_held_by_nobody() -> None:
    job = works.job()
    body = manifest.body(job, works.key(job))
    meta = body["metadata"]
    assert meta["name"] == f"dj-{works.key(job)}"
    assert [owner["uid"] for owner in meta["ownerReferences"]] == [job.metadata.uid]
    assert meta["labels"] == {objects.KEY: works.key(job), objects.OWNER: job.metadata.uid}
    assert "finalizers" not in meta
    assert body["spec"]["suspend"] is True
    assert manifest.is_inert(body)
    assert objects.is_of(body, job, works.key(job))


def test_what_keeps_a_program_from_starting_again_is_set_where_it_was_left_out() -> None:
    spec = manifest.body(works.job(), "k")["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["metadata"]["labels"][objects.KEY] == "k"


def test_a_finished_job_lives_as_long_as_its_durablejob_unless_it_says_otherwise() -> None:
    job = works.job(ttlSecondsAfterFinished=77)
    own = works.job(work=works.template(ttlSecondsAfterFinished=5))
    assert manifest.body(job, "k")["spec"]["ttlSecondsAfterFinished"] == 77
    assert manifest.body(own, "k")["spec"]["ttlSecondsAfterFinished"] == 5


def test_the_users_own_pod_metadata_is_kept_and_cannot_replace_ours() -> None:
    labels = {"team": "a", objects.OWNER: "another"}
    pod = {"metadata": {"labels": labels, "annotations": {"x": "y"}}, "spec": {"containers": [{"name": "m"}]}}
    made = manifest.body(works.job(work={"template": pod}), "k")["spec"]["template"]["metadata"]
    assert made["labels"] == {"team": "a", objects.OWNER: "uid-of-load", objects.KEY: "k"}
    assert made["annotations"] == {"x": "y"}


def test_the_template_of_the_resource_is_not_changed() -> None:
    job = works.job()
    before = job.to_api()
    manifest.body(job, "k")
    assert job.to_api() == before


def test_the_hash_does_not_depend_on_the_order_of_fields_nor_on_the_version() -> None:
    job = works.job(work={"template": {"spec": {"containers": [{"name": "m", "image": "i"}]}}, "completions": 1})
    other = works.job(work={"completions": 1, "template": {"spec": {"containers": [{"image": "i", "name": "m"}]}}})
    newer = other.model_copy(update={"metadata": other.metadata.model_copy(update={"resource_version": "99"})})
    assert manifest.body_hash(job, "k") == manifest.body_hash(newer, "k")
    assert manifest.body(job, "k") == manifest.body(newer, "k")


@pytest.mark.parametrize(
    "other",
    [works.job(work=works.template("x")), works.job("other"), works.job(uid="u2"), works.job(labels=QUEUE)],
    ids=["arguments", "name", "uid", "queue"],
)
def test_another_job_has_another_hash(other: DurableJob) -> None:
    assert manifest.body_hash(works.job(), "k") != manifest.body_hash(other, "k")


def test_the_activation_names_the_object_by_its_uid_and_its_form() -> None:
    found = manifest.body(works.job(), "k")
    found["metadata"] |= {"resourceVersion": "7", "finalizers": ["example.com/theirs"]}
    patch = manifest.activation(works.job(), found, "o1", "hash")
    tests = {step["path"]: step["value"] for step in patch if step["op"] == "test"}
    assert tests == {
        "/metadata/uid": "o1",
        "/metadata/annotations/durablejob.io~1body-hash": "hash",
        "/metadata/ownerReferences/0/uid": "uid-of-load",
        "/metadata/resourceVersion": "7",
    }
    assert [step["op"] for step in patch] == ["test"] * 4 + ["remove", "add", "replace"]
    assert patch[-2]["value"] == ["example.com/theirs", objects.HOLD]
    assert patch[-1] == {"op": "replace", "path": "/spec/suspend", "value": False}


def test_a_job_for_a_queue_is_given_to_the_queue_still_suspended() -> None:
    job = works.job(labels=QUEUE)
    assert not any(name.startswith("kueue") for name in manifest.body(job, "k")["metadata"]["labels"])
    patch = manifest.activation(job, manifest.body(job, "k"), "o1", "h")
    changed = {step["path"]: step.get("value") for step in patch if step["op"] != "test"}
    assert changed == {
        "/metadata/ownerReferences": None,
        "/metadata/finalizers": [objects.HOLD],
        "/metadata/labels/kueue.x-k8s.io~1queue-name": "night",
        "/metadata/labels/kueue.x-k8s.io~1priority-class": "low",
    }
