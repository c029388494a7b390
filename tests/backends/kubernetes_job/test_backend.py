"""The verbs, on a cluster in memory that can be made to answer oddly."""

from __future__ import annotations

import pytest

from durablejob_controller.backends.contract import (
    Accepted,
    Backend,
    Deferred,
    Offer,
    Probe,
    Rejected,
    Submission,
    Unclear,
    Verdict,
)
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_job import manifest
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import (
    BackendUnavailable,
    Conflict,
    CredentialsRefused,
    Forbidden,
    InvalidBackend,
    KubernetesUnavailable,
    Refused,
)
from tests.backends.kubernetes_job import works
from tests.backends.kubernetes_job.scripted_cluster import ScriptedCluster
from tests.backends.spark_standalone.scripted_gate import Paths

JOB = works.job()
KEY = works.key(JOB)
RBAC = 'jobs.batch is forbidden: User "system:x" cannot create resource "jobs" in API group "batch" at the scope'
QUOTA = 'jobs.batch "dj-x" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: 5, limited: 5'
REQUIRED = 'Job.batch "dj-x" is invalid: spec.template.spec.containers[0].image: Required value'


def make(cluster: ScriptedCluster, namespace: str | None = works.NAMESPACE) -> Backend:
    surroundings = Surroundings("c-uid", "", Paths(), kubernetes=cluster, namespace=namespace, timeout=1.0)
    return plugin.make(works.SPEC, surroundings)


async def submitted(cluster: ScriptedCluster, backend: Backend) -> Submission:
    submission = await works.reserve(JOB, backend)
    assert isinstance(await backend.submit(submission), Accepted)
    return submission


# --- reserve -------------------------------------------------------------------------------------------


async def test_reserving_again_adopts_what_is_there() -> None:
    cluster = ScriptedCluster()
    offers = [await make(cluster).reserve(JOB, KEY) for _ in range(3)]
    assert offers == [Offer(object_uid=cluster.of(KEY)["metadata"]["uid"], incarnation="c-uid")] * 3


async def test_a_post_whose_answer_was_lost_is_found_by_the_next() -> None:
    cluster = ScriptedCluster()
    made = cluster.add(manifest.body(JOB, KEY))
    offer = await make(cluster).reserve(JOB, KEY)
    assert isinstance(offer, Offer)
    assert offer.object_uid == made["metadata"]["uid"]


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (Refused(REQUIRED, 422), "InvalidSpec", "containers[0].image: Required value"),
        (Refused('strict decoding error: unknown field "spec.foo"', 400), "InvalidSpec", 'unknown field "spec.foo"'),
        (Forbidden('admission webhook "hours.example" denied the request: not today', 403), "Rejected", "not today"),
    ],
    ids=["422", "400", "policy"],
)
async def test_what_the_api_server_refuses_for_certain_is_rejected_in_its_words(
    error: Exception, reason: str, words: str
) -> None:
    answer = await make(ScriptedCluster(errors={"POST": [error]})).reserve(JOB, KEY)
    assert isinstance(answer, Rejected)
    assert answer.reason == reason
    assert words in answer.message
    assert "spec.kubernetesJob.template" in answer.message


async def test_a_quota_that_is_used_up_is_waited_for() -> None:
    backend = make(ScriptedCluster(errors={"POST": [Forbidden(QUOTA, 403)]}))
    answer = await backend.reserve(JOB, KEY)
    assert isinstance(answer, Deferred)
    assert (answer.reason, "exceeded quota: few" in answer.message) == ("QuotaExceeded", True)
    assert isinstance(await backend.reserve(JOB, KEY), Offer)


async def test_what_takes_the_last_room_itself_is_adopted() -> None:
    cluster = ScriptedCluster()
    first = await make(cluster).reserve(JOB, KEY)
    cluster.errors["POST"] = [Forbidden(QUOTA, 403)]  # an API server asks quotas before it looks at names
    assert await make(cluster).reserve(JOB, KEY) == first


@pytest.mark.parametrize("error", [KubernetesUnavailable("x", 500), KubernetesUnavailable("x", 429)])
async def test_a_doubt_is_no_refusal(error: Exception) -> None:
    with pytest.raises(BackendUnavailable, match="HTTP"):
        await make(ScriptedCluster(errors={"POST": [error]})).reserve(JOB, KEY)


async def test_a_right_that_the_controller_lacks_is_not_the_jobs_fault() -> None:
    with pytest.raises(CredentialsRefused, match="lacks the right create jobs"):
        await make(ScriptedCluster(errors={"POST": [Forbidden(RBAC, 403)]})).reserve(JOB, KEY)


async def test_a_name_that_somebody_else_has_taken_is_said() -> None:
    cluster = ScriptedCluster()
    cluster.add({"metadata": {"name": f"dj-{KEY}", "namespace": works.NAMESPACE}, "spec": {"suspend": True}})
    answer = await make(cluster).reserve(JOB, KEY)
    assert isinstance(answer, Rejected)
    assert answer.reason == "NameTaken"


async def test_an_object_of_the_same_key_but_another_durablejob_is_not_adopted() -> None:
    cluster = ScriptedCluster()
    made = cluster.add(manifest.body(JOB, KEY))
    made["metadata"]["labels"][objects.OWNER] = "another"
    assert isinstance(await make(cluster).reserve(JOB, KEY), Rejected)


async def test_one_that_was_activated_is_not_adopted() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await submitted(cluster, backend)
    with pytest.raises(BackendUnavailable, match="not inert"):
        await backend.reserve(JOB, KEY)


async def test_one_of_another_form_is_made_anew() -> None:
    cluster = ScriptedCluster()
    made = cluster.add(manifest.body(JOB, KEY))
    made["metadata"]["annotations"][objects.HASH] = "of an older controller"
    with pytest.raises(BackendUnavailable, match="made anew"):
        await make(cluster).reserve(JOB, KEY)
    assert cluster.jobs == {}
    assert isinstance(await make(cluster).reserve(JOB, KEY), Offer)


async def test_one_that_is_being_deleted_is_waited_for() -> None:
    cluster = ScriptedCluster()
    made = cluster.add(manifest.body(JOB, KEY))
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made["metadata"]["finalizers"] = ["foregroundDeletion"]
    with pytest.raises(BackendUnavailable, match="being deleted"):
        await make(cluster).reserve(JOB, KEY)


async def test_unknown_fields_are_asked_to_be_errors() -> None:
    cluster = ScriptedCluster()
    await make(cluster).reserve(JOB, KEY)
    assert cluster.asked[0][2] == {"fieldValidation": "Strict"}


# --- submit --------------------------------------------------------------------------------------------


async def test_the_activation_holds_the_object_and_drops_its_owner() -> None:
    cluster = ScriptedCluster()
    await submitted(cluster, make(cluster))
    meta = cluster.of(KEY)["metadata"]
    assert meta["finalizers"] == [objects.HOLD]
    assert "ownerReferences" not in meta
    assert cluster.ledger == [KEY]


async def test_a_late_activation_of_another_uid_does_nothing() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    late = await works.reserve(JOB, backend)
    cluster.jobs.clear()
    again = cluster.add(manifest.body(JOB, KEY))
    assert isinstance(await backend.submit(late), Unclear)
    assert cluster.ledger == []
    assert manifest.is_inert(again)


async def test_a_late_activation_does_not_hold_what_was_released() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.finish(KEY)
    await backend.release(JOB, submission.current)
    assert await backend.submit(submission) == Accepted(submission.reservation.object_uid)
    assert not objects.is_held(cluster.of(KEY))


async def test_an_object_of_another_form_is_not_activated() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)
    cluster.of(KEY)["metadata"]["annotations"][objects.HASH] = "another"
    assert isinstance(await backend.submit(submission), Rejected)
    assert cluster.ledger == []


async def test_an_object_that_is_being_deleted_is_not_activated() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)
    cluster.of(KEY)["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/x"])
    assert isinstance(await backend.submit(submission), Unclear)


async def test_where_the_refusal_cannot_be_explained_it_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)

    def refuse(*_: object) -> None:
        cluster.errors["GET"] = [KubernetesUnavailable("x", 500)]
        raise Refused("no", 422)

    monkeypatch.setattr(cluster, "_patch", refuse)
    assert isinstance(await backend.submit(submission), Unclear)


async def test_a_refusal_counts_only_of_what_has_not_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)
    patch = cluster._patch

    def changed(job: works.Object, body: object, content_type: str) -> None:
        monkeypatch.setattr(cluster, "_patch", patch)
        job["metadata"] |= {"resourceVersion": "later", "finalizers": ["example.com/theirs"]}
        patch(job, body, content_type)

    monkeypatch.setattr(cluster, "_patch", changed)
    assert isinstance(await backend.submit(submission), Accepted)
    assert cluster.of(KEY)["metadata"]["finalizers"] == ["example.com/theirs", objects.HOLD]
    assert cluster.ledger == [KEY]


async def test_what_changes_all_the_time_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)
    versions = iter(range(1000))
    patch = cluster._patch

    def changed(job: works.Object, body: object, content_type: str) -> None:
        job["metadata"]["resourceVersion"] = f"later-{next(versions)}"
        patch(job, body, content_type)

    monkeypatch.setattr(cluster, "_patch", changed)
    assert isinstance(await backend.submit(submission), Unclear)
    assert cluster.ledger == []


async def test_a_missing_right_at_the_activation_is_a_doubt() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await works.reserve(JOB, backend)
    cluster.errors["PATCH"] = [Forbidden(RBAC.replace("create", "patch"), 403)]
    assert isinstance(await backend.submit(submission), Unclear)


# --- look ----------------------------------------------------------------------------------------------


async def test_one_list_is_enough_while_all_pods_are_ready() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    await submitted(cluster, backend)
    cluster.asked.clear()
    await backend.observe()
    assert [path for _, path, _ in cluster.asked] == ["/apis/batch/v1/namespaces/data/jobs"]
    cluster.finish(KEY)
    await backend.observe()
    assert [path for _, path, _ in cluster.asked][-1] == "/api/v1/namespaces/data/pods"


async def test_what_was_released_is_found_by_its_name_and_listed_no_more() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.finish(KEY)
    await backend.release(JOB, submission.current)
    assert (await backend.observe()).runs == {}
    (run,) = (await backend.look_up(KEY, submission.current)).runs
    assert (run.verdict, run.held) == (Verdict.SUCCEEDED, False)


async def test_pods_are_asked_for_by_the_hundred() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    for number in range(250):
        job = works.job(f"job-{number}")
        await backend.submit(await works.reserve(job, backend))
        cluster.finish(works.key(job), "Failed", reason="BackoffLimitExceeded")
    cluster.asked.clear()
    found = await backend.observe()
    assert len(found.runs) == 250
    assert [path.rpartition("/")[2] for _, path, _ in cluster.asked] == ["jobs", "pods", "pods", "pods"]


async def test_an_impostor_without_our_labels_is_found_by_its_name_and_killed_by_its_uid() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    current = (await works.reserve(JOB, backend)).current
    cluster.jobs.clear()
    impostor = cluster.add({"metadata": {"name": f"dj-{KEY}", "namespace": "data", "labels": {}}, "spec": {}})
    (run,) = (await backend.look_up(KEY, current)).runs
    assert (run.id, run.active) == (impostor["metadata"]["uid"], True)
    await backend.kill(run.id)
    assert cluster.jobs == {}


async def test_a_kill_never_reaches_another_uid() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.jobs.clear()
    other = cluster.add(manifest.body(JOB, KEY))
    await backend.kill(submission.reservation.object_uid or "")
    assert "deletionTimestamp" not in other["metadata"]


async def test_a_kill_after_a_restart_finds_the_object_first() -> None:
    cluster = ScriptedCluster()
    submission = await submitted(cluster, make(cluster))
    restarted = make(cluster)
    await restarted.kill(submission.reservation.object_uid or "")
    (run,) = (await restarted.look_up(KEY, submission.current)).runs
    assert run.verdict is Verdict.DELETED
    assert run.held


async def test_a_cluster_backend_looks_in_all_namespaces_until_it_knows_where() -> None:
    cluster = ScriptedCluster()
    submission = await submitted(cluster, make(cluster, None))
    cluster.asked.clear()
    restarted = make(cluster, None)
    for _ in range(2):
        (run,) = (await restarted.look_up(KEY, submission.current)).runs
        assert run.namespace == works.NAMESPACE
    asked = [(path, (params or {}).get("fieldSelector")) for _, path, params in cluster.asked]
    assert asked == [
        ("/apis/batch/v1/jobs", f"metadata.name=dj-{KEY}"),
        (f"/apis/batch/v1/namespaces/data/jobs/dj-{KEY}", None),
    ]


@pytest.mark.parametrize("broken", [{"items": None}, {"kind": "Table"}, {"items": [{"metadata": {}}]}, {"items": [7]}])
async def test_half_a_list_is_no_list(broken: works.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ScriptedCluster()
    answer = {"kind": "JobList", "metadata": {}, "items": [], **broken}
    monkeypatch.setattr(cluster, "_list", lambda *_: answer)
    with pytest.raises(BackendUnavailable, match="not a"):
        await make(cluster).observe()


async def test_a_list_is_read_to_its_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ScriptedCluster()
    pages = []
    for number in range(3):
        job = manifest.body(works.job(f"job-{number}"), f"key-{number}")
        job["metadata"]["uid"] = f"o{number}"
        pages.append({"kind": "JobList", "metadata": {"continue": f"p{number}"}, "items": [job]})
    pages[-1]["metadata"] = {}
    answers = iter(pages)
    monkeypatch.setattr(cluster, "_list", lambda *_: next(answers))
    assert set((await make(cluster).observe()).runs) == {"key-0", "key-1", "key-2"}
    assert [(params or {}).get("continue") for _, _, params in cluster.asked] == [None, "p0", "p1"]


# --- close and release ---------------------------------------------------------------------------------


async def test_closing_does_not_touch_what_runs() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    await backend.close(JOB, submission.current)
    assert "deletionTimestamp" not in cluster.of(KEY)["metadata"]


async def test_a_finalizer_of_somebody_else_stays() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.of(KEY)["metadata"]["finalizers"].append("example.com/theirs")
    cluster.finish(KEY)
    await backend.release(JOB, submission.current)
    assert cluster.of(KEY)["metadata"]["finalizers"] == ["example.com/theirs"]


async def test_a_release_that_loses_against_another_write_is_tried_again() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.errors["PATCH"] = [Conflict("changed", 409), Conflict("changed", 409)]
    await backend.release(JOB, submission.current)
    assert not objects.is_held(cluster.of(KEY))


async def test_only_the_recorded_object_is_released() -> None:
    cluster = ScriptedCluster()
    backend = make(cluster)
    submission = await submitted(cluster, backend)
    cluster.of(KEY)["metadata"]["uid"] = "another"
    await backend.release(JOB, submission.current)
    assert objects.is_held(cluster.of(KEY))


# --- what it is ----------------------------------------------------------------------------------------


async def test_rights_that_are_missing_are_named_before_the_first_job() -> None:
    probe = await make(ScriptedCluster(denied={"patch jobs", "list pods"})).probe()
    assert (probe.ready, probe.reason) == (False, "MissingRights")
    assert "patch jobs.batch, list pods; bind it to a role" in probe.message
    assert "in namespace data" in probe.message


async def test_an_old_api_server_is_not_used() -> None:
    probe = await make(ScriptedCluster(version="v1.31.9")).probe()
    assert (probe.ready, probe.reason) == (False, "TooOld")


async def test_a_cluster_is_the_same_for_all_its_backends_unless_it_is_named() -> None:
    cluster = ScriptedCluster()
    assert make(cluster).cluster_id == make(cluster, None).cluster_id == "kubernetes-c-uid"


POLICY: works.Object = {"spec": {}}
BINDING: works.Object = {"spec": {"policyName": "dj", "validationActions": ["Deny"]}}
IN_FORCE = {"validatingadmissionpolicies/dj": POLICY, "validatingadmissionpolicybindings/dj": BINDING}


async def probed(policies: dict[str, works.Object], policy: str = "dj") -> Probe:
    cluster = ScriptedCluster(policies=policies)
    surroundings = Surroundings("c-uid", "", Paths(), kubernetes=cluster, timeout=1.0, admission_policy=policy)
    return await plugin.make(works.SPEC, surroundings).probe()


async def test_with_its_admission_policy_in_force_it_is_ready() -> None:
    probe = await probed(IN_FORCE)
    assert probe.ready
    assert "policy" not in probe.message


@pytest.mark.parametrize(
    "policies",
    [
        {},
        {"validatingadmissionpolicies/dj": POLICY},
        {"validatingadmissionpolicybindings/dj": BINDING},
        {**IN_FORCE, "validatingadmissionpolicybindings/dj": {"spec": {**BINDING["spec"], "policyName": "other"}}},
        {
            **IN_FORCE,
            "validatingadmissionpolicybindings/dj": {"spec": {**BINDING["spec"], "validationActions": ["Audit"]}},
        },
    ],
    ids=["nothing", "no binding", "no policy", "another's binding", "a binding that only notes"],
)
async def test_without_the_admission_policy_that_it_was_told_of_it_is_not_ready(
    policies: dict[str, works.Object],
) -> None:
    probe = await probed(policies)
    assert (probe.ready, probe.reason) == (False, "AdmissionPolicyMissing")
    assert "ValidatingAdmissionPolicy dj" in probe.message


class Unreadable(ScriptedCluster):
    """The controller's account may not see policies."""

    def _policy(self, path: str) -> works.Object:
        raise Forbidden('User "dj" cannot get resource "validatingadmissionpolicies"', 403)


async def test_rights_that_are_missing_come_before_a_policy_that_cannot_be_read() -> None:
    cluster = Unreadable(denied={"create jobs"})
    surroundings = Surroundings("c-uid", "", Paths(), kubernetes=cluster, timeout=1.0, admission_policy="dj")
    probe = await plugin.make(works.SPEC, surroundings).probe()
    assert (probe.ready, probe.reason) == (False, "MissingRights")


async def test_told_of_no_admission_policy_it_says_so() -> None:
    probe = await probed(IN_FORCE, policy="")
    assert probe.ready
    assert "no admission policy" in probe.message


def test_a_controller_without_a_client_says_so() -> None:
    with pytest.raises(InvalidBackend, match="no Kubernetes client"):
        plugin.make(works.SPEC, Surroundings("c", "", Paths()))
