"""A small exploration with every test run; ``make explore`` does the large one."""

from __future__ import annotations

import pytest

from tests.model.ablations import ABLATIONS, Ablation, noticed
from tests.model.worlds import SMALL, Exploration, title


@pytest.mark.parametrize("exploration", SMALL, ids=lambda e: f"{title(e)}, {e.options.controllers} controllers")
def test_no_order_of_events_violates_an_invariant_or_gets_stuck(exploration: Exploration) -> None:
    result = exploration.run()
    assert result.complete
    assert result.violations == {}
    assert (result.stuck, result.stuck_trace) == (0, [])
    assert result.ends


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda a: a.rule)
def test_a_rule_that_is_taken_away_is_missed(ablation: Ablation) -> None:
    assert noticed(ablation.run())
