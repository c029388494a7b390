"""``make report``: write the figures of build/results, with their dates, into docs/reliability.md.

Figures are never copied by hand: what the commands wrote is what the document says. What was not run again keeps its
section, which has its own date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import drivers, standalone, triggers, yarn
from tests.bench.table import Row as Titled

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "results"
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- results: written by `make report` from build/results; do not edit -->", "<!-- end of results -->"

Figures = dict[str, Any]
Row = Sequence[object]


def table(heads: Sequence[str], rows: Sequence[Row]) -> str:
    """A table as Markdown has it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _date(figures: Figures) -> str:
    return str(figures["at"])[:10]


def _took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _versions(figures: Figures) -> str:
    return ", ".join(f"{name} {version}" for name, version in figures.get("versions", {}).items())


def explore(found: Figures) -> str:
    """One row per kind of system."""
    kinds: dict[str, list[Figures]] = {}
    for world in found["kinds"]:
        system, *circumstances = world["name"].partition(" [")[0].split(", ")
        name = f"{system}, no recovery" if "no recovery" in circumstances else system
        kinds.setdefault(name, []).append(world)
    rows = [
        (
            name, len(worlds), f"{sum(w['states'] for w in worlds):,}", sum(w["violations"] for w in worlds),
            sum(w["stuck"] or 0 for w in worlds),
        )
        for name, worlds in kinds.items()
    ]  # fmt: skip
    noticed = sum(rule["noticed"] for rule in found["ablations"])
    return (
        f"{table(('kind of system', 'worlds', 'states', 'violations', 'stuck'), rows)}\n\n"
        f"Rules taken away: {len(found['ablations'])}, noticed: {noticed}. {_date(found)}, {_took(found['seconds'])}."
    )


def crash(found: Figures) -> str:
    """One row per external system."""
    heads = ("system", "cells", "passed", "skipped", "started twice", "left", "wrong end", "recovery p50", "p99", "max")

    def row(name: str, f: Figures) -> Row:
        recovery = f["recovery_s"]
        times = [f"{recovery[key]:.1f} s" for key in ("p50", "p99", "max")]
        wrong = f["wrong_ends"] + f["stuck"]
        return (name, f["cells"], f["passed"], f["skipped"], f["duplicates"], f["orphans"], wrong, *times)

    rows = [*(row(name, figures) for name, figures in found["systems"].items()), row("**all**", found)]
    whole = "" if found["complete"] else " Chosen among all cells (ONLY, CELLS)."
    said = _versions(found)
    return (
        f"{table(heads, rows)}\n\n{_date(found)}, {_took(found['seconds'])}{f', with {said}' if said else ''}.{whole}"
    )


def faults(found: Figures) -> str:
    """One row per scene."""
    heads = ("scene", "jobs", "programs started", "the fault struck", "recovery", "")
    rows = [
        (
            scene["name"], scene["jobs"], scene["starts"], scene["struck"], f"{scene['recovery_s']:.1f} s",
            "wrong" if scene["wrong"] else "right",
        )
        for scene in found["by_scene"]
    ]  # fmt: skip
    dates = sorted({_date(scene) for scene in found["by_scene"]})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{table(heads, rows)}\n\n{found['passed']} of {found['scenes']} scenes as they should be. {when}."


def bad(found: Figures) -> str:
    """What became of the objects."""
    names = (
        "objects", "refused_by_the_api_server", "accepted", "stored_invalid", "good_jobs", "crashes", "stalls",
        "slowest_verdict_s", "slowest_good_job_s", "memory_mb",
    )  # fmt: skip
    rows = [(name.replace("_", " "), _words(found[name])) for name in names]
    return f"{table(('what', 'figure'), rows)}\n\n{_date(found)}."


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)


def seeded(found: Figures) -> str:
    """One row per mistake."""
    rows = [(bug["name"], f"`{bug['caught_by']}`" if bug["caught_by"] else "nobody") for bug in found["bugs"]]
    caught = sum(bug["caught_by"] is not None for bug in found["bugs"])
    return f"{caught} of {len(rows)} noticed. {_date(found)}.\n\n{table(('mistake', 'the test that notices it'), rows)}"


def bench(titles: Sequence[Titled]) -> Callable[[Figures], str]:
    """Beside spark-submit in the same run."""

    def words(found: Figures) -> str:
        figures = {name: f"{found[name]:,.1f}".removesuffix(".0") for _, name, _, _ in titles}
        rows = [(title, f"{figures[name]} {unit}".strip(), goal.strip("()-")) for title, name, unit, goal in titles]
        about = found["about"]
        versions = ", ".join(f"{name} {version}" for name, version in about.items() if name not in ("at", "load"))
        said = f"{_date(about)}, with {versions}; load of the machine when it began: {about['load']:.1f}."
        return f"{table(('what', 'measured', 'target'), rows)}\n\n{said}"

    return words


PARTS: tuple[tuple[str, str, Callable[[Figures], str]], ...] = (
    ("explore", "Every order of events (`make explore`)", explore),
    ("crash", "Every crash point (`make crash`)", crash),
    ("crash-SparkOnKubernetes", "The same with drivers' Pods (`make crash ONLY=SparkOnKubernetes`)", crash),
    ("crash-double", "Two crashes in one life (`make crash-double`)", crash),
    ("faults", "Everything around it (`make faults`)", faults),
    ("bad", "Bad resources (`make bad`)", bad),
    ("seeded", "The tests' own power (`make seeded`)", seeded),
    (
        "bench",
        "What a submission to Spark standalone costs, and what the controller can do (`make bench`)",
        bench(standalone.ROWS),
    ),
    ("bench-yarn", "What a submission to YARN costs (`make bench`)", bench(yarn.ROWS)),
    ("bench-drivers", "What a submission of a driver's Pod costs (`make bench`)", bench(drivers.ROWS)),
    ("bench-triggers", "Tasks that wait in a triggerer (`make bench`)", bench(triggers.ROWS)),
)


def written(text: str, results: Path) -> str:
    """The document with a section for each result; where there is none, the section that it had.

    Raises:
        SystemExit: the document has no place for the results, or several.
    """
    places = list(re.finditer(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", text, flags=re.DOTALL))
    if len(places) != 1:
        raise SystemExit(f"{DOCUMENT.name} has {len(places)} places for the results, not 1")
    begin, end = places[0].span()
    section = r"^### ([^\n]+)\n\n(.*?)(?=\n\n### |\Z)"
    had = dict(re.findall(section, text[begin:end].strip(), flags=re.DOTALL | re.MULTILINE))
    parts = []
    for name, title, words in PARTS:
        path = results / f"{name}.json"
        if path.exists():
            said = words(json.loads(path.read_text()))
        else:
            said = had.get(title, "No result yet.")
            print(f"no new result, the document {'keeps' if title in had else 'has none'}: {title}", file=sys.stderr)
        parts.append(f"### {title}\n\n{said}")
    return "\n\n".join([text[:begin], *parts, text[end:]])


def main() -> int:
    """The command."""
    DOCUMENT.write_text(written(DOCUMENT.read_text(), RESULTS))
    print(f"{DOCUMENT.relative_to(ROOT)} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
