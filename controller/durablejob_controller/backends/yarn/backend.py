"""The verbs of the contract, for a YARN cluster."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from durablejob_api.backend import FenceMode, JobBackendSpec
from durablejob_api.job import DurableJob
from durablejob_api.spec import SparkWork, YarnWork
from durablejob_api.status import ClaimState, Current
from durablejob_controller.backends.contract import (
    Accepted,
    Answer,
    Identity,
    Leftover,
    Offer,
    Probe,
    Rejected,
    Run,
    Sighting,
    Snapshot,
    Submission,
    Traits,
    Unclear,
)
from durablejob_controller.backends.gate_jar import archive, gate_classes
from durablejob_controller.backends.http import Doubtful, Malformed
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.backends.yarn import generic, spark, validation
from durablejob_controller.backends.yarn.auth import Simple
from durablejob_controller.backends.yarn.launch import Launch, Resource, value, with_environment
from durablejob_controller.backends.yarn.managers import App, Conversation, Managers, words
from durablejob_controller.backends.yarn.probing import probe
from durablejob_controller.backends.yarn.reading import run_of
from durablejob_controller.backends.yarn.spark import GATE_JAR, LIBRARIES, Needed, Place
from durablejob_controller.backends.yarn.staging import FENCE, Kept, Local, Owner, Staging
from durablejob_controller.backends.yarn.tags import attempt_tag, cluster_tag, key_of
from durablejob_controller.backends.yarn.webhdfs import InvalidPath, Missing, WebHdfs
from durablejob_controller.errors import (
    BackendError,
    BackendUnavailable,
    CredentialsRefused,
    InvalidBackend,
    InvalidWork,
)

CLAIM = 1
"""A reserved id needs no second claim: whatever is submitted under it is the same application."""
KEPT = 4000
"""Ended applications that are still shown, so that they need not be asked for one by one."""
_OF_THE_WEB = (-1, 0)
"""Size and time of what is fetched by HTTP, as YARN has it: which version is not said."""
AT_ONCE = 8
"""Applications that fell out of the list are asked for over so many connections."""


class Yarn:
    """One cluster."""

    def __init__(self, spec: JobBackendSpec, surroundings: Surroundings) -> None:
        if spec.yarn is None:
            raise InvalidBackend("spec.yarn: missing")
        self._spec, self._own = spec, spec.yarn
        self._gated = spec.fence is not None and spec.fence.mode is FenceMode.GATE
        validation.validate_backend(spec, gated=self._gated)
        self._gate_url = surroundings.gate() if self._gated else None
        self._tokens = surroundings.gate_token
        self._cluster = surroundings.cluster_uid
        self._tag = cluster_tag(surroundings.cluster_uid)
        authentication = Simple(self._own.user)
        self._managers = Managers(self._own.resource_managers, authentication, surroundings.timeout)
        self._hdfs = WebHdfs(self._own.staging.webhdfs, authentication, surroundings.timeout)
        self._staging = Staging(self._own.staging.dir, self._own.user, self._hdfs)
        self._life = ""
        self._watched: dict[str, str] = {}
        """Applications that were active when last seen, or that were submitted here: id -> key."""
        self._ended: OrderedDict[str, tuple[str, Run]] = OrderedDict()
        self._users = {self._own.user}
        """As whom jobs were submitted: the setting may have been edited since."""

    @property
    def traits(self) -> Traits:
        return Traits(Identity.RESERVED_ID, gated=self._gated)

    @property
    def cluster_id(self) -> str:
        if self._spec.cluster_id:
            return self._spec.cluster_id
        endpoints = ",".join(sorted(url.rstrip("/") for url in self._own.resource_managers))
        return "yarn-" + hashlib.sha256(endpoints.encode()).hexdigest()[:16]

    def validate(self, job: DurableJob) -> None:
        validation.validate(job, self._spec, gated=self._gated)

    def body_hash(self, job: DurableJob, key: str) -> str:
        """Hash of what the submission is made from: the work, and of the backend what changes what runs.

        Not in it: the state of files, which is fixed in the submission that is kept when it is reserved; the defaults
        of Spark for other work; and the gate's URL. An attempt that was reserved before that was changed asks the
        old one.
        """
        work = job.spec.work.to_api()
        settings = {
            "defaults": dict(self._spec.defaults.spark_conf) if job.spec.spark else {},
            "spark": self._own.spark.to_api() if self._own.spark and job.spec.spark else {},
            "user": self._own.user, "staging": self._own.staging.dir, "gated": self._gated,
        }  # fmt: skip
        canonical = json.dumps([key, work, settings], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    async def probe(self) -> Probe:
        return await probe(self._managers, self._staging, self._gate_url)

    # --- reserve and submit -----------------------------------------------------------------------------

    async def reserve(self, job: DurableJob, key: str) -> Offer | Rejected:
        """An id, and in a new folder of the staging area all that the application localizes, and the submission.

        Rejected where a file is missing: waiting would not bring it.
        """
        async with self._managers.talk() as manager:
            app_id, life = await manager.new_application(), manager.info.life
        folder = await self._staging.new_folder()
        try:
            launch = await self._launch(job, key, app_id, folder)
            staged = await self._staging.keep(key, folder, launch.body(app_id))
        except Missing as error:
            return Rejected("FileNotFound", str(error))
        except InvalidWork as error:
            return Rejected(error.reason, str(error))
        except BackendError:
            with suppress(BackendError):  # it is tried again, in another folder
                await self._staging.drop(key, folder)
            raise
        return Offer(app_id, incarnation=life, body_hash=self.body_hash(job, key), staging=staged)

    async def _launch(self, job: DurableJob, key: str, app_id: str, folder: str) -> Launch:
        tags = (self._tag, attempt_tag(key))
        if job.spec.yarn is not None:
            files = await self._found(_needed(job.spec.yarn))
            await self._staging.open(key, self._owner(job))
            fence = await self._staging.add(key, folder, FENCE, generic.fence(key))
            return generic.launch(job, job.spec.yarn, tags, files, _localized(fence))
        work = job.spec.spark
        if work is None:
            raise InvalidWork("WrongWork", "spark", "missing")
        settings = spark.yarn_spark(self._spec)
        wanted = spark.needed(work, settings)
        files = await self._found(wanted) | await self._libraries(settings.jars)
        await self._staging.open(key, self._owner(job))
        if self._gated:
            files[GATE_JAR] = _localized(await self._staging.add(key, folder, "gate.jar", archive(gate_classes())))
        place = Place(
            app_id,
            self._staging.folder_uri(key, folder),
            files,
            gate_url=self._claim_url(job, key) if self._gated else None,
            tags=tags,
            user=self._own.user,
            master_only=frozenset({GATE_JAR, *(name for name, one in wanted.items() if one.master_only)}),
        )
        conf = spark.settings(job, work, self._spec, place)
        fence = await self._staging.add(key, folder, FENCE, spark.fence(conf, place))
        return spark.launch(work, settings, conf, place, _localized(fence, "ARCHIVE"))

    def _owner(self, job: DurableJob) -> Owner:
        meta = job.metadata
        return Owner(self._cluster, meta.namespace or "", meta.uid, meta.name)

    def _claim_url(self, job: DurableJob, key: str) -> str:
        meta = job.metadata
        number = job.current.number if job.current and job.current.key == key else job.spec.attempt
        return (
            f"{self._gate_url}/{self._tokens.path(meta.namespace or '', meta.name, meta.uid, number, CLAIM).strip('/')}"
        )

    async def _found(self, needed: Mapping[str, Needed]) -> dict[str, Resource]:
        """Each file in the version that lies there now.

        Raises ``Missing`` or ``InvalidWork`` naming the field; for what the backend names ``BackendUnavailable``: its
        administrator puts it there, and no job is to fail until then.
        """
        found = {}
        for name, file in needed.items():
            if not file.uri.startswith("hdfs:"):
                found[name] = Resource(file.uri, *_OF_THE_WEB, file.type, file.visibility)
                continue
            path = unquote(urlsplit(file.uri).path)
            try:
                stat = await self._hdfs.stat(path)
            except (CredentialsRefused, InvalidPath) as error:
                if file.of_backend:
                    raise
                reason = "InvalidSpec" if isinstance(error, InvalidPath) else "FileNotReadable"
                raise InvalidWork(reason, f"spec.{file.field}", f"{file.uri}: {error}") from error
            if stat is None or stat.folder:
                why = f"{file.uri} {'is a folder' if stat else 'does not exist'}"
                if file.of_backend:
                    raise BackendUnavailable(f"{file.field}: {why}")
                raise Missing(f"spec.{file.field}: {why}")
            uri = file.uri.partition("#")[0]
            found[name] = Resource(uri, stat.size, stat.modified, file.type, file.visibility)
        return found

    async def _libraries(self, jars: str | None) -> dict[str, Resource]:
        if jars is None or not jars.startswith("hdfs:"):
            return {}
        parts = urlsplit(jars)
        home = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        try:
            children = await self._hdfs.children(unquote(parts.path).rstrip("/"))
        except Missing as error:
            raise BackendUnavailable(f"backend.yarn.spark.jars: {error}") from error
        found = {
            f"{LIBRARIES}/{one.name}": Resource(f"{home}/{one.name}", one.size, one.modified, visibility="PUBLIC")
            for one in children
            if one.name.endswith(".jar") and not one.folder
        }
        if not found:
            raise BackendUnavailable(f"backend.yarn.spark.jars: {jars} holds no JAR")
        return found

    async def submit(self, submission: Submission) -> Answer:
        """POST what was reserved, over the connection on which the ResourceManager has just said that it is active."""
        reservation, key = submission.reservation, submission.current.key
        app_id, staged = reservation.application_id or "", reservation.staging or ""
        body = await self._staging.submission(staged)
        if body is None:
            return Unclear("not sent: its staging folder is closed, or gone")  # the next look tells which
        body = with_environment(body, _secrets(submission))
        async with self._managers.talk() as manager:
            if not manager.info.knows(reservation.incarnation):
                return Unclear("not sent: the ResourceManager has restarted, and does not know what it had accepted")
            app = await manager.app(app_id)
            if app is not None and not _is_of(app, key, Kept.parse(staged).user):
                return Unclear(f"not sent: {app_id} is an application of user {app.user[:64]}, not the one reserved")
            if app is not None:
                self._watched[app_id] = key
                return Accepted(app_id)
            answer = await self._post(manager, body)
        if isinstance(answer, Accepted):
            self._watched[app_id] = key
        return answer

    async def _post(self, manager: Conversation, body: Mapping[str, Any]) -> Answer:
        try:
            answer = await manager.ask("POST", "apps", body)
        except Doubtful as error:
            return Unclear(str(error))
        said = words(answer)
        if answer.status == 202 or (answer.status == 400 and "already present" in said):
            return Accepted(str(body["application-id"]))
        if answer.status == 400 and said:
            return Rejected("Rejected", f"the ResourceManager refuses the application: {said}")
        return Unclear(f"{answer.host} answered {answer.status} to the submission")

    # --- observe ----------------------------------------------------------------------------------------

    async def observe(self) -> Snapshot:
        """One list of what has not ended; what has left the list since the last look is asked for by its id."""
        apps = await self._managers.alive(self._tag)
        listed = {app.id: (key, app) for app in apps if (key := key_of(app.tags)) and self._is_ours(app, key)}
        fallen = [app_id for app_id in self._watched if app_id not in listed]
        if fallen or not self._life:
            await self._look_after(fallen)
        runs: dict[str, tuple[Run, ...]] = {}
        for key, run in self._ended.values():
            runs[key] = (*runs.get(key, ()), run)
        for app_id, (key, app) in listed.items():
            self._watched[app_id] = key
            rest = tuple(run for run in runs.get(key, ()) if run.id != app_id)
            runs[key] = (*rest, run_of(app))
        return Snapshot(incarnation=self._life, runs=runs)

    async def _look_after(self, fallen: list[str]) -> None:
        """Learn how these have ended. Raises ``BackendUnavailable`` when any of it cannot be known."""
        shares = [fallen[number::AT_ONCE] for number in range(AT_ONCE)]
        await asyncio.gather(*(self._ask_each(share) for share in shares if share or share is shares[0]))

    async def _ask_each(self, ids: list[str]) -> None:
        async with self._managers.talk() as manager:
            self._life = manager.info.life
            for app_id in ids:
                try:
                    app = await manager.app(app_id)
                except Malformed:
                    app = None  # of this one batches tell nothing more: its own job asks for it, and says what is wrong
                key = self._watched.get(app_id)
                if key is None:
                    continue
                run = run_of(app) if app is not None and self._is_ours(app, key) else None
                if run is None:
                    del self._watched[app_id]
                else:
                    self._learn(key, run)

    def _learn(self, key: str, run: Run) -> None:
        """Have it in all batches from now on."""
        if run.active:
            self._watched[run.id] = key
            return
        self._watched.pop(run.id, None)
        self._ended[run.id] = (key, run)
        while len(self._ended) > KEPT:
            self._ended.popitem(last=False)

    async def look_up(self, key: str, current: Current | None) -> Sighting:
        """The reserved application by its id, and how its fence is; without a reservation all that carry the key.

        The fence is read first: a run that began just before it was closed is then among the runs.
        """
        reservation = current.reservation if current else None
        if current is None or reservation is None or reservation.application_id is None:
            async with self._managers.talk() as manager:
                apps = await manager.apps(applicationTags=attempt_tag(key))
                mine = tuple(run_of(app) for app in apps if self._is_ours(app, key))
                return Sighting(runs=mine, incarnation=manager.info.life)
        user = Kept.parse(reservation.staging or "").user
        fence = await self._fence(current)
        async with self._managers.talk() as manager:
            app = await manager.app(reservation.application_id)
            remembers = manager.info.knows(reservation.incarnation)
            found = replace(fence, incarnation=manager.info.life, remembers=remembers)
        if app is None:
            return found
        run = replace(run_of(app), foreign=not _is_of(app, key, user))
        if not run.foreign:  # a process that has just begun to watch lists it too, and batches do not contradict this
            self._users.add(user)
            self._learn(key, run)
        return replace(found, runs=(run,))

    def _is_ours(self, app: App, key: str) -> bool:
        return any(_is_of(app, key, user) for user in self._users)

    async def _fence(self, current: Current) -> Sighting:
        staged = current.reservation.staging if current.reservation else None
        started = current.claim is not None and current.claim.state is not ClaimState.OPEN
        if staged is None or (started and current.outcome is None):
            return Sighting((), "")  # the winner's fate does not depend on it
        found = await self._staging.fence(staged)
        cleanly = found.ended_cleanly
        return Sighting((), "", closed=found.closed, seen=found.seen, ended_cleanly=cleanly, held=found.held)

    # --- kill, close, release ---------------------------------------------------------------------------

    async def kill(self, run: str) -> None:
        async with self._managers.talk() as manager:
            answer = await manager.ask("PUT", f"apps/{quote(run, safe='')}/state", {"state": "KILLED"})
        if answer.status not in (200, 202, 400, 404):  # 400: that is no id; 404: it is forgotten
            raise BackendUnavailable(f"{answer.host} answered {answer.status} to the kill of {run}: {words(answer)}")

    async def close(self, job: DurableJob, current: Current, *, seen: str | None = None) -> None:
        """Rename the staging folder. Behind the gate it is the claim that is closed, in the resource."""
        staged = current.reservation.staging if current.reservation else None
        if staged is not None and current.claim is None:
            await self._staging.close(staged, seen=seen)

    async def release(self, job: DurableJob, current: Current) -> None:
        """Sweep what the attempt has left in the staging area."""
        await self._staging.sweep(current.key, current.reservation.staging if current.reservation else None)

    async def leftovers(self) -> tuple[Leftover, ...]:
        """What lies in the staging area: two calls for each folder, which is why it is done seldom."""
        alive = {key_of(app.tags) for app in await self._managers.alive(self._tag)}
        return tuple(
            Leftover(key, f"staging folder {key}", owner.namespace, owner.name, owner.uid, runs=key in alive)
            for key, owner in (await self._staging.owners()).items()
            if owner.cluster == self._cluster
        )

    async def discard(self, leftover: Leftover) -> None:
        """Sweep it, if no application of it is active."""
        async with self._managers.talk() as manager:
            apps = await manager.apps(applicationTags=attempt_tag(leftover.id))
        if not any(run_of(app).active for app in apps):
            await self._staging.sweep(leftover.id)

    async def aclose(self) -> None:
        await self._managers.aclose()
        await self._hdfs.aclose()


def _is_of(app: App, key: str, user: str) -> bool:
    """Whether this application was submitted for the attempt: anybody may use its id, and its tag, but as himself.

    YARN shows the short name of who has the realm in his name.
    """
    return key_of(app.tags) == key and app.user == re.split("[/@]", user, maxsplit=1)[0]


def _needed(work: YarnWork) -> dict[str, Needed]:
    return {
        one.name: Needed(f"yarn.localResources[{position}].uri", one.uri, one.type, one.visibility)
        for position, one in enumerate(work.local_resources)
    }


def _localized(file: Local, kind: str = "FILE") -> Resource:
    return Resource(file.uri, file.size, file.modified, kind)


def _secrets(submission: Submission) -> dict[str, str]:
    """Variables whose values never lie in the staging area. Raises ``BackendUnavailable`` when one is unknown."""
    work = submission.job.spec.spark
    found: dict[str, str] = {}
    for variable in work.env if isinstance(work, SparkWork) else ():
        if variable.value_from is not None:
            ref = variable.value_from.secret_key_ref
            if (ref.name, ref.key) not in submission.secrets:
                raise BackendUnavailable(f"Secret {ref.name} has no key {ref.key}")
            found[variable.name] = value(submission.secrets[ref.name, ref.key])
    return found
