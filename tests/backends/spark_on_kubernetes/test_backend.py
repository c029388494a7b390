"""The verbs, for drivers: what a release leaves, and that a kind is asked about its own objects only."""

from __future__ import annotations

import copy

import pytest

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Backend, Deferred, Offer, Rejected, Verdict
from durablejob_controller.backends.kubernetes import plugin
from durablejob_controller.backends.kubernetes_objects.objects import HOLD, OWNER, RELEASED
from durablejob_controller.backends.spark_on_kubernetes.manifest import CONTAINER
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.errors import BackendUnavailable, Conflict, Forbidden, InvalidBackend, InvalidWork
from tests.backends.kubernetes_job import works as job_works
from tests.backends.spark_on_kubernetes import works
from tests.backends.spark_on_kubernetes.scripted_pods import ScriptedPods
from tests.backends.spark_standalone.scripted_gate import Paths

SPARK = works.job()
NAME = f"dj-{works.KEY}"


def make(cluster: ScriptedPods, spec: JobBackendSpec = works.SPEC) -> Backend:
    return plugin.make(spec, Surroundings("c-uid", "", Paths(), kubernetes=cluster, namespace="data", timeout=1.0))


async def test_a_driver_is_reserved_inert_and_activated_once() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    offers = [await backend.reserve(SPARK, works.KEY) for _ in range(2)]
    assert offers[0] == offers[1]
    assert isinstance(offers[0], Offer)
    submission = await job_works.reserve(SPARK, backend)
    for _ in range(3):
        await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    assert driver["spec"]["schedulingGates"] == []
    assert driver["metadata"]["finalizers"] == [HOLD]
    assert "ownerReferences" not in driver["metadata"]
    assert cluster.changes == 1


async def test_gates_and_finalizers_of_others_stay() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    driver = cluster.pods[NAME]
    driver["spec"]["schedulingGates"].insert(0, {"name": "example.com/approval"})
    driver["metadata"]["finalizers"] = ["example.com/theirs"]
    await backend.submit(submission)
    assert driver["spec"]["schedulingGates"] == [{"name": "example.com/approval"}]
    assert driver["metadata"]["finalizers"] == ["example.com/theirs", HOLD]


async def test_a_jobs_pod_that_looks_like_a_driver_is_none() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    await backend.submit(await job_works.reserve(SPARK, backend))
    driver = cluster.pods[NAME]
    meta = {**copy.deepcopy(driver["metadata"]), "name": f"{NAME}-x7k2p", "uid": "p1"}
    cluster.pods[meta["name"]] = {**copy.deepcopy(driver), "metadata": meta}
    (found,) = (await backend.observe()).runs.values()
    assert [run.id for run in found] == [driver["metadata"]["uid"]]
    assert [left.id for left in await backend.leftovers()] == [driver["metadata"]["uid"]]


async def test_a_release_takes_the_executors_away_and_gives_the_driver_back_to_its_durablejob() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    driver["status"] = {"phase": "Succeeded"}
    await backend.release(SPARK, submission.current)
    assert cluster.cleared == [f"spark-app-selector=dj-{works.KEY},spark-role=executor"]
    assert driver["metadata"]["finalizers"] == []
    assert driver["metadata"]["labels"][RELEASED] == "true"
    (owner,) = driver["metadata"]["ownerReferences"]
    assert owner["uid"] == SPARK.metadata.uid


NEITHER = SPARK.model_copy(update={"spec": SPARK.spec.model_copy(update={"spark": None})})
NEXT = {"another kind": job_works.job(), "no kind of this backend": NEITHER}


@pytest.mark.parametrize("job", NEXT.values(), ids=NEXT.keys())
async def test_an_attempt_is_let_go_although_the_next_ones_work_is_of(job: DurableJob) -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.close(job, submission.current)
    assert cluster.pods == {}
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    cluster.finish(works.KEY)
    await make(cluster).release(job, submission.current)
    assert cluster.pods[NAME]["metadata"]["finalizers"] == []


async def test_one_that_runs_on_belongs_to_nobody() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    driver = cluster.pods[f"dj-{works.KEY}"]
    driver["status"] = {"phase": "Running"}
    await backend.release(SPARK, submission.current)
    assert driver["metadata"]["finalizers"] == []
    assert cluster.cleared == []  # its executors run on with it
    assert "ownerReferences" not in driver["metadata"]


async def test_what_others_have_put_beside_it_ends_with_it() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    submission = await job_works.reserve(SPARK, backend)
    await backend.submit(submission)
    end = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-01-01T00:00:00Z"}}
    beside = {"name": "proxy", "state": {"running": {}}}
    cluster.pods[NAME]["status"]["containerStatuses"] = [{"name": CONTAINER, "state": end}, beside]
    ((run,),) = (await backend.observe()).runs.values()
    assert run.verdict is Verdict.SUCCEEDED
    await backend.release(SPARK, submission.current)
    assert cluster.pods == {}


async def test_what_is_left_of_a_durablejob_that_is_no_more_is_removed_once_it_has_ended() -> None:
    cluster = ScriptedPods()
    backend = make(cluster)
    await backend.submit(await job_works.reserve(SPARK, backend))
    (found,) = await backend.leftovers()
    await backend.discard(found)
    assert cluster.pods  # it runs
    cluster.finish(works.KEY)
    await backend.discard(found)
    assert cluster.pods == {}
    assert cluster.cleared == [f"spark-app-selector=dj-{works.KEY},spark-role=executor"]


async def test_what_only_says_to_be_a_driver_of_ours_is_no_leftover() -> None:
    """A name that is none of ours, which would be taken for the application's whose executors are to go."""
    cluster = ScriptedPods()
    backend = make(cluster)
    await backend.submit(await job_works.reserve(SPARK, backend))
    cluster.finish(works.KEY)
    pod = cluster.pods.pop(NAME)
    pod["metadata"]["name"] = "somebodys-application"
    cluster.pods["somebodys-application"] = pod
    assert await backend.leftovers() == ()


SHOWN = JobBackendSpec.model_validate(
    {
        "kubernetes": {
            "spark": {
                "image": "i",
                "ui": {"ingress": {"host": "{name}.example.invalid", "className": "c", "tlsSecretName": "t"}},
            }
        }
    }
)


async def test_its_ui_is_led_to_from_before_it_starts_until_it_has_ended() -> None:
    cluster = ScriptedPods()
    backend = make(cluster, SHOWN)
    submission = await job_works.reserve(SPARK, backend)
    assert await backend.reserve(SPARK, works.KEY) == await backend.reserve(SPARK, works.KEY)
    uid = cluster.pods[NAME]["metadata"]["uid"]
    service, ingress = cluster.beside[f"services/dj-ui-{uid}"], cluster.beside[f"ingresses/dj-ui-{uid}"]
    for one in (service, ingress):
        assert one["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": NAME, "uid": uid}]
    labels = cluster.pods[NAME]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert ingress["spec"]["rules"][0]["host"] == f"{NAME}.example.invalid"
    await backend.submit(submission)
    ((run,),) = (await backend.observe()).runs.values()
    assert run.tracking_url == f"https://{NAME}.example.invalid/"
    cluster.finish(works.KEY)
    await backend.release(SPARK, submission.current)
    assert cluster.beside == {}


async def test_without_a_ui_nothing_is_made_beside_it() -> None:
    cluster = ScriptedPods()
    await make(cluster, SHOWN).reserve(works.job(conf={"spark.ui.enabled": "false"}), works.KEY)
    assert cluster.beside == {}
    assert set(cluster.pods) == {NAME}


async def test_a_pod_that_is_made_anew_has_a_service_of_its_own() -> None:
    cluster = ScriptedPods()
    backend = make(cluster, SHOWN)
    await backend.reserve(SPARK, works.KEY)
    cluster.pods.clear()
    offer = await backend.reserve(SPARK, works.KEY)
    assert isinstance(offer, Offer)
    service = cluster.beside[f"services/dj-ui-{offer.object_uid}"]
    assert service["metadata"]["ownerReferences"][0]["uid"] == offer.object_uid


QUOTA = 'pods "dj-x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=5, limited: pods=5'
UNCOUNTED = 'pods "dj-x" is forbidden: status unknown for quota: few, resources: pods'


@pytest.mark.parametrize("words", [QUOTA, UNCOUNTED], ids=["used up", "not counted yet"])
@pytest.mark.parametrize("what", ["pods", "services"])
async def test_a_quota_that_is_used_up_is_waited_for(what: str, words: str) -> None:
    cluster = ScriptedPods(errors={f"POST {what}": [Forbidden(words, 403)]})
    backend = make(cluster, SHOWN)
    answer = await backend.reserve(SPARK, works.KEY)
    assert isinstance(answer, Deferred)
    assert (answer.reason, "quota: few" in answer.message) == ("QuotaExceeded", True)
    assert cluster.pods == {}  # what waits takes nothing from others
    assert isinstance(await backend.reserve(SPARK, works.KEY), Offer)


async def test_what_cannot_be_removed_is_not_told_as_waiting_without_anything() -> None:
    errors = {"POST services": [Forbidden(QUOTA, 403)], "DELETE pods": [Conflict("it has changed", 409)]}
    cluster = ScriptedPods(errors=errors)
    backend = make(cluster, SHOWN)
    with pytest.raises(BackendUnavailable, match="has changed meanwhile"):
        await backend.reserve(SPARK, works.KEY)
    assert isinstance(await backend.reserve(SPARK, works.KEY), Offer)


async def test_what_takes_the_last_room_itself_is_adopted() -> None:
    cluster = ScriptedPods()
    first = await make(cluster, SHOWN).reserve(SPARK, works.KEY)
    cluster.errors["POST pods"] = [Forbidden(QUOTA, 403)]  # an API server asks quotas before it looks at names
    assert await make(cluster, SHOWN).reserve(SPARK, works.KEY) == first
    cluster.pods[NAME]["metadata"]["labels"][OWNER] = "somebody-else"
    cluster.errors["POST pods"] = [Forbidden(QUOTA, 403)]
    answer = await make(cluster, SHOWN).reserve(SPARK, works.KEY)
    assert isinstance(answer, Rejected)
    assert answer.reason == "NameTaken"


@pytest.mark.parametrize("what", ["pods", "services", "ingresses"])
async def test_what_was_not_made_for_a_quota_that_many_change_is_made_at_the_next_try(what: str) -> None:
    changed = Conflict('Operation cannot be fulfilled on resourcequotas "few": the object has been modified', 409)
    cluster = ScriptedPods(errors={f"POST {what}": [changed]})
    backend = make(cluster, SHOWN)
    with pytest.raises(BackendUnavailable, match="the quota"):
        await backend.reserve(SPARK, works.KEY)
    assert isinstance(await backend.reserve(SPARK, works.KEY), Offer)
    assert {name.partition("/")[0] for name in cluster.beside} == {"services", "ingresses"}


async def test_where_its_ui_is_refused_for_good_nothing_stays() -> None:
    refused = Forbidden('admission webhook "hosts.example" denied the request: not this host', 403)
    cluster = ScriptedPods(errors={"POST ingresses": [refused]})
    answer = await make(cluster, SHOWN).reserve(SPARK, works.KEY)
    assert isinstance(answer, Rejected)
    assert cluster.pods == {}
    assert cluster.ledger == []


@pytest.mark.parametrize("right", ["create services", "delete ingresses", "deletecollection pods"])
async def test_it_says_which_right_is_lacking(right: str) -> None:
    found = await make(ScriptedPods(denied={right}), SHOWN).probe()
    assert (found.ready, found.reason) == (False, "MissingRights")
    assert right in found.message


async def test_rights_on_services_are_needed_for_a_ui_only() -> None:
    assert (await make(ScriptedPods(denied={"create services", "create ingresses"})).probe()).ready


async def test_without_settings_for_spark_a_backend_runs_jobs_only() -> None:
    backend = make(ScriptedPods(), job_works.SPEC)
    with pytest.raises(InvalidWork, match=r"runs spec\.kubernetesJob only"):
        backend.validate(SPARK)
    make(ScriptedPods()).validate(SPARK)


def test_defaults_that_cannot_work_refuse_the_backend() -> None:
    given = {"kubernetes": {"spark": {}}, "defaults": {"sparkConf": {"spark.master": "local"}}}
    with pytest.raises(InvalidBackend):
        make(ScriptedPods(), JobBackendSpec.model_validate(given))
