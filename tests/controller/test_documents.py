"""The documents say what is so: reasons, alerts, metrics and causes as the code has them, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from durablejob_api.backend import ClusterJobBackendSpec, JobBackendSpec
from durablejob_api.spec import CancelCause
from durablejob_api.status import State
from durablejob_controller import metrics
from tests.controller.reasons_of_code import reasons

ROOT = Path(__file__).parents[2]
ON_CALL = ROOT / "docs" / "on-call.md"
RULES = ROOT / "charts" / "durablejob" / "files" / "rules.yaml"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
        ROOT / "charts" / "durablejob" / "README.md",
    ]
)
CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^ *```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SPECS = {"JobBackend": JobBackendSpec, "ClusterJobBackend": ClusterJobBackendSpec}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def tables(path: Path) -> dict[str, set[str]]:
    """Head of the first column -> what stands in backquotes there, in all tables with that head."""
    found: dict[str, set[str]] = {}
    head = None
    for line in CODE.sub("", path.read_text()).splitlines():
        if not line.startswith("|"):
            head = None
            continue
        first = line.split("|")[1].strip()
        if head is None:
            head = first
        elif set(first) - set("-: "):
            found.setdefault(head, set()).update(re.findall(r"`([^`]+)`", first))
    return found


def anchors(path: Path) -> set[str]:
    """Of each heading, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", CODE.sub("", path.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(next(name for name in (slug, *(f"{slug}-{n}" for n in range(1, 100))) if name not in found))
    return found


def test_every_reason_that_the_code_can_write_is_told_on_call() -> None:
    told = tables(ON_CALL)
    missing = {word: sorted(where) for word, where in reasons().items() if word not in told["reason"] | told["state"]}
    assert missing == {}


def test_every_reason_that_is_told_is_one_of_the_codes() -> None:
    assert tables(ON_CALL)["reason"] - reasons().keys() == set()


def test_reasons_are_found_wherever_they_are_made() -> None:
    """One of each way: a constant, a factory, a dict, a tuple that is returned, a name of an error, a probe."""
    found = reasons()
    ways = {
        "Suspended",
        "NotJudged",
        "MemoryExceeded",
        "WaitingForWorker",
        "BackendFault",
        "HdfsUnavailable",
        "NodeGone",
    }
    assert ways - found.keys() == set()
    assert "Error" not in found, "a container's Error is told as ProgramFailed"


def test_states_and_causes_are_those_of_the_api() -> None:
    told = tables(ON_CALL)
    assert told["state"] == {state.value for state in State}
    assert told["cause"] == {cause.value for cause in CancelCause}


def test_every_alert_is_told_and_no_other() -> None:
    rules = yaml.safe_load(RULES.read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert tables(ON_CALL)["alert"] == alerts


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_metric_that_is_named_is_exported(path: Path) -> None:
    families = [metric for metric in vars(metrics).values() if isinstance(metric, Counter | Gauge | Histogram)]
    known = {f"{one._name}{end}" for one in families for end in ("", "_total", "_count", "_sum", "_bucket")}
    packages = {"durablejob_controller", "durablejob_airflow", "durablejob_api", "durablejob_default"}
    named = set(re.findall(r"(?<![\w/.-])durablejob_[a-z_]*[a-z]", path.read_text()))
    assert named - known - packages == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(path: Path) -> None:
    broken = []
    for target in LINK.findall(CODE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_backend_that_is_shown_is_one() -> None:
    shown = [
        found
        for path in PAGES
        for text in YAML.findall(path.read_text())
        for found in yaml.safe_load_all(text)
        if found["kind"] in SPECS
    ]
    assert len(shown) > 4
    for found in shown:
        SPECS[found["kind"]].model_validate(found["spec"])  # what is unknown is refused
