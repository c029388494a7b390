"""Each mistake still has its place: the long run would notice only after the code has gone on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.seeded.bugs import BUGS, Bug
from tests.seeded.kubernetes import KUBERNETES
from tests.seeded.yarn import YARN

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("bug", [*BUGS, *KUBERNETES, *YARN], ids=lambda bug: bug.name)
def test_its_place_stands_once_in_the_code(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text().count(bug.right) == 1
    assert bug.wrong != bug.right
