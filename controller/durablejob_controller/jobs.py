"""The DurableJobs as this process last read them, and what it remembers about each meanwhile.

Nothing here is needed for being right: it is lost with the process, and the truth is in the resources. It
says what was read and asked *when*, which is what makes an answer fresh or stale (protocol rule 6).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from durablejob_api.base import ObjectMeta
from durablejob_api.job import DurableJob
from durablejob_api.names import attempt_key
from durablejob_api.spec import BackendKind, BackendRef, BackendType, DurableJobSpec, PluginWork
from durablejob_api.status import DurableJobStatus, Progress
from durablejob_controller import reasons
from durablejob_controller.backends.contract import Deferred, Offer, Phase, Rejected, Run, Sighting
from durablejob_controller.kube import Object, is_newer
from durablejob_controller.poller import TROUBLE_AFTER
from durablejob_controller.views import NoSite

CONFIRMED_FOR = 10.0
"""Seconds for which an exact answer counts as confirmed, once it is there: what ends after a grace is looked at once
more. However long it took, or whoever answers slowly would never be believed."""
PROGRESS_EVERY = 60.0
"""Seconds between two writes that tell nothing but the progress."""
OF_A_NEWER_VERSION = ("extra_forbidden", "enum")
"""Pydantic's kinds of errors for what only a newer CRD lets pass."""
READ_ALONE = (("attempt",), ("backendRef",), ("cancel",), ("deletionPolicy",), ("holder", "ttlSecondsAfterFinished"))
"""What is read of a spec that cannot be read as a whole: where it is, and how it may end. By its holder's word on the
result the time to live is counted: both are read, or neither."""
Address = tuple[str, str, str]
"""A backend: (kind, namespace or "", name)."""


def describe_errors(error: ValidationError) -> str:
    """Pydantic's findings in one line: each names the field and what would be right."""
    parts = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        parts.append(f"{where}: {item['msg']}" if where else str(item["msg"]))
    return "; ".join(parts)[:900]


def address_of(job: DurableJob) -> Address:
    """The backend that a job names."""
    ref = job.spec.backend_ref
    namespace = "" if ref.kind is BackendKind.CLUSTER_JOB_BACKEND else job.metadata.namespace or ""
    return (ref.kind.value, namespace, ref.name)


@dataclass
class JobEntry:
    """One job: the version that was read, and the memory of this process."""

    raw: Object
    job: DurableJob
    read: float
    """Monotonic seconds at which this version was read, or at which our last submission or kill was answered: a
    question that was sent before says nothing about it."""
    invalid: NoSite | None = None
    """Why nothing may begin by the spec, which cannot be read; ``job`` then has what can be."""
    sighting: Sighting | None = None
    asked: float = 0.0
    """Monotonic seconds at which the question was sent that ``sighting`` answers."""
    heard: float = 0.0
    """Monotonic seconds at which it was answered."""
    exact: bool = False
    since: float = 0.0
    """Since when the sighting has been the same."""
    offer: Offer | None = None
    rejected: Rejected | None = None
    deferred: Deferred | None = None
    turned_away: int = 0
    """Times in a row that nothing was set aside: there was no room, or no usable answer."""
    tries: int = 0
    """Submissions that this process has sent for this attempt. The accepted ones count: until one is listed, nothing
    is certain."""
    doubt: str | None = None
    """What the last submission was answered, if it was unclear; or why the last attempt to reserve has failed."""
    trying_since: float | None = None
    """When the first submission of this attempt was sent since one was seen, or none could be looked for."""
    failing: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Which verbs have had no usable answer for this job, although batches may have one: since when, and the last."""
    progress_since: float = field(default_factory=time.monotonic)
    """Since when the status tells the progress that it tells, or the last time it was worth telling another."""
    missing_since: float | None = None
    """Since when the backend that the job names has been missing."""
    not_before: float = 0.0
    """No further submission before this moment."""
    failures: int = 0
    parked_until: float = 0.0
    """The API server refused our write: nothing more is tried before this moment, unless the resource changes."""

    @property
    def parked(self) -> bool:
        return time.monotonic() < self.parked_until

    @property
    def key(self) -> str:
        return self.job.current.key if self.job.current else attempt_key(self.job.metadata.uid, self.job.spec.attempt)

    def is_at(self, version: Object) -> bool:
        """No newer version than this one was read."""
        return bool(self.raw["metadata"].get("resourceVersion") == version["metadata"].get("resourceVersion"))

    @property
    def unfinished(self) -> bool:
        current = self.job.current
        return current is None or current.outcome is None or self.job.spec.attempt > current.number

    @property
    def fresh(self) -> bool:
        """The sighting answers a question that was sent after this version was read."""
        return self.sighting is not None and self.asked >= self.read

    @property
    def confirmed(self) -> bool:
        """And it was asked by the attempt's own ids, a moment ago."""
        return self.fresh and self.exact and time.monotonic() - self.heard < CONFIRMED_FOR

    def saw(self, sighting: Sighting, asked: float, *, exact: bool) -> None:
        """Remember an answer; a repeated one keeps its age.

        Exact look-ups and batches overlap, and each is older than the other in turn. Where they say the same, the
        exact one stands while it is recent: it knows more (the fence, and what has ended), and is not to be asked for
        again and again.
        """
        own = tuple(run for run in sighting.runs if run.namespace in (None, self.job.metadata.namespace))
        if len(own) < len(sighting.runs):  # whoever forges our key elsewhere neither hinders nor ends this job
            sighting = replace(sighting, runs=own)
        same = self.sighting is not None and _gist(self.sighting) == _gist(sighting)
        if not exact and self.confirmed and self.sighting is not None and _tells_no_more(sighting, self.sighting):
            return
        if asked < self.asked and not (same and exact and asked >= self.read):
            return
        if not same:
            self.since = asked
        if any(run.phase is not Phase.INERT for run in own):
            self.trying_since = None  # one has arrived
        if exact and self.offer is not None and self.offer.incarnation not in ("", sighting.incarnation):
            self.offer = None  # it was made by a life that is over
        self.sighting, self.asked, self.exact = sighting, asked, exact
        self.heard = time.monotonic()

    def forget_sighting(self) -> None:
        self.sighting, self.exact = None, False

    def progress_due(self, runs: Iterable[Run]) -> bool:
        """These runs are at another progress than the status says, and it has said so for long enough."""
        if time.monotonic() - self.progress_since < PROGRESS_EVERY:
            return False
        told = {run.progress for run in runs if run.active} - {None}
        return bool(told) and _progress(self.job) not in told

    @property
    def trouble(self) -> str | None:
        """What is wrong with the exact look-ups, or with closing, once it has lasted long enough to tell."""
        long_ago = time.monotonic() - TROUBLE_AFTER
        return next((failure for since, failure in self.failing.values() if since <= long_ago), None)

    def answered(self, verb: str, failure: str | None) -> None:
        """This verb was answered (None), or was not."""
        since = self.failing.pop(verb, (time.monotonic(), ""))[0]
        if failure is not None:
            self.failing[verb] = (since, failure)

    def forget_attempt(self) -> None:
        """Another attempt has begun: what was learnt is about the one before."""
        self.forget_sighting()
        self.asked = self.not_before = 0.0
        self.offer = self.rejected = self.deferred = self.doubt = self.trying_since = None
        self.turned_away = self.tries = 0
        self.failing.clear()


def _claim(job: DurableJob) -> object:
    claim = job.current.claim if job.current else None
    return (claim.number, claim.driver) if claim else None


def _progress(job: DurableJob) -> Progress | None:
    return job.status.progress if job.status else None


def _reserved(job: DurableJob) -> bool:
    return job.current is not None and job.current.reservation is not None


def _gist(sighting: Sighting) -> object:
    own = [run for run in sighting.runs if not run.foreign]  # the others are in no batch
    return [(run.id, run.phase, run.verdict, run.started_time, run.held, run.condemned) for run in own]


def _tells_no_more(batch: Sighting, exact: Sighting) -> bool:
    """Whether the batch says the same, but for what has ended: that it may leave out."""
    listed = {run.id for run in batch.runs}
    return _gist(batch) == _gist(
        replace(exact, runs=tuple(run for run in exact.runs if run.active or run.id in listed))
    )


def parse(raw: Object) -> tuple[DurableJob, NoSite | None]:
    """The job, and why nothing may begin by its spec if that cannot be read; one bad object must not stop the others.

    The API server drops what its schema does not know, and refuses other values. So a field or a value that is unknown
    here is a newer version's, and so is a status that cannot be read: no fault of the job, which is read without it,
    and by that followed to its end if it has begun.
    """
    try:
        return DurableJob.model_validate(raw), None
    except ValidationError as error:
        found = error
    try:
        job, whole = DurableJob.model_validate(raw, extra="ignore"), True
    except ValidationError:
        job, whole = _stand_in(raw), False
    newer = any(item["type"] in OF_A_NEWER_VERSION for item in found.errors(include_url=False))
    newer = newer or (bool(raw.get("status")) and job.status is None)
    why = (reasons.controller_too_old if newer else reasons.invalid_spec)(describe_errors(found))
    begun = whole and job.current is not None and job.current.started_at is not None
    return job, None if begun else NoSite(why, final=not newer)


def _stand_in(raw: Object) -> DurableJob:
    """A job with what can be read of it."""
    ref = BackendRef(kind=BackendKind.JOB_BACKEND, name="invalid", type=BackendType.PLUGIN)
    spec = DurableJobSpec(backend_ref=ref, plugin=PluginWork())
    given = raw["spec"] if isinstance(raw.get("spec"), dict) else {}
    for names in READ_ALONE:
        wishes = {name: given[name] for name in names if name in given}
        with contextlib.suppress(ValidationError):
            spec = DurableJobSpec.model_validate(spec.to_api() | wishes, extra="ignore")
    try:
        status = DurableJobStatus.model_validate(raw["status"]) if raw.get("status") else None
    except ValidationError:
        status = None
    return DurableJob(metadata=ObjectMeta.model_validate(raw["metadata"]), spec=spec, status=status)


@dataclass
class Jobs:
    """All jobs, by uid."""

    _entries: dict[str, JobEntry] = field(default_factory=dict)
    _by_key: dict[str, str] = field(default_factory=dict)
    _unfinished: dict[Address, set[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[str, JobEntry]]:
        return iter(list(self._entries.items()))

    def get(self, uid: str) -> JobEntry | None:
        return self._entries.get(uid)

    def uid_of(self, key: str) -> str | None:
        return self._by_key.get(key)

    def users(self, address: Address) -> set[str]:
        """uids of the unfinished jobs that name this backend."""
        return self._unfinished.get(address, set())

    def put(self, raw: Object) -> JobEntry | None:
        """Take in a version; None when a newer one is known already."""
        uid = raw["metadata"]["uid"]
        old = self._entries.get(uid)
        if old is not None and not is_newer(raw, old.raw):
            return None
        job, invalid = parse(raw)
        now = time.monotonic()
        if old is None:
            entry = self._entries[uid] = JobEntry(raw, job, now, invalid)
        else:
            self._unindex(uid, old)
            entry, key, before = old, old.key, old.job
            entry.raw, entry.job, entry.read, entry.invalid = raw, job, now, invalid
            entry.parked_until = 0.0
            if entry.key != key:
                entry.forget_attempt()
            elif _claim(before) != _claim(job):
                entry.since = now  # what was seen before the claim was won says nothing of the winner
                entry.rejected = None  # nor does the refusal of a claim that was replaced
            if _progress(before) != _progress(job):
                entry.progress_since = now
            if not _reserved(before) and _reserved(job):
                entry.offer = entry.rejected = None  # whatever we were answered, somebody has reserved it
        self._by_key[entry.key] = uid
        if entry.unfinished:
            self._unfinished.setdefault(address_of(job), set()).add(uid)
        return entry

    def remove(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None:
            self._unindex(uid, entry)

    def clear(self) -> None:
        """Forget all: the versions that were read are of a time that is no more."""
        self._entries.clear()
        self._by_key.clear()
        self._unfinished.clear()

    def _unindex(self, uid: str, entry: JobEntry) -> None:
        self._by_key.pop(entry.key, None)
        address = address_of(entry.job)
        users = self._unfinished.get(address)
        if users is not None:
            users.discard(uid)
            if not users:
                del self._unfinished[address]
