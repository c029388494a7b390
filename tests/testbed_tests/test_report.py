"""The document of results: a new result takes the place of its section, and nothing else changes."""

import json
from pathlib import Path

import pytest

from tests import report

BAD = {
    "objects": 7, "refused_by_the_api_server": {"one": 1}, "accepted": 6, "stored_invalid": 0, "good_jobs": 3,
    "crashes": 0, "stalls": 0, "slowest_verdict_s": 1.5, "slowest_good_job_s": 2.5, "memory_mb": 80,
    "at": "2031-05-06T07:08:09Z",
}  # fmt: skip


def test_without_new_results_the_document_stays_as_it_is(tmp_path: Path) -> None:
    text = report.DOCUMENT.read_text()
    assert report.written(text, tmp_path) == text


def test_a_new_result_takes_the_place_of_its_section_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(BAD))
    before = report.DOCUMENT.read_text()
    after = report.written(before, tmp_path)
    assert "2031-05-06" in after

    def others(text: str) -> list[str]:
        return [part for part in text.split("\n### ") if not part.startswith("Bad resources")]

    assert others(after) == others(before)
    assert report.written(after, tmp_path) == after


def test_a_part_that_never_ran_says_so(tmp_path: Path) -> None:
    made = report.written(f"Before.\n\n{report.BEGIN}\n\n{report.END}\n\nAfter.\n", tmp_path)
    assert made.count("No result yet.") == len(report.PARTS)
    assert made.startswith("Before.\n\n<!--")
    assert made.endswith("-->\n\nAfter.\n")


@pytest.mark.parametrize("places", [0, 2])
def test_a_document_without_one_place_for_results_is_refused(places: int, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"has {places} places"):
        report.written(f"{report.BEGIN}\n{report.END}\n" * places, tmp_path)
