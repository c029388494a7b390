"""The job's story as lines for the task's log: pure functions, used by worker and trigger alike."""

from __future__ import annotations

from durablejob_airflow.view import ConditionView, JobView

_TROUBLES = ("Accepted", "BackendReachable")
"""Conditions whose being False explains why a job does not move. (The others say no more than the state.)"""


def troubles(job: JobView) -> list[ConditionView]:
    """What keeps the job from moving, most telling first."""
    return [c for kind in _TROUBLES for c in job.conditions if c.type == kind and c.status == "False"]


def _because(reason: str | None, message: str | None) -> str:
    """`` (Reason): message``, with whatever is there."""
    return (f" ({reason})" if reason else "") + (f": {message}" if message else "")


def headline(job: JobView) -> str:
    """State, reason and message of the wished-for attempt in one line; below it the end of the program's log."""
    subject = f"DurableJob {job.namespace}/{job.name}, attempt {job.attempt}"
    trouble = next(iter(troubles(job)), None)
    if not job.taken_up:
        # The status may still speak of an older attempt; only its conditions about the backend are news.
        why = _because(trouble.reason, trouble.message) if trouble and job.number == 0 else ""
        return f"{subject}: Pending{why or ', not yet taken up by the controller'}"
    reason, message = job.reason, job.message
    if not reason and trouble and not job.outcome:
        reason, message = trouble.reason, trouble.message
    code = f" [exit code {job.exit_code}]" if job.exit_code is not None else ""
    first, newline, tail = (message or "").partition("\n")  # the end of the program's log, where the backend tells it
    return f"{subject}: {job.outcome or job.state}{_because(reason, first)}{code}{newline}{tail}"


def tell(before: JobView | None, now: JobView) -> list[str]:
    """The lines that are new since ``before``: each transition is told once.

    With ``before`` None the whole story so far is told, as after a resumption.
    """
    fresh = before is None or before.attempt != now.attempt
    lines = []
    if fresh or before is None or headline(before) != headline(now):
        lines += headline(now).splitlines()
    if not now.taken_up:
        return lines
    old = None if fresh or before is None or not before.taken_up else before
    if now.cancelled_for and (old is None or not old.cancelled_for) and not now.outcome:
        lines.append(f"Its end is wished for, cause {now.cancelled_for}")
    if now.external_id and (old is None or old.external_id != now.external_id):
        lines.append(f"External id: {now.external_id}")
    if now.tracking_url and (old is None or old.tracking_url != now.tracking_url):
        lines.append(f"Tracking URL: {now.tracking_url}")
    if now.progress and not now.outcome and (old is None or old.progress != now.progress):
        lines.append(f"Progress: {now.progress}")
    return lines if now.outcome else lines + _changes(old, now)


def _changes(old: JobView | None, now: JobView) -> list[str]:
    """What hinders the job since ``old``, where the headline does not say it, and what does no longer."""
    before = {condition.type: condition for condition in old.conditions} if old else {}
    lines = []
    for kind in _TROUBLES:
        was, found = before.get(kind), next((c for c in now.conditions if c.type == kind), None)
        if found is None or found == was:
            continue
        if found.status == "False" and not (found.message and found.message in headline(now)):
            lines.append(f"{kind} is False{_because(found.reason, found.message)}")
        elif found.status == "True" and was is not None and was.status == "False":
            lines.append(f"{kind} is True again")
    return lines


def is_final(job: JobView) -> bool:
    """A retry would be wrong: a person ended the attempt, or the same arguments would meet the same refusal.

    A job that is being deleted ends Cancelled first: whoever sees that and whoever sees it gone must come to the same.
    """
    by_person = job.deleting or job.cancelled_for in ("User", "MarkedFailed", "MarkedSuccess", "Skipped")
    return (job.ended == "Cancelled" and by_person) or (job.ended == "Failed" and job.reason == "InvalidSpec")


def lost_text(job: JobView) -> str:
    """What is known of a lost attempt, and what a person can do."""
    return (
        f"{headline(job)}. External id: {job.external_id or 'none'}. It can no longer be known whether the "
        "program ran to its end, or still runs, so it is not run again by itself. When you are sure that it does not "
        f"run: kubectl -n {job.namespace} patch dj {job.name} --type merge -p "
        f"'{{\"spec\":{{\"acceptLost\":{job.attempt}}}}}' and clear the task (or set on_lost='resubmit')"
    )
