"""Jobs as a kind of object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from durablejob_api.job import DurableJob
from durablejob_controller.backends.contract import Run
from durablejob_controller.backends.kubernetes_job import manifest, reading, validation
from durablejob_controller.backends.kubernetes_objects import objects
from durablejob_controller.backends.kubernetes_objects.calls import Calls
from durablejob_controller.backends.kubernetes_objects.kind import Companion, Right
from durablejob_controller.backends.kubernetes_objects.objects import Object
from durablejob_controller.backends.kubernetes_objects.tails import Culprit, Tails

_SELECTED = 100
"""Jobs whose pods are asked for at once: their uids are part of the URL."""


class JobKind:
    """batch/v1 Jobs."""

    name = "Job"
    field = "spec.kubernetesJob.template"
    collection = "/apis/batch/v1{}/jobs"
    selector = objects.LISTED
    rights: Sequence[Right] = (
        *(("batch", "jobs", verb) for verb in ("create", "get", "list", "patch", "delete")),
        ("", "pods", "list"),
    )

    assumption = (
        "the cluster's Job controller makes one pod for a Job (its documentation says that it may sometimes make two), "
        "of an Indexed Job one for each index; that a Job which somebody suspends once it has begun (Kueue, when it "
        "preempts) is seen here before it is resumed"
    )

    def __init__(self, start_deadline: int) -> None:
        """``start_deadline``: seconds that pods may need to start on their nodes."""
        self._start_deadline = start_deadline

    def suits(self, job: DurableJob) -> bool:
        return job.spec.kubernetes_job is not None

    def validate(self, job: DurableJob) -> None:
        validation.validate(job)

    def body(self, job: DurableJob, key: str) -> Object:
        return manifest.body(job, key)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return manifest.body_hash(job, key)

    def activation(self, job: DurableJob, found: Object, uid: str, hash_: str) -> list[Object]:
        return manifest.activation(job, found, uid, hash_)

    def is_inert(self, found: Object) -> bool:
        return manifest.is_inert(found)

    def started(self, found: Object) -> str | None:
        return reading.started(found)

    def companions(self, job: DurableJob, made: Object) -> Iterable[Companion]:
        return ()

    async def runs(self, calls: Calls, tails: Tails, namespace: str | None, found: Sequence[Object]) -> list[Run]:
        """Pods are asked for only of Jobs that need it, and after the Jobs: one that is deleted gets no new ones."""
        pods: defaultdict[str, list[Object]] = defaultdict(list)
        needy = [job["metadata"]["uid"] for job in found if reading.needs_pods(job)]
        for start in range(0, len(needy), _SELECTED):
            wanted = ",".join(needy[start : start + _SELECTED])
            for pod in await calls.pods(namespace, f"{reading.CONTROLLER_UID} in ({wanted})"):
                labels = pod["metadata"].get("labels") or {}
                pods[labels.get(reading.CONTROLLER_UID, "")].append(pod)
        guilty: dict[str, Culprit] = {}
        for job in found:
            culprit = reading.culprit(job, pods[job["metadata"]["uid"]])
            if culprit is not None:
                guilty[job["metadata"]["uid"]] = culprit
        lines = await tails.of(guilty)
        uids = [job["metadata"]["uid"] for job in found]
        return [
            reading.run_of(job, pods[uid], self._start_deadline, lines.get(uid))
            for job, uid in zip(found, uids, strict=True)
        ]

    def stays(self, found: Object) -> bool:
        """No: its time to live is its own."""
        return False

    async def clear(self, calls: Calls, found: Object) -> None:
        """Nothing: its pods stay with it, for people to read their logs."""
