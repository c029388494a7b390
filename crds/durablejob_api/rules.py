"""The rules that the API server itself enforces (CEL), beside the models that carry them.

They are the last line: whatever a client, a second controller or a hand at the keyboard writes, an
attempt that may have started is not forgotten, its winner is not replaced, and its end does not
change. No webhook is needed, so they also hold while the controller is down.

How they are written, and why:

* What may be set once, and may be absent, is guarded on its **parent**: a rule on the field itself is
  not evaluated when the field is removed.
* Root rules see spec and status together, on the resource and on ``/status`` alike.
* Optional fields are compared by ``has()`` and ``==``: ``self.?x == oldSelf.?x`` says the same, but its
  cost has no bound, and the API server refuses it; ``string(number)`` likewise, hence ``format``.
* A rule with ``oldSelf`` runs on updates only; with ``optional_old_self`` also on creation.
* Every message begins with the field and says what would be right: the client and the task's log
  show it as it is.
* ``status_rules`` holds those below ``status``, of ``DurableJobStatus``, ``Current`` and ``Claim``.
* Not expressible: finalizers, labels and deletionTimestamp (CEL sees only name and generateName), and
  who asks (that is RBAC's, and the admission policy's).
"""

from __future__ import annotations

from durablejob_api.base import Rule


def kept(*fields: str) -> str:
    """Each of these optional fields is as it was, also if it was absent."""
    return " && ".join(
        f"has(self.{f}) == has(oldSelf.{f}) && (!has(self.{f}) || self.{f} == oldSelf.{f})" for f in fields
    )


JOB = (
    Rule(
        rule="!has(oldSelf.status) || has(self.status)",
        message="status: cannot be removed once it is there; it is what keeps work from starting twice",
    ),
    Rule(
        rule="!has(self.status) || !has(self.status.current) || self.status.current.number <= self.spec.attempt",
        message="status.current.number: may not be greater than spec.attempt",
        field_path=".status.current.number",
    ),
    Rule(
        rule="""
            self.spec.attempt == oldSelf.spec.attempt
            || (self.spec.attempt == oldSelf.spec.attempt + 1
                && self.?status.?current.?number.orValue(0) == oldSelf.spec.attempt
                && self.?status.?current.?outcome.hasValue())
        """,
        message="spec.attempt: may only grow by one, from a finished attempt",
        message_expression="""
            'spec.attempt: may only grow by one, from a finished attempt (current is %d, %s)'.format([
                oldSelf.spec.attempt,
                self.?status.?current.?number.orValue(0) == oldSelf.spec.attempt ? self.status.state : 'Pending'])
        """,
        field_path=".spec.attempt",
    ),
    Rule(
        rule="""
            self.spec.attempt == oldSelf.spec.attempt
            || self.?status.?current.?outcome.orValue('') != 'Lost'
            || self.spec.acceptLost >= oldSelf.spec.attempt
        """,
        message="spec.acceptLost: must name the Lost attempt, which may still run, before the next one may begin",
        message_expression="""
            'spec.acceptLost: must be %d before the next attempt may begin: that one is Lost, and may still run'
                .format([oldSelf.spec.attempt])
        """,
        field_path=".spec.acceptLost",
    ),
)

_UNION = (
    Rule(
        rule="""
            [has(self.spark), has(self.kubernetesJob), has(self.yarn), has(self.plugin)].exists_one(given, given)
        """,
        message="spec: give exactly one of spark, kubernetesJob, yarn, plugin",
    ),
    Rule(
        rule="""
            self.backendRef.type == 'SparkStandalone' ? has(self.spark)
            : self.backendRef.type == 'Yarn' ? (has(self.spark) || has(self.yarn))
            : self.backendRef.type == 'Kubernetes' ? (has(self.spark) || has(self.kubernetesJob))
            : has(self.plugin)
        """,
        message=(
            "spec.backendRef.type: does not fit the work: SparkStandalone takes spark; Yarn takes spark or yarn; "
            "Kubernetes takes spark or kubernetesJob; Plugin takes plugin"
        ),
        field_path=".backendRef.type",
    ),
)

_ATTEMPT = (
    Rule(
        rule="oldSelf.hasValue() || self.attempt == 1",
        message="spec.attempt: a new DurableJob begins with attempt 1",
        field_path=".attempt",
        optional_old_self=True,
    ),
    # kubernetesJob.template keeps unknown fields, which CEL cannot name. Comparing the parent still
    # notices a changed value at any depth; only a top-level field of the template that is replaced by a
    # field of another name passes (seen on 1.34). The body's hash in the reservation catches that one.
    Rule(
        rule=f"self.attempt != oldSelf.attempt || ({kept('spark', 'kubernetesJob', 'yarn', 'plugin')})",
        message="spec: the work may change only together with spec.attempt",
    ),
    Rule(
        rule="self.attempt != oldSelf.attempt || self.backendRef == oldSelf.backendRef",
        message="spec.backendRef: may change only together with spec.attempt",
        field_path=".backendRef",
    ),
    Rule(
        rule="self.acceptLost >= oldSelf.acceptLost",
        message="spec.acceptLost: may not shrink; a risk once taken stays taken",
        field_path=".acceptLost",
    ),
    Rule(
        rule="self.acceptLost <= self.attempt",
        message="spec.acceptLost: may not be greater than spec.attempt; no risk is taken in advance",
        field_path=".acceptLost",
    ),
)

_HOLDER = (
    Rule(
        rule="!has(oldSelf.holder) || has(self.holder)",
        message="spec.holder: may be taken over, but not removed",
    ),
    Rule(
        rule="!has(self.holder) || self.holder.acknowledged <= self.attempt",
        message="spec.holder.acknowledged: may not be greater than spec.attempt",
        field_path=".holder.acknowledged",
    ),
)

# A wish is fenced when it is written: later it stands, whoever holds. Raising the attempt may keep it
# (it then is the record of an older attempt, and has no effect) or drop it.
_STANDS = "(oldSelf.hasValue() && has(oldSelf.value().cancel) && self.cancel == oldSelf.value().cancel)"
_CANCEL = (
    Rule(
        rule=f"!has(oldSelf.cancel) || oldSelf.cancel.attempt != self.attempt || ({kept('cancel')})",
        message="spec.cancel: once given for an attempt it stands: neither changed nor removed until the next attempt",
    ),
    Rule(
        rule=f"!has(self.cancel) || {_STANDS} || self.cancel.attempt == self.attempt",
        message="spec.cancel.attempt: must be the current attempt, spec.attempt",
        field_path=".cancel.attempt",
        optional_old_self=True,
    ),
    Rule(
        rule=f"""
            !has(self.cancel) || {_STANDS} || self.cancel.cause == 'User'
            || (has(self.holder) && self.cancel.?holderID.orValue('') == self.holder.id)
        """,
        message="spec.cancel.holderID: must be the current holder, spec.holder.id (unless cause is User)",
        field_path=".cancel.holderID",
        optional_old_self=True,
    ),
)

JOB_SPEC = (*_UNION, *_ATTEMPT, *_HOLDER, *_CANCEL)

HOLDER = (
    Rule(
        rule="self.incarnation != oldSelf.incarnation || self.tryNumber >= oldSelf.tryNumber",
        message="spec.holder.tryNumber: may not shrink while spec.holder.incarnation stays the same",
        field_path=".tryNumber",
    ),
    Rule(
        rule="self.acknowledged >= oldSelf.acknowledged",
        message="spec.holder.acknowledged: may not shrink; a new holder carries it over",
        field_path=".acknowledged",
    ),
)

SPARK = (
    Rule(
        rule="has(self.mainClass) || self.mainApplicationFile.matches('^[^?]*[.]py([?]|$)')",
        message="spec.spark.mainClass: required, unless mainApplicationFile ends in .py",
    ),
    Rule(
        rule="!has(self.mainClass) || !self.mainApplicationFile.matches('^[^?]*[.]py([?]|$)')",
        message="spec.spark.mainClass: leave it out for a Python application",
        field_path=".mainClass",
    ),
)

POD_VOLUME = (
    Rule(
        rule="""
            [has(self.persistentVolumeClaim), has(self.secret), has(self.configMap), has(self.emptyDir)]
                .exists_one(given, given)
        """,
        message=(
            "spec.spark.kubernetes: a volume takes exactly one of persistentVolumeClaim, secret, configMap, emptyDir"
        ),
    ),
)

ENV_VAR = (
    Rule(
        rule="has(self.value) != has(self.valueFrom)",
        message="spec.spark.env: give exactly one of value and valueFrom",
    ),
)

BACKEND = (
    Rule(
        rule="""
            [has(self.sparkStandalone), has(self.yarn), has(self.kubernetes), has(self.plugin)]
                .exists_one(given, given)
        """,
        message="spec: give exactly one of sparkStandalone, yarn, kubernetes, plugin",
    ),
    Rule(
        rule="""
            has(self.sparkStandalone) == has(oldSelf.sparkStandalone) && has(self.yarn) == has(oldSelf.yarn)
            && has(self.kubernetes) == has(oldSelf.kubernetes) && has(self.plugin) == has(oldSelf.plugin)
        """,
        message="spec: a backend's type never changes; create another backend",
    ),
    Rule(
        rule="!has(self.fence) || self.fence.mode == 'Gate' || has(self.yarn)",
        message="spec.fence.mode: Staging is for yarn only; use Gate",
        field_path=".fence.mode",
    ),
    # What would be ignored there is refused: who writes it believes in it.
    Rule(
        rule="!has(self.fence) || !has(self.kubernetes)",
        message="spec.fence: not with kubernetes, where an object is activated once, by its uid; leave it out",
        field_path=".fence",
    ),
)

FENCE = (
    Rule(
        rule="self.mode == 'Gate' || !has(self.gate)",
        message="spec.fence.gate: only with mode Gate; the staging fence asks none",
        field_path=".gate",
    ),
)

# Without it drivers are not looked for any more: those that run would be Lost.
KUBERNETES = (
    Rule(
        rule="!has(oldSelf.spark) || has(self.spark)",
        message="spec.kubernetes.spark: cannot be removed, drivers of this backend may run; create another backend",
    ),
)

YARN_SPARK = (
    Rule(
        rule="has(self.archive) != has(self.jars)",
        message="spec.yarn.spark: give exactly one of archive and jars",
    ),
)
