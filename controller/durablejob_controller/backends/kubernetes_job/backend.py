"""The verbs of the contract, for Jobs of the controller's own cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Identity,
    Leftover,
    Offer,
    Phase,
    Probe,
    Rejected,
    Run,
    Sighting,
    Snapshot,
    Submission,
    Traits,
    Unclear,
)
from durablejob_controller.backends.kubernetes_job import manifest, reading, validation
from durablejob_controller.backends.kubernetes_job.calls import (
    JSON_PATCH,
    MERGE_PATCH,
    Calls,
    checked,
    delete_options,
    job_path,
    jobs_path,
)
from durablejob_controller.backends.kubernetes_job.manifest import Object
from durablejob_controller.backends.kubernetes_job.probing import probe
from durablejob_controller.backends.surroundings import KubernetesApi, Surroundings
from durablejob_controller.errors import BackendUnavailable, Conflict, Forbidden, KubernetesError, NotFound, Refused

_TRIES = 5
"""Times that a compare-and-swap on a Job is tried at once: its controller writes the status meanwhile."""
_SELECTED = 100
"""Jobs whose pods are asked for at once: their uids are part of the URL."""


class KubernetesJob:
    """Identity.OBJECT: an inert Job, activated by its uid."""

    traits = Traits(Identity.OBJECT, gated=False)

    def __init__(self, spec: JobBackendSpec, surroundings: Surroundings, kube: KubernetesApi) -> None:
        self._namespace = surroundings.namespace
        self._cluster_uid = surroundings.cluster_uid
        self._calls = Calls(kube, surroundings.timeout)
        self._where: dict[str, tuple[str, str]] = {}
        """Namespace and name of the Jobs that were seen last, by uid: a kill names the uid only."""
        self.cluster_id = spec.cluster_id or f"kubernetes-{surroundings.cluster_uid}"

    def validate(self, job: DurableJob) -> None:
        validation.validate(job)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return manifest.body_hash(job, key)

    async def probe(self) -> Probe:
        return await probe(self._calls, self._namespace, self._cluster_uid)

    # --- reserve and submit -----------------------------------------------------------------------------

    async def reserve(self, job: DurableJob, key: str) -> Offer | Rejected:
        """POST the inert Job, or adopt the one that an earlier POST has made.

        An object of another form (made by another version of the controller, or before the defaults changed) is
        removed, and ``BackendUnavailable`` raised: the next try makes today's.
        """
        body = manifest.body(job, key)
        namespace = str(job.metadata.namespace)
        try:
            # Strict: a field that the API server would drop silently is an error that names it.
            made = await self._calls.send("POST", jobs_path(namespace), params={"fieldValidation": "Strict"}, body=body)
        except Conflict:
            return await self._adopt(job, key, body["metadata"]["annotations"][manifest.HASH])
        except (Refused, Forbidden) as error:
            return _rejected(error)
        except NotFound as error:
            raise BackendUnavailable(f"there is no namespace {namespace}") from error
        return self._offer(checked(made))

    async def _adopt(self, job: DurableJob, key: str, body_hash: str) -> Offer | Rejected:
        namespace, name = str(job.metadata.namespace), manifest.name_of(key)
        found = await self._calls.get(namespace, name)
        if found is None:
            raise BackendUnavailable(f"the Job {name} has just gone")
        if not manifest.is_of(found, job, key):
            words = f"there is a Job {name} in namespace {namespace} that was not made for this DurableJob: remove it"
            return Rejected("NameTaken", words)
        if found["metadata"].get("deletionTimestamp"):
            raise BackendUnavailable(f"the Job {name} is being deleted; a new one is made when it is gone")
        offer = self._offer(found)
        if (found["metadata"].get("annotations") or {}).get(manifest.HASH) != body_hash:
            await self._remove_inert(found)
            raise BackendUnavailable(f"the Job {name} was of another form; it is made anew")
        return offer

    def _offer(self, found: Object) -> Offer:
        meta = found["metadata"]
        if not manifest.is_inert(found):
            raise BackendUnavailable(f"the Job {meta['name']} is not inert: somebody has activated it")
        self._remember([found])
        return Offer(object_uid=meta["uid"], incarnation=self._cluster_uid)

    async def submit(self, submission: Submission) -> Answer:
        """Activate the object of the recorded uid, if it is still inert and of the recorded form."""
        job, reservation = submission.job, submission.reservation
        namespace, name = str(job.metadata.namespace), manifest.name_of(submission.current.key)
        uid = reservation.object_uid or ""
        patch = manifest.activation(job, uid, reservation.body_hash)
        try:
            made = await self._calls.send("PATCH", job_path(namespace, name), body=patch, content_type=JSON_PATCH)
        except (NotFound, Conflict) as error:
            return Unclear(f"there was nothing to activate: HTTP {error.status}")
        except (Refused, Forbidden) as error:
            return await self._refused(job, uid, name, error)
        except BackendUnavailable as error:
            return Unclear(str(error))
        return Accepted(uid) if checked(made)["metadata"]["uid"] == uid else Unclear("another object answered")

    async def _refused(self, job: DurableJob, uid: str, name: str, error: KubernetesError) -> Answer:
        """Why the activation was refused: it has been done, its object is no more, or admission forbids it."""
        try:
            found = await self._calls.get(str(job.metadata.namespace), name)
        except BackendUnavailable as unread:
            return Unclear(str(unread))
        if found is None or found["metadata"]["uid"] != uid or found["metadata"].get("deletionTimestamp"):
            return Unclear("there was nothing to activate: the reserved object is no more")
        return _rejected(error) if manifest.is_inert(found) else Accepted(uid)

    # --- look -------------------------------------------------------------------------------------------

    async def observe(self) -> Snapshot:
        """One list of the Jobs of all attempts that are not released; and of pods, only of Jobs that need it."""
        jobs = await self._calls.jobs(self._namespace, labelSelector=manifest.LISTED)
        self._where = {}
        found: defaultdict[str, tuple[Run, ...]] = defaultdict(tuple)
        for job, run in await self._runs(jobs):
            found[reading.key_of(job) or ""] += (run,)
        return Snapshot(self._cluster_uid, dict(found))

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        """What has the name that belongs to ``key``, whoever made it.

        A ClusterJobBackend does not know the namespace of a Job that it has not seen, and asks in all.
        """
        name = manifest.name_of(key)
        uid = current.reservation.object_uid if current is not None and current.reservation is not None else None
        namespace = self._where[uid][0] if uid in self._where else self._namespace
        if namespace is None:
            jobs = await self._calls.jobs(None, fieldSelector=f"metadata.name={name}")
        else:
            one = await self._calls.get(namespace, name)
            jobs = [one] if one is not None else []
        return Sighting(tuple(run for _, run in await self._runs(jobs)), self._cluster_uid)

    async def _runs(self, jobs: list[Object]) -> list[tuple[Object, Run]]:
        """The runs that these Jobs are. The pods are asked for after the Jobs: one that is deleted gets no new ones."""
        pods: defaultdict[str, list[Object]] = defaultdict(list)
        try:
            needy = [job["metadata"]["uid"] for job in jobs if reading.needs_pods(job)]
            for start in range(0, len(needy), _SELECTED):
                wanted = ",".join(needy[start : start + _SELECTED])
                for pod in await self._calls.pods(self._namespace, f"{reading.CONTROLLER_UID} in ({wanted})"):
                    labels = pod["metadata"].get("labels") or {}
                    pods[labels.get(reading.CONTROLLER_UID, "")].append(pod)
            runs = [(job, reading.run_of(job, pods[job["metadata"]["uid"]])) for job in jobs]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BackendUnavailable("the API server's answer is not made of Jobs and pods") from error
        self._remember(jobs)
        return runs

    def _remember(self, jobs: Iterable[Object]) -> None:
        for job in jobs:
            meta = job["metadata"]
            self._where[meta["uid"]] = (meta["namespace"], meta["name"])

    # --- kill, close, release -----------------------------------------------------------------------------

    async def kill(self, run: str) -> None:
        """DELETE in the foreground: the Job stays until its pods are gone (and, once activated, until we release it).

        Said again of a Job that somebody has deleted in the background, it makes that a foreground deletion.
        """
        if run not in self._where:
            await self.observe()
        where = self._where.get(run)
        if where is not None:
            await self._delete(*where, delete_options(run, propagation="Foreground"))

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        """Remove the reserved object if it is inert: a uid does not come back."""
        uid = current.reservation.object_uid if current.reservation is not None else None
        for _ in range(_TRIES):
            found = await self._calls.get(str(job.metadata.namespace), manifest.name_of(current.key))
            if found is None or found["metadata"]["uid"] != uid or not manifest.is_inert(found):
                return
            if await self._remove_inert(found):
                return
        raise BackendUnavailable(f"the Job {manifest.name_of(current.key)} changes faster than it can be removed")

    async def release(self, job: DurableJob, current: Current) -> None:
        """Take our finalizer off the recorded object."""
        uid = current.reservation.object_uid if current.reservation is not None else None
        await self._let_go(str(job.metadata.namespace), manifest.name_of(current.key), uid)

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Jobs that our finalizer holds: an inert one is collected with its DurableJob."""
        jobs = await self._calls.jobs(self._namespace, labelSelector=manifest.LISTED)
        return tuple(
            Leftover(
                id=run.id,
                external_id=f"Job/{meta['name']}",
                namespace=meta["namespace"],
                job=str((meta.get("annotations") or {}).get(manifest.NAME, "")),
                job_uid=str((meta.get("labels") or {}).get(manifest.OWNER, "")),
                runs=run.phase is not Phase.ENDED,
            )
            for meta, run in [(job["metadata"], run) for job, run in await self._runs(jobs)]
            if run.held
        )

    async def discard(self, leftover: Leftover) -> None:
        """Take our finalizer off it, if it has ended."""
        name = leftover.external_id.removeprefix("Job/")
        found = await self._calls.get(leftover.namespace, name)
        if found is not None and all(not run.active for _, run in await self._runs([found])):
            await self._let_go(leftover.namespace, name, leftover.id)

    async def _let_go(self, namespace: str, name: str, uid: str | None) -> None:
        for _ in range(_TRIES):
            found = await self._calls.get(namespace, name)
            if found is None or found["metadata"]["uid"] != uid or not manifest.is_held(found):
                return
            meta = found["metadata"]
            finalizers = [each for each in meta["finalizers"] if each != manifest.HOLD]
            changed = {"finalizers": finalizers, "labels": {manifest.RELEASED: "true"}}
            body = {"metadata": {"uid": uid, "resourceVersion": meta["resourceVersion"], **changed}}
            try:
                await self._calls.send("PATCH", job_path(namespace, name), body=body, content_type=MERGE_PATCH)
            except NotFound:
                return
            except Conflict:
                continue
            except KubernetesError as error:
                raise BackendUnavailable(f"our finalizer on the Job {name} cannot be removed: {error}") from error
            return
        raise BackendUnavailable(f"the Job {name} changes faster than it can be released")

    async def _remove_inert(self, found: Object) -> bool:
        """Delete this very version, which is inert; False: it is another one by now."""
        meta = found["metadata"]
        options = delete_options(meta["uid"], meta["resourceVersion"], propagation="Background")
        return await self._delete(meta["namespace"], meta["name"], options)

    async def _delete(self, namespace: str, name: str, options: Object) -> bool:
        try:
            await self._calls.send("DELETE", job_path(namespace, name), body=options)
        except NotFound:
            return True
        except Conflict:  # another object, or another version
            return False
        except KubernetesError as error:
            raise BackendUnavailable(f"the Job {name} cannot be deleted: {error}") from error
        return True

    async def aclose(self) -> None:
        """The client is the controller's."""


def _rejected(error: KubernetesError) -> Rejected:
    """What the API server said of the Job: it names the field, or the policy."""
    reason = "InvalidSpec" if isinstance(error, Refused) else "Rejected"
    return Rejected(reason, f"spec.kubernetesJob.template: the API server refuses this Job: {error}"[:1024])
