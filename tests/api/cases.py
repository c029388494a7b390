"""One write that each rule lets through, and one that it refuses: the table behind test_rules.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.api.client import Api, Json, merged
from tests.api.states import CANCEL, JOB, KEY, NEXT_KEY, RESERVATION, SPEC, WON, Situations, second


@dataclass(frozen=True)
class Create:
    """A new DurableJob, as ``SPEC`` with these changes."""

    change: Json

    def attempt(self, api: Api, situations: Situations) -> Json:
        return api.create(JOB, "new", merged(SPEC, self.change))


@dataclass(frozen=True)
class Spec:
    """A change of the spec of a DurableJob in this situation."""

    situation: str
    change: Json

    def attempt(self, api: Api, situations: Situations) -> Json:
        return api.patch(JOB, situations.name(self.situation), self.change)


@dataclass(frozen=True)
class Status:
    """A change of the status of a DurableJob in this situation; None takes the status away."""

    situation: str
    change: Json | None

    def attempt(self, api: Api, situations: Situations) -> Json:
        return api.patch(JOB, situations.name(self.situation), self.change, status=True)


@dataclass(frozen=True)
class Case:
    """``rule`` is the rule's message; ``shows`` what the user reads, where that is computed."""

    rule: str
    good: Create | Spec | Status
    bad: Create | Spec | Status
    shows: str | None = None


def work(type_: str, **kinds: Any) -> Json:
    """A change to another kind of work on another type of backend."""
    return {"backendRef": {"type": type_}, "spark": None, **kinds}


def claim(**fields: Any) -> Json:
    return {"current": {"claim": fields}}


def volume(**source: str) -> Json:
    """Spark's work, with a volume."""
    settings = {"volumes": [{"name": "a", "mountPath": "/a", **source}]}
    return {"spark": {**JAR, "mainClass": "a.B", "kubernetes": settings}}


JAR = {"mainApplicationFile": "local:///a.jar"}
SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}

SPEC_CASES = (
    Case(
        "spec: give exactly one of spark, kubernetesJob, yarn, plugin",
        good=Create({}),
        bad=Create({"plugin": {"parameters": {}}}),
    ),
    Case(
        "spec.backendRef.type: does not fit the work: SparkStandalone takes spark; Yarn takes spark or yarn; "
        "Kubernetes takes spark or kubernetesJob; Plugin takes plugin",
        good=Create(work("Plugin", plugin={"parameters": {"seconds": "1"}})),
        bad=Create(work("SparkStandalone", plugin={"parameters": {}})),
    ),
    Case(
        "spec.attempt: a new DurableJob begins with attempt 1",
        good=Create({"attempt": 1}),
        bad=Create({"attempt": 2}),
    ),
    Case(
        "spec.attempt: may only grow by one, from a finished attempt",
        good=Spec("failed", {"attempt": 2}),
        bad=Spec("started", {"attempt": 2}),
        shows="spec.attempt: may only grow by one, from a finished attempt (current is 1, Running)",
    ),
    Case(
        "spec.acceptLost: must name the Lost attempt, which may still run, before the next one may begin",
        good=Spec("lost", {"attempt": 2, "acceptLost": 1}),
        bad=Spec("lost", {"attempt": 2}),
        shows="spec.acceptLost: must be 1 before the next attempt may begin: that one is Lost, and may still run",
    ),
    Case(
        "spec.acceptLost: may not shrink; a risk once taken stays taken",
        good=Spec("accepted", {"attempt": 2}),
        bad=Spec("accepted", {"acceptLost": 0}),
    ),
    Case(
        "spec.acceptLost: may not be greater than spec.attempt; no risk is taken in advance",
        good=Spec("lost", {"acceptLost": 1}),
        bad=Spec("lost", {"acceptLost": 2}),
    ),
    Case(
        "spec: the work may change only together with spec.attempt",
        good=Spec("failed", {"attempt": 2, "spark": {"arguments": ["again"]}}),
        bad=Spec("fresh", {"spark": {"arguments": ["again"]}}),
    ),
    Case(
        "spec.backendRef: may change only together with spec.attempt",
        good=Spec("failed", {"attempt": 2, "backendRef": {"name": "spark-b"}}),
        bad=Spec("failed", {"backendRef": {"name": "spark-b"}}),
    ),
    Case(
        "spec.holder: may be taken over, but not removed",
        good=Spec("started", {"holder": {"id": "try-3", "tryNumber": 3}}),
        bad=Spec("started", {"holder": None}),
    ),
    Case(
        "spec.holder.tryNumber: may not shrink while spec.holder.incarnation stays the same",
        good=Spec("started", {"holder": {"incarnation": "life-2", "id": "try-1", "tryNumber": 1}}),
        bad=Spec("started", {"holder": {"id": "try-1", "tryNumber": 1}}),
    ),
    Case(
        "spec.holder.acknowledged: may not shrink; a new holder carries it over",
        good=Spec("acknowledged", {"attempt": 2, "holder": {"id": "try-3", "tryNumber": 3}}),
        bad=Spec("acknowledged", {"attempt": 2, "holder": {"id": "try-3", "tryNumber": 3, "acknowledged": 0}}),
    ),
    Case(
        "spec.holder.acknowledged: may not be greater than spec.attempt",
        good=Spec("failed", {"holder": {"acknowledged": 1}}),
        bad=Spec("failed", {"holder": {"acknowledged": 2}}),
    ),
    Case(
        "spec.cancel: once given for an attempt it stands: neither changed nor removed until the next attempt",
        good=Spec("granted", {"attempt": 2, "cancel": None}),
        bad=Spec("wished", {"cancel": None}),
    ),
    Case(
        "spec.cancel.attempt: must be the current attempt, spec.attempt",
        good=Spec("raised", {"cancel": {"attempt": 2}}),
        bad=Spec("raised", {"cancel": {"attempt": 1, "cause": "Skipped"}}),
    ),
    Case(
        "spec.cancel.holderID: must be the current holder, spec.holder.id (unless cause is User)",
        good=Spec("started", {"cancel": CANCEL}),
        bad=Spec("started", {"cancel": {**CANCEL, "holderID": "try-1"}}),
    ),
    Case(
        "spec.spark.mainClass: required, unless mainApplicationFile ends in .py",
        good=Create({"spark": {**JAR, "mainClass": "a.B"}}),
        bad=Create({"spark": JAR}),
    ),
    Case(
        "spec.spark.mainClass: leave it out for a Python application",
        good=Create({"spark": {"mainApplicationFile": "s3a://b/c.py?version=1.jar"}}),
        bad=Create({"spark": {"mainClass": "a.B"}}),
    ),
    Case(
        "spec.spark: must be a size as Spark has it: 512m, 2g (not 2Gi, 1.5g)",
        good=Create({"spark": {"driver": {"memory": "1024"}, "executor": {"memory": "2Gb"}}}),
        bad=Create({"spark": {"executor": {"memory": "1Gi"}}}),
    ),
    Case(
        "spec.spark.kubernetes: a volume takes exactly one of persistentVolumeClaim, secret, configMap, emptyDir",
        good=Create(volume(emptyDir="1Gi")),
        bad=Create(volume(emptyDir="1Gi", secret="a")),
    ),
    Case(
        "spec.spark.env: give exactly one of value and valueFrom",
        good=Create({"spark": {"env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": SECRET}]}}),
        bad=Create({"spark": {"env": [{"name": "A", "value": "", "valueFrom": SECRET}]}}),
    ),
)

STATUS_CASES = (
    Case(
        "status: cannot be removed once it is there; it is what keeps work from starting twice",
        good=Status("fresh", None),
        bad=Status("pending", None),
    ),
    Case(
        "status.current.number: may not be greater than spec.attempt",
        good=Status("fresh", {"current": {"number": 1, "key": KEY}}),
        bad=Status("fresh", {"current": {"number": 2, "key": NEXT_KEY}}),
    ),
    Case(
        "status.current: cannot be removed; it is what keeps work from starting twice",
        good=Status("pending", {"trackingURL": "http://m1:8080"}),
        bad=Status("pending", {"current": None}),
    ),
    Case(
        "status.state: a terminal state needs status.current.outcome",
        good=Status("open", {"state": "Failed", "current": {"outcome": "Failed", "claim": {"state": "Revoked"}}}),
        bad=Status("open", {"state": "Failed"}),
    ),
    Case(
        "status.state: must be the same as status.current.outcome, once that is set",
        good=Status("ended", {"state": "Succeeded", "current": {"outcome": "Succeeded"}}),
        bad=Status("ended", {"state": "Running", "current": {"outcome": "Succeeded"}}),
    ),
    Case(
        "status.externalID: may not change within an attempt: only the recorded run is evidence",
        good=Status("raised", {**second(), "externalID": "driver-2"}),
        bad=Status("started", {"externalID": "driver-2"}),
    ),
    Case(
        "status.current.number: may only grow by one, from an attempt with an outcome",
        good=Status("raised", second()),
        bad=Status("second", {"current": {"number": 1, "key": KEY}}),
    ),
    Case(
        "status.current.key: belongs to the attempt: the same within one, another for the next",
        good=Status("raised", second()),
        bad=Status("raised", second(key=KEY)),
    ),
    Case(
        "status.current.reservation: neither changes nor goes within an attempt",
        good=Status("raised", second(reservation=RESERVATION)),
        bad=Status("open", {"current": {"reservation": {"bodyHash": "h-2"}}}),
    ),
    Case(
        "status.current.runStartedTime: neither changes nor goes within an attempt: another one is another run",
        good=Status("open", {"current": {"runStartedTime": "s"}}),
        bad=Status("started", {"current": {"runStartedTime": "t"}}),
    ),
    Case(
        "status.current.outcome: never changes, nor do reason, exitCode and finishedAt with it",
        good=Status("failed", {"current": {"message": "see the driver's log"}}),
        bad=Status("failed", {"state": "Succeeded", "current": {"outcome": "Succeeded"}}),
    ),
    Case(
        "status.current.reservation: nothing is reserved for an attempt that has an outcome",
        good=Status("pending", {"current": {"reservation": RESERVATION}}),
        bad=Status("unstarted", {"current": {"reservation": RESERVATION}}),
    ),
    Case(
        "status.current.claim.state: an attempt with an outcome has no Open claim; revoke it in the same write",
        good=Status("open", {"state": "Lost", "current": {"outcome": "Lost", "claim": {"state": "Revoked"}}}),
        bad=Status("open", {"state": "Lost", "current": {"outcome": "Lost"}}),
    ),
    Case(
        "status.current.claim: cannot be removed within an attempt",
        good=Status("raised", second(claim=None)),
        bad=Status("open", {"current": {"claim": None}}),
    ),
    Case(
        "status.current.claim.state: a new claim begins Open",
        good=Status("open", claim(number=2)),
        bad=Status("reserved", claim(number=1, **WON)),
    ),
    Case(
        "status.current.claim.number: may only grow by one, and only while the claim is Open",
        good=Status("open", claim(number=2, unstarted=1)),
        bad=Status("revoked", claim(number=2, state="Open")),
    ),
    Case(
        "status.current.claim.state: goes from Open to Started to Ended, or from Open to Revoked, never back",
        good=Status("open", claim(**WON)),
        bad=Status("revoked", claim(**WON)),
    ),
    Case(
        "status.current.claim: its winner (nonce, driver) and how it ended are written once",
        good=Status("started", claim(state="Ended", how="threw")),
        bad=Status("started", claim(nonce="n-2")),
    ),
    Case(
        "status.current.claim: an Open or Revoked claim has no winner (nonce, driver, how)",
        good=Status("open", claim(state="Revoked")),
        bad=Status("open", claim(nonce="n-1")),
    ),
)

CASES = SPEC_CASES + STATUS_CASES
