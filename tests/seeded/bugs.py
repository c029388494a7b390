"""The mistakes: a place in the code, what it becomes, and the tests that are asked."""

from __future__ import annotations

from dataclasses import dataclass

_C = "controller/durablejob_controller/"
_A = "operators/durablejob_airflow/"
_DECIDE = ("tests/controller/test_decide.py",)
_CLAIMS = ("tests/controller/test_claims.py",)
_GATE = ("tests/controller/test_gate.py",)
_ROLLBACK = ("tests/controller/test_rollback.py",)
_RECONCILE = ("tests/controller/test_reconcile.py", "tests/controller/test_reconcile_errors.py")
_JOBS = ("tests/controller/test_jobs.py",)
_MASTER = ("tests/backends/spark_standalone/test_backend.py", "tests/backends/spark_standalone/test_listing.py")
_IDENTITY = ("tests/operators/test_identity.py",)
_SUCCESS = ("tests/operators/test_success.py",)


@dataclass(frozen=True)
class Bug:
    """One mistake."""

    name: str
    file: str
    right: str
    """Text that stands there once."""
    wrong: str
    asked: tuple[str, ...]


BUGS = (
    Bug(
        "the compare-and-swap is dropped: another's write is overwritten", _C + "kube.py",
        "            raise KubernetesError(\"a compare-and-swap needs a resourceVersion\")\n",
        "            pass\n"
        "        body = {**body, \"metadata\": {k: v for k, v in meta.items() if k != \"resourceVersion\"}}\n",
        ("tests/controller/test_kube.py",),
    ),
    Bug(
        "it is submitted before it is recorded", _C + "reconcile.py",
        "                written = await self._record(entry, status)\n"
        "                return written is not None and await self._external.submit(uid, entry, written, secrets)\n",
        "                again = await self._external.submit(uid, entry, version, secrets)\n"
        "                return await self._record(entry, status) is not None and again\n",
        _RECONCILE,
    ),
    Bug(
        "another version is replaced than the one that was decided upon", _C + "reconcile.py",
        "                if not entry.is_at(version):\n", "                if False:\n",
        ("tests/controller/test_meanwhile.py",),
    ),
    Bug(
        "a job is submitted that is cancelled by now", _C + "external.py",
        "            return True  # it may be cancelled by now, or another claim be open\n", "            pass\n",
        ("tests/controller/test_meanwhile.py",),
    ),
    Bug(
        "a body is sent that is not the one that was reserved", _C + "external.py",
        "if backend.body_hash(entry.job, current.key) != current.reservation.body_hash:",
        "if False:",
        _RECONCILE,
    ),
    Bug(
        "a loser of the claim is believed", _C + "steps.py",
        "    if run.id != run_id or run.foreign:\n        return False\n",
        "",
        _DECIDE,
    ),
    Bug(
        "a run of another start under the same id is believed", _C + "steps.py",
        "run.started_time in (None, current.run_started_time)",
        "True",
        _DECIDE,
    ),
    Bug(
        "the claim is keyed by the driver id, not by the JVM's nonce", _C + "claims.py",
        "and record.nonce == nonce:\n        # Also",
        "and record.driver == driver:\n        # Also",
        _CLAIMS,
    ),
    Bug(
        "leave to start is given although a cancel is wished", _C + "claims.py",
        "    if wishes_end(job, current.number):\n        return \"the job is being cancelled\"\n",
        "",
        _CLAIMS,
    ),
    Bug(
        "leave to start is given for a claim that was replaced", _C + "claims.py",
        "    if record.number != claim.number:\n",
        "    if record.number < claim.number:\n",
        _CLAIMS,
    ),
    Bug(
        "anybody's report of the end is noted", _C + "claims.py",
        " or record.nonce != nonce:\n        return None\n    done",
        ":\n        return None\n    done",
        _CLAIMS,
    ),
    Bug(
        "the end does not revoke an open claim", _C + "record.py",
        "if claim is not None and claim.state is ClaimState.OPEN:",
        "if False:",
        (*_CLAIMS, *_DECIDE),
    ),
    Bug(
        "a winner's absence is judged from a list", _C + "gated.py",
        "    if not seen.confirmed:\n        return LookUp(exactly=True)\n    if claim.how",
        "    if claim.how",
        _DECIDE,
    ),
    Bug(
        "an open claim is replaced upon an old list", _C + "gated.py",
        "    if not seen.fresh:\n        return LookUp()\n    if mine:",
        "    if mine:",
        _DECIDE,
    ),
    Bug(
        "a run that vanished is Lost at once", _C + "gated.py",
        "    if seen.lasting < LOST_GRACE:\n        return Wait(LOST_GRACE - seen.lasting)\n",
        "",
        _DECIDE,
    ),
    Bug(
        "a bare exit counts as success", _C + "steps.py",
        "    Ending.THREW: (Outcome.FAILED, reasons.THREW),\n",
        "    Ending.THREW: (Outcome.FAILED, reasons.THREW),\n    Ending.EXIT: (Outcome.SUCCEEDED, reasons.RETURNED),\n",
        _DECIDE,
    ),
    Bug(
        "a kill of ours that came too late still says Cancelled", _C + "steps.py",
        "    if run.verdict is Verdict.SUCCEEDED:\n        return",
        "    if run.verdict is Verdict.SUCCEEDED and not wishes_end(job, current.number):\n        return",
        _DECIDE,
    ),
    Bug(
        "an impostor under our name is believed", _C + "ungated.py",
        "    if impostor is not None:\n        return Kill(impostor.id)  # killed, not believed\n",
        "",
        _DECIDE,
    ),
    Bug(
        "the end is written before the fence is closed", _C + "ungated.py",
        "    if sighting is None or not sighting.closed or (start is not None and not sighting.ended_cleanly):\n"
        "        return Close(seen=start)\n",
        "",
        _DECIDE,
    ),
    Bug(
        "once accepted and then absent, it is submitted again", _C + "ungated.py",
        "if accepted or sighting.ended_cleanly or not sighting.remembers:",
        "if sighting.ended_cleanly or not sighting.remembers:",
        _DECIDE,
    ),
    Bug(
        "the next attempt begins after Lost without acceptLost", _C + "decide.py",
        "if lost and goes_on and job.spec.accept_lost < current.number:",
        "if False:",
        _DECIDE,
    ),
    Bug(
        "nothing is looked up before the first submission", _C + "decide.py",
        "    if not _looked_for(site, seen):\n"
        "        return _look_for(site)  # rule 4: also before the first submission\n",
        "",
        _DECIDE,
    ),
    Bug(
        "a deleted job is let go while its program runs", _C + "decide.py",
        "    claim = current.claim\n"
        "    if claim is not None and claim.state is ClaimState.OPEN:\n        return open_claim",
        "    claim = current.claim\n    if job.deleting:\n        return Unguard()\n"
        "    if claim is not None and claim.state is ClaimState.OPEN:\n        return open_claim",
        _DECIDE,
    ),
    Bug(
        "after a restore of etcd jobs begin as ever", _C + "decide.py",
        "    if why is not None and _begins(decision):\n",
        "    if False:\n",
        _DECIDE,
    ),
    Bug(
        "an administrator's word about another restore counts", _C + "backend_report.py",
        "get(CONFIRM_RESTORE) == mark)",
        "get(CONFIRM_RESTORE))",
        _ROLLBACK,
    ),
    Bug(
        "a restore is not noticed by the write before the submission", _C + "gate.py",
        "                if self._is_held(job):  # the write's own answer has told it\n"
        "                    return _later(\"start\", HELD)\n",
        "",
        _GATE,
    ),
    Bug(
        "what the reserving write tells of a restore comes too late", _C + "external.py",
        "        if self._sites.held(entry.job) is not None:\n"
        "            return True  # the answer to our last call has told it: decide again\n",
        "",
        _ROLLBACK,
    ),
    Bug(
        "the high-water file is not read", _C + "highwater.py",
        "        self.mark, self._from_file = max(self.mark, mark), True\n",
        "",
        ("tests/controller/test_highwater.py",),
    ),
    Bug(
        "a copy of a job that was let run runs too", _C + "restored.py",
        "meta.annotations.get(RUN_RESTORED) == meta.uid",
        "meta.annotations.get(RUN_RESTORED) is not None",
        _DECIDE,
    ),
    Bug(
        "a result is deleted before its holder has taken it", _C + "decide.py",
        "    if holder is not None and holder.acknowledged < current.number:\n",
        "    if False:\n",
        _DECIDE,
    ),
    Bug(
        "an answer to an earlier question counts as fresh", _C + "poller.py",
        "        if running is not None:\n            await asyncio.wait([running])\n",
        "        if running is not None and not running.done():\n            return await running\n",
        ("tests/controller/test_poller.py",),
    ),
    Bug(
        "an older answer replaces a newer one", _C + "jobs.py",
        "        if asked < self.asked and not (same and exact and asked >= self.read):\n            return\n",
        "",
        _JOBS,
    ),
    Bug(
        "an answer grows old while it is waited for: who answers slowly is never believed", _C + "jobs.py",
        "time.monotonic() - self.heard < CONFIRMED_FOR", "time.monotonic() - self.asked < CONFIRMED_FOR",
        _JOBS,
    ),
    Bug(
        "what a batch leaves out takes an exact answer away", _C + "jobs.py",
        "self.sighting is not None and _tells_no_more(sighting, self.sighting):", "same:",
        (*_JOBS, *_RECONCILE),
    ),
    Bug(
        "an older version of a job replaces a newer one", _C + "jobs.py",
        "if old is not None and not is_newer(raw, old.raw):",
        "if False:",
        _JOBS,
    ),
    Bug(
        "two workers reconcile one job at once", _C + "queue.py",
        "        if key in self._active:\n            self._again.add(key)\n        elif",
        "        if",
        ("tests/controller/test_queue.py",),
    ),
    Bug(
        "one slow backend takes all workers", _C + "engine.py",
        "WorkQueue(self._system_of, max(1, settings.workers // 2))", "WorkQueue()",
        ("tests/controller/test_engine.py",),
    ),
    Bug(
        "a leader goes on deciding when its lease has run out", _C + "lease.py",
        "held = self.leading and time.monotonic() - self._renewed < self._duration * 2 / 3",
        "held = self.leading",
        ("tests/controller/test_lease.py",),
    ),
    Bug(
        "the gate does not check who made a claim's URL", _C + "gate.py",
        "if not await self._tokens.knows(part[\"kid\"]) or "
        "not self._tokens.check(part[\"kid\"], claim, part[\"mac\"]):",
        "if False:",
        _GATE,
    ),
    Bug(
        "claim URLs are made with a key that other replicas do not know yet", _C + "tokens.py",
        "        return current if settled or self._using not in self._keys.by_id else self._using\n",
        "        return current\n",
        ("tests/controller/test_tokens.py",),
    ),
    Bug(
        "the gate judges a job by what an older version can read of it", _C + "gate.py",
        "                return _later(\"start\", unread.why.message)\n",
        "                pass\n",
        _GATE,
    ),
    Bug(
        "an older version ends what a newer one has written", _C + "jobs.py",
        "final=not newer)",
        "final=True)",
        _JOBS,
    ),
    Bug(
        "the winner's nonce is recorded as it is", _C + "gate.py",
        "    return hashlib.sha256(nonce.encode()).hexdigest()\n",
        "    return nonce\n",
        _GATE,
    ),
    Bug(
        "the gate lets a driver start that the Master does not list", _C + "gate.py",
        "            if raw is None or run is None:\n",
        "            run = run or Run(call.driver, \"running\")\n            if raw is None:\n",
        _GATE,
    ),
    Bug(
        "a 500 of the Master counts as a refusal", _C + "backends/spark_standalone/backend.py",
        "if status in (400, 413, 468) and",
        "if status in (400, 413, 468, 500) and",
        _MASTER,
    ),
    Bug(
        "a Master that stands by is asked for absence", _C + "backends/spark_standalone/masters.py",
        "            if listing.status == ALIVE:\n",
        "            if listing.status:\n",
        _MASTER,
    ),
    Bug(
        "a driver that the Master lost counts as failed", _C + "backends/spark_standalone/listing.py",
        "    \"ERROR\": Verdict.UNKNOWN,\n",
        "    \"ERROR\": Verdict.FAILED,\n",
        _MASTER,
    ),
    Bug(
        "the key does not hold the uid", "crds/durablejob_api/names.py",
        "_base32(\"attempt\", uid, str(attempt))",
        "_base32(\"attempt\", str(attempt))",
        ("tests/api/test_names.py",),
    ),
    Bug(
        "a cleared task adopts the job of before", _A + "identity.py",
        "    if facts.max_tries != holder.max_tries or job.cancelled_for == \"Cleared\":\n"
        "        return Relation.CLEARED\n",
        "",
        _IDENTITY,
    ),
    Bug(
        "a superseded try goes on", _A + "identity.py",
        "    if facts.try_number <= holder.try_number:\n        return Relation.STALE\n",
        "",
        _IDENTITY,
    ),
    Bug(
        "a retry runs a success again", _A + "identity.py",
        "    if job.ended == \"Succeeded\":\n        return Decision(Verb.TAKE_OVER,",
        "    if job.ended == \"Never\":\n        return Decision(Verb.TAKE_OVER,",
        _IDENTITY,
    ),
    Bug(
        "a proxy's 404 counts as a deleted job", _A + "resource.py",
        "    if status == 404 and parsed is not None and parsed.get(\"reason\") == \"NotFound\":\n",
        "    if status == 404:\n",
        ("tests/operators/test_resource.py",),
    ),
    Bug(
        "a task whose process was stopped cancels its job", _A + "wishes.py",
        "    return Verdict(Act.RESCHEDULE) if seen.state == \"running\" else KEEP\n",
        "    return Verdict(Act.CANCEL, \"User\")\n",
        ("tests/operators/test_wishes.py",),
    ),
    Bug(
        "a success that the trigger has told is lost with its job", _A + "operators/base.py",
        "        if self._success is None:\n            return self._settle(",
        "        if True:\n            return self._settle(",
        _SUCCESS,
    ),
    Bug(
        "a time limit that strikes after the success fails the task", _A + "operators/base.py",
        "        except (Exception, AirflowTaskTimeout) as error:", "        except Exception as error:",
        _SUCCESS,
    ),
    Bug(
        "a superseded try acknowledges the result", _A + "holder.py",
        "        if relate(self._record, job, self.facts) in (Relation.SAME, Relation.RETRY, Relation.UNKNOWN):\n",
        "        if True:\n",
        _SUCCESS,
    ),
    Bug(
        "a conflict is answered by the next try at once, for ever", _A + "cancel.py",
        "        except (Unavailable, Conflict):\n",
        "        except Conflict:\n            continue\n        except Unavailable:\n",
        ("tests/operators/test_cancel.py",),
    ),
    Bug(
        "a refused argument that a DAG gives as a default is dropped without a word", _A + "operators/refused.py",
        "if name in defaults and not", "if name in () and not",
        ("tests/operators/test_providers_arguments.py",),
    ),
    Bug(
        "the try that submitted counts as work: a retry takes its own job for another's", _A + "payload.py",
        "if not _LINEAGE.match(key)}", "if True}",
        ("tests/operators/test_lineage.py",),
    ),
    Bug(
        "a Secret's volume is named at random: a retry takes its own job for another's", _A + "kubernetes_payload.py",
        "volume = f\"secret-{number}\"", "volume = f\"secret-{__import__('uuid').uuid4()}\"",
        ("tests/operators/test_kubernetes_arguments.py::test_the_same_arguments_give_the_same_job",),
    ),
    Bug(
        "an old answer that lacks a start time counts as another start", _C + "ungated.py",
        "    if again and not seen.fresh:\n", "    if False:\n",
        _DECIDE,
    ),
    Bug(
        "progress is written at every look", _C + "jobs.py",
        "if time.monotonic() - self.progress_since < PROGRESS_EVERY:", "if False:",
        _RECONCILE,
    ),
    Bug(
        "a finished job keeps the progress that it once told", _C + "record.py",
        ".model_copy(update={\"progress\": said})", "",
        _DECIDE,
    ),
    Bug(
        "an error in judging a job's work ends what was reserved", _C + "steps.py",
        "        return site.unfit.why if site.unfit.final else None\n", "        return site.unfit.why\n",
        _DECIDE,
    ),
    Bug(
        "what cannot be judged is submitted", _C + "steps.py",
        "    if site.unfit is not None:  # an error in judging it", "    if False:  # an error in judging it",
        _DECIDE,
    ),
    Bug(
        "what a job waits for is never told", _C + "steps.py",
        "        if patience <= 0:\n            patience, why = None, Why(run.reason, run.message or why.message)\n",
        "",
        _DECIDE,
    ),
    Bug(
        "a size that Spark refuses is submitted", _C + "backends/spark_rules.py",
        "        if name in conf:\n", "        if False:\n",
        ("tests/backends/test_spark_rules.py",),
    ),
    Bug(
        "a program's log is told unasked", _C + "backends/kubernetes_objects/tails.py",
        "        if not self._lines:\n            return {}\n",
        "",
        ("tests/backends/kubernetes_job/test_tails.py",),
    ),
    Bug(
        "an end waits for a log that is never told", _C + "backends/kubernetes_objects/tails.py",
        "            _, late = await asyncio.wait(tasks, timeout=PATIENCE)\n",
        "            _, late = await asyncio.wait(tasks)\n",
        ("tests/backends/kubernetes_job/test_tails.py",),
    ),
)  # fmt: skip
