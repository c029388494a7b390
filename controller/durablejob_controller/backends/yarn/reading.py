"""What the ResourceManager's words about an application mean; pure.

``state`` says where the application stands, ``finalStatus`` what its ApplicationMaster said last. FINISHED: it has said
how it ended. FAILED: the system ended it, or it ended without saying so; the diagnostics name an exit code. Diagnostics
are prose; what is read from them was seen on Hadoop 3.5.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from durablejob_api.status import Progress
from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.yarn.managers import App
from durablejob_controller.backends.yarn.staging import FENCE

_PHASES = {
    "NEW": Phase.QUEUED,
    "NEW_SAVING": Phase.QUEUED,
    "SUBMITTED": Phase.QUEUED,
    "ACCEPTED": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "FINISHED": Phase.ENDED,
    "FAILED": Phase.ENDED,
    "KILLED": Phase.ENDED,
}
_EXIT = re.compile(r"(?:exitCode|exited with status|Exit code|exit code):? ?(-?\d{1,9})(?!\d)")
_MASTER_SILENT = re.compile(r"ApplicationMaster for attempt \S+ timed out")
_QUEUE = re.compile(
    r"unknown queue|queue .* doesn't exist|is not a leaf queue|Failed to submit .* queue", re.IGNORECASE
)
_LOCALIZED = re.compile(r"^.*(?:File does not exist|changed on src filesystem|Permission denied).*$", re.MULTILINE)
_LINE = 600
_PAGE = 1024
"""The longest address of a page that a DurableJob holds: an ApplicationMaster may register any."""
REFUSED_EXITS = frozenset({-1000})
"""Its container could not be localized: nothing of it has run."""
KILLED_EXITS = frozenset({137, 143, -105, -106})
_LOST_EXITS = frozenset({-100, -107})
"""Released with its node: the process may live on. Or its node says that the application is over: then an earlier run
of it has ended there, which the ResourceManager knows no more, and this is a copy."""
_COPY_EXIT = -107
_FLEETING = ("NEW", "NEW_SAVING")
"""Accepted, and not saved yet: after a crash the ResourceManager knows it no more, and it has never begun."""
_REASONS = {
    -102: "Preempted",
    -103: "MemoryExceeded",
    -104: "MemoryExceeded",
    -101: "DisksFailed",
}


_SPARK_EXITS = {
    11: "too many executors have failed",
    13: "the program created no SparkContext, or failed before it had one",
    15: "the program threw an exception",
}
"""What Spark's ApplicationMaster means by its exit codes, where that helps."""


class _End(NamedTuple):
    verdict: Verdict
    reason: str | None
    exit_code: int | None


def run_of(app: App) -> Run:
    """The application as a run."""
    phase = _PHASES.get(app.state, Phase.RUNNING)
    told = (app.diagnostics or "").strip()
    end = _end(app, told) if phase is Phase.ENDED else None
    return Run(
        id=app.id,
        phase=phase,
        started_time=str(app.started_time) if app.started_time and app.state not in _FLEETING else None,
        verdict=end.verdict if end else None,
        reason=end.reason if end else None,
        message=_message(app, told, end),
        exit_code=end.exit_code if end else None,
        tracking_url=_page(app.tracking_url or ""),
        progress=_progress(app),
    )


def _end(app: App, told: str) -> _End:
    if app.state == "KILLED":
        return _End(Verdict.KILLED, None, None)
    code = _exit_code(told)
    if app.state == "FINISHED":
        if app.final_status == "SUCCEEDED":
            return _End(Verdict.SUCCEEDED, None, 0 if code is None else code)
        if app.final_status == "KILLED":
            return _End(Verdict.KILLED, None, code)
        undefined = "EndUndefined" if app.final_status != "FAILED" else None
        return _End(Verdict.FAILED, undefined, code)
    if code in REFUSED_EXITS:
        return _End(Verdict.REFUSED, None if f"/{FENCE}" in told else "LocalizationFailed", code)
    if code in _LOST_EXITS or _MASTER_SILENT.search(told):
        return _End(Verdict.UNKNOWN, None, code)
    if code in KILLED_EXITS:
        return _End(Verdict.KILLED, None, code)
    if code is None and _QUEUE.search(told):
        return _End(Verdict.FAILED, "QueueRefused", None)
    if code is None:
        return _End(Verdict.FAILED, "ApplicationFailed", None)
    return _End(Verdict.FAILED, _REASONS.get(code), code)


def _exit_code(told: str) -> int | None:
    found = _EXIT.search(told)
    return int(found[1]) if found else None


def _message(app: App, told: str, end: _End | None) -> str | None:
    if end is None:
        return _first(told) or (f"in queue {app.queue}" if app.state == "ACCEPTED" and app.queue else None)
    said = f"YARN says {app.state}" + (f", {app.final_status}" if app.state == "FINISHED" else "")
    if end.verdict is Verdict.SUCCEEDED:
        return None
    if end.verdict is Verdict.REFUSED:
        found = _LOCALIZED.search(told)
        return f"{said}: the container's files could not be fetched: {(found[0] if found else _first(told))[:_LINE]}"
    if end.exit_code == _COPY_EXIT:
        return f"{said}: an earlier run of this application has ended on that node, and is known no more"
    if app.state == "FAILED" and end.exit_code is not None and end.exit_code > 0:
        spark = _SPARK_EXITS.get(end.exit_code) if app.type == "SPARK" else None
        means = f" ({spark})" if spark else ""
        return f"{said}: the ApplicationMaster's container ended with exit code {end.exit_code}{means}; see its stderr"
    return f"{said}: {_first(told)}" if told else said


def _first(told: str) -> str:
    """The beginning of the diagnostics, without the stack trace."""
    lines = [line.strip() for line in told.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return " ".join(lines)[:_LINE]


def _page(url: str) -> str | None:
    return url if url.startswith(("http://", "https://")) and len(url) <= _PAGE and url.isprintable() else None


def _progress(app: App) -> Progress | None:
    """Spark says 10 % from its beginning to its end: that is none."""
    if app.type == "SPARK" or app.state != "RUNNING" or not 0 <= app.progress <= 100:
        return None
    return Progress(percent=int(app.progress))
