"""The verbs of the contract, for objects of the controller's own cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from durablejob_api.backend import JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.status import Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Deferred,
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
from durablejob_controller.backends.kubernetes_objects.calls import (
    JSON_PATCH,
    MERGE_PATCH,
    Calls,
    checked,
    delete_options,
    path_of,
)
from durablejob_controller.backends.kubernetes_objects.kind import Companion, Kind
from durablejob_controller.backends.kubernetes_objects.objects import (
    HASH,
    HOLD,
    NAME,
    OWNER,
    RELEASED,
    Object,
    is_held,
    is_named,
    is_of,
    key_of,
    name_of,
    owner,
)
from durablejob_controller.backends.kubernetes_objects.probing import LOG_RIGHT, probe
from durablejob_controller.backends.kubernetes_objects.reader import Reader
from durablejob_controller.backends.kubernetes_objects.refusals import contended, deferred, rejected
from durablejob_controller.backends.kubernetes_objects.tails import Tails
from durablejob_controller.backends.surroundings import KubernetesApi, Surroundings
from durablejob_controller.errors import (
    AlreadyExists,
    BackendUnavailable,
    Conflict,
    Forbidden,
    InvalidWork,
    KubernetesError,
    NotFound,
    Refused,
)

_TRIES = 5
"""Times that a compare-and-swap on an object is tried at once: its controller writes the status meanwhile."""
Where = tuple[Kind, str, str]
"""Kind, namespace and name of an object."""


class KubernetesObjects:
    """Identity.OBJECT: an inert object, activated by its uid; of the kind that suits the work."""

    traits = Traits(Identity.OBJECT, gated=False, takes_secrets=False)

    def __init__(
        self, spec: JobBackendSpec, surroundings: Surroundings, kube: KubernetesApi, kinds: Sequence[Kind]
    ) -> None:
        self._namespace = surroundings.namespace
        self._cluster_uid = surroundings.cluster_uid
        self._policy = surroundings.admission_policy
        self._calls = Calls(kube, surroundings.timeout)
        self._kinds = tuple(kinds)
        self._log_lines = spec.kubernetes.failure_log_lines if spec.kubernetes is not None else 0
        self._tails = Tails(self._calls, self._log_lines)
        self._reader = Reader(self._calls, self._tails, self._namespace)
        self._where: dict[str, Where] = {}
        """Where the objects are that were seen last, by uid: a kill names the uid only."""
        self.cluster_id = spec.cluster_id or f"kubernetes-{surroundings.cluster_uid}"

    def validate(self, job: DurableJob) -> None:
        self._kind(job).validate(job)

    def body_hash(self, job: DurableJob, key: str) -> str:
        return self._kind(job).body_hash(job, key)

    async def probe(self) -> Probe:
        rights = dict.fromkeys(right for kind in self._kinds for right in kind.rights)
        wanted = [*rights, LOG_RIGHT] if self._log_lines else [*rights]
        assumptions = [kind.assumption for kind in self._kinds]
        return await probe(self._calls, self._namespace, self._cluster_uid, self._policy, wanted, assumptions)

    def _kind(self, job: DurableJob) -> Kind:
        """The kind of object that the job's work becomes; raises ``InvalidWork`` when it is none of ours."""
        for kind in self._kinds:
            if kind.suits(job):
                return kind
        given = "spark" if job.spec.spark is not None else "spec"
        known = ", ".join(kind.field.split(".")[1] for kind in self._kinds)
        raise InvalidWork("WrongWork", given, f"a backend of type Kubernetes runs spec.{known} only")

    # --- reserve and submit -----------------------------------------------------------------------------

    async def reserve(self, job: DurableJob, key: str) -> Offer | Deferred | Rejected:
        """POST the inert object, or adopt the one that an earlier POST has made; then what is made beside it.

        An object of another form (made by another version of the controller, or before the defaults changed) is
        removed, and ``BackendUnavailable`` raised: the next try makes today's.
        """
        kind = self._kind(job)
        body = kind.body(job, key)
        path = path_of(kind.collection, job.metadata.namespace)
        turned_away: Deferred | None = None
        try:
            # Strict: a field that the API server would drop silently is an error that names it.
            made = await self._calls.send("POST", path, params={"fieldValidation": "Strict"}, body=body)
        except AlreadyExists:
            pass
        except Conflict as error:
            raise contended(body) from error
        except (Refused, Forbidden) as error:
            # Quotas are asked before names: what takes the room may be this very object, of an earlier try.
            turned_away = deferred(error)
            if turned_away is None:
                return rejected(kind, error)
        except NotFound as error:
            raise BackendUnavailable(f"there is no namespace {job.metadata.namespace}") from error
        else:
            return await self._offer(kind, job, checked(made))
        found = await self._calls.get(f"{path}/{name_of(key)}")
        if found is not None:
            return await self._adopt(kind, job, key, body["metadata"]["annotations"][HASH], found)
        if turned_away is not None:
            return turned_away
        raise BackendUnavailable(f"the {kind.name} {name_of(key)} has just gone")

    async def _adopt(
        self, kind: Kind, job: DurableJob, key: str, body_hash: str, found: Object
    ) -> Offer | Deferred | Rejected:
        name = name_of(key)
        if not is_of(found, job, key):
            where = f"namespace {job.metadata.namespace}"
            words = f"there is a {kind.name} {name} in {where} that was not made for this DurableJob"
            return Rejected("NameTaken", f"{words}: remove it")
        if found["metadata"].get("deletionTimestamp"):
            raise BackendUnavailable(f"the {kind.name} {name} is being deleted; a new one is made when it is gone")
        if not kind.is_inert(found):
            raise BackendUnavailable(f"the {kind.name} {name} is not inert: somebody has activated it")
        if (found["metadata"].get("annotations") or {}).get(HASH) != body_hash:
            await self._remove_inert(kind, found)
            raise BackendUnavailable(f"the {kind.name} {name} was of another form; it is made anew")
        return await self._offer(kind, job, found)

    async def _offer(self, kind: Kind, job: DurableJob, made: Object) -> Offer | Deferred | Rejected:
        if not kind.is_inert(made):
            raise BackendUnavailable(f"the {kind.name} {made['metadata']['name']} is not inert as it was made")
        self._where |= _places(kind, [made])
        for companion in kind.companions(job, made):
            turned_away = await self._accompany(kind, made, companion)
            if turned_away is not None:
                return turned_away
        return Offer(object_uid=made["metadata"]["uid"], incarnation=self._cluster_uid)

    async def _accompany(self, kind: Kind, made: Object, companion: Companion) -> Deferred | Rejected | None:
        """POST what belongs to this very object; it is garbage-collected with it."""
        meta = companion.body["metadata"]
        path = path_of(companion.collection, meta["namespace"])
        try:
            await self._calls.send("POST", path, params={"fieldValidation": "Strict"}, body=companion.body)
        except AlreadyExists:
            return None  # its name holds this object's uid
        except Conflict as error:
            raise contended(companion.body) from error
        except (Refused, Forbidden) as error:
            # What waits takes no share of a quota, and nothing stays. Has another controller just recorded it, its
            # attempt is Lost: no write can be conditional on two objects.
            if not await self._remove_inert(kind, made):
                raise BackendUnavailable(f"{kind.name} {made['metadata']['name']} has changed meanwhile") from error
            return deferred(error) or rejected(kind, error)
        except NotFound as error:
            raise BackendUnavailable(f"there is no namespace {meta['namespace']}") from error
        return None

    async def submit(self, submission: Submission) -> Answer:
        """Activate the object of the recorded uid, if it is still inert and of the recorded form.

        The patch is for the version that was read: others may put gates and finalizers of theirs on it, and a refusal
        counts only if nothing has changed meanwhile.
        """
        job, reservation = submission.job, submission.reservation
        kind, uid = self._kind(job), reservation.object_uid or ""
        path = path_of(kind.collection, job.metadata.namespace, name_of(submission.current.key))
        refused: tuple[str | None, KubernetesError] | None = None
        for _ in range(_TRIES):
            try:
                found = await self._calls.get(path)
                if found is None or found["metadata"]["uid"] != uid or found["metadata"].get("deletionTimestamp"):
                    return Unclear("there was nothing to activate: the reserved object is no more")
                if not kind.is_inert(found):
                    return Accepted(uid)
                version = found["metadata"].get("resourceVersion")
                if refused is not None and refused[0] == version:
                    return rejected(kind, refused[1])
                patch = kind.activation(job, found, uid, reservation.body_hash)
                made = await self._calls.send("PATCH", path, body=patch, content_type=JSON_PATCH)
            except (Refused, Forbidden) as error:
                refused = version, error
            except (NotFound, Conflict) as error:
                return Unclear(f"there was nothing to activate: HTTP {error.status}")
            except BackendUnavailable as error:
                return Unclear(str(error))
            else:
                return Accepted(uid) if checked(made)["metadata"]["uid"] == uid else Unclear("another object answered")
        return Unclear(f"the {kind.name} {name_of(submission.current.key)} changes faster than it can be activated")

    # --- look -------------------------------------------------------------------------------------------

    async def observe(self) -> Snapshot:
        """One list for each kind, of the objects of all attempts that are not released."""
        seen = await self._listed()
        # At once: whoever asks while logs are waited for finds those that were seen before, or these.
        self._where = {uid: where for kind, objects in seen for uid, where in _places(kind, objects).items()}
        for memory in (self._tails, self._reader):
            memory.keep(self._where.keys())
        found: defaultdict[str, tuple[Run, ...]] = defaultdict(tuple)
        for kind, objects in seen:
            for one, run in await self._runs(kind, objects):
                found[key_of(one) or ""] += (run,)
        return Snapshot(self._cluster_uid, dict(found))

    async def _listed(self) -> list[tuple[Kind, list[Object]]]:
        """What has one of our names; labels alone are anybody's to give."""
        listed = [
            (kind, await self._calls.objects(kind.collection, self._namespace, labelSelector=kind.selector))
            for kind in self._kinds
        ]
        return [(kind, [one for one in found if is_named(one)]) for kind, found in listed]

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        """What has the name that belongs to ``key``, of whatever kind, whoever made it.

        A ClusterJobBackend does not know the namespace of an object that it has not seen, and asks in all.
        """
        name = name_of(key)
        uid = current.reservation.object_uid if current is not None and current.reservation is not None else None
        namespace = self._where[uid][1] if uid in self._where else self._namespace
        runs: list[Run] = []
        for kind in self._kinds:
            if namespace is None:
                found = await self._calls.objects(kind.collection, None, fieldSelector=f"metadata.name={name}")
            else:
                one = await self._calls.get(path_of(kind.collection, namespace, name))
                found = [one] if one is not None else []
            runs += [run for _, run in await self._runs(kind, found)]
        return Sighting(tuple(runs), self._cluster_uid)

    async def _runs(self, kind: Kind, found: list[Object]) -> list[tuple[Object, Run]]:
        runs = await self._reader.runs(kind, found)
        self._where |= _places(kind, found)
        return runs

    # --- kill, close, release -----------------------------------------------------------------------------

    async def kill(self, run: str) -> None:
        """DELETE in the foreground: it stays until its pods are gone (and, once activated, until we release it).

        Said again of an object that somebody has deleted in the background, it makes that a foreground deletion.
        """
        if run not in self._where:
            await self.observe()
        where = self._where.get(run)
        if where is not None:
            await self._delete(*where, delete_options(run, propagation="Foreground"))

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        """Remove the reserved object if it is inert: a uid does not come back."""
        uid = current.reservation.object_uid if current.reservation is not None else None
        for where in self._candidates(job, current):
            await self._shut(*where, uid)

    async def _shut(self, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
        for _ in range(_TRIES):
            found = await self._calls.get(path_of(kind.collection, namespace, name))
            if found is None or found["metadata"]["uid"] != uid or not kind.is_inert(found):
                return
            if await self._remove_inert(kind, found):
                return
        raise BackendUnavailable(f"the {kind.name} {name} changes faster than it can be removed")

    async def release(self, job: DurableJob, current: Current) -> None:
        """Take our finalizer off the recorded object."""
        uid = current.reservation.object_uid if current.reservation is not None else None
        for where in self._candidates(job, current):
            await self._let_go(*where, uid, job)

    def _candidates(self, job: DurableJob, current: Current) -> list[Where]:
        """Where the object of an attempt may be: its kind is not recorded, and the job's work may be another today."""
        return [(kind, str(job.metadata.namespace), name_of(current.key)) for kind in self._kinds]

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Objects that our finalizer holds: an inert one is collected with its DurableJob."""
        return tuple(
            [
                Leftover(
                    id=run.id,
                    external_id=f"{kind.name}/{meta['name']}",
                    namespace=meta["namespace"],
                    job=str((meta.get("annotations") or {}).get(NAME, "")),
                    job_uid=str((meta.get("labels") or {}).get(OWNER, "")),
                    runs=run.phase is not Phase.ENDED,
                )
                for kind, objects in await self._listed()
                for meta, run in [(one["metadata"], run) for one, run in await self._runs(kind, objects)]
                if run.held
            ]
        )

    async def discard(self, leftover: Leftover) -> None:
        """Take our finalizer off it, if it has ended."""
        called, _, name = leftover.external_id.partition("/")
        for kind in self._kinds:
            if kind.name != called:
                continue
            found = await self._calls.get(path_of(kind.collection, leftover.namespace, name))
            if found is not None and all(not run.active for _, run in await self._runs(kind, [found])):
                await self._let_go(kind, leftover.namespace, name, leftover.id)

    async def _let_go(
        self, kind: Kind, namespace: str, name: str, uid: str | None, job: DurableJob | None = None
    ) -> None:
        path = path_of(kind.collection, namespace, name)
        for _ in range(_TRIES):
            found = await self._calls.get(path)
            if found is None or found["metadata"]["uid"] != uid or not is_held(found):
                return
            meta, stays = found["metadata"], self._reader.stays(kind, found)
            finalizers = [each for each in meta["finalizers"] if each != HOLD]
            changed: Object = {"finalizers": finalizers, "labels": {RELEASED: "true"}}
            if stays:
                await kind.clear(self._calls, found)
            if stays and job is not None:
                changed["ownerReferences"] = [owner(job)]
            body = {"metadata": {"uid": uid, "resourceVersion": meta["resourceVersion"], **changed}}
            try:
                await self._calls.send("PATCH", path, body=body, content_type=MERGE_PATCH)
            except NotFound:
                return
            except Conflict:
                continue
            except KubernetesError as error:
                raise BackendUnavailable(
                    f"our finalizer on the {kind.name} {name} cannot be removed: {error}"
                ) from error
            if stays and job is None:  # whose it would be is no more
                await self._delete(kind, namespace, name, delete_options(meta["uid"], propagation="Background"))
            return
        raise BackendUnavailable(f"the {kind.name} {name} changes faster than it can be released")

    async def _remove_inert(self, kind: Kind, found: Object) -> bool:
        """Delete this very version, which is inert; False: it is another one by now."""
        meta = found["metadata"]
        options = delete_options(meta["uid"], meta["resourceVersion"], propagation="Background")
        return await self._delete(kind, meta["namespace"], meta["name"], options)

    async def _delete(self, kind: Kind, namespace: str, name: str, options: Object) -> bool:
        try:
            await self._calls.send("DELETE", path_of(kind.collection, namespace, name), body=options)
        except NotFound:
            return True
        except Conflict:  # another object, or another version
            return False
        except KubernetesError as error:
            raise BackendUnavailable(f"the {kind.name} {name} cannot be deleted: {error}") from error
        return True

    async def aclose(self) -> None:
        """The client is the controller's."""


def _places(kind: Kind, found: Sequence[Object]) -> dict[str, Where]:
    """Where these are, by uid."""
    metas = (one["metadata"] for one in found)
    return {meta["uid"]: (kind, meta["namespace"], meta["name"]) for meta in metas}
