"""How long the API server's answers are waited for, and which of them are believed."""

from __future__ import annotations

from typing import Any

import pytest

from durablejob_airflow.holder import JobHolder
from durablejob_airflow.resource import Absent, Refused, ResourceError, Unavailable

AWAY, FORBIDDEN = Unavailable("away"), Refused(403, "forbidden")


class Log:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, *args: Any) -> None:
        self.lines.append(event % args)

    warning = info


def patiently(*answers: ResourceError, holding: bool = False) -> tuple[str, list[float]]:
    """What a call comes to that is answered like this, and well after that; and the pauses between."""
    left, pauses = list(answers), []

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    unused: Any = None
    holder = JobHolder(unused, unused, unused, unused, Log(), unused, unused, pauses.append)
    return holder.patiently(call, holding), pauses


def test_an_outage_is_waited_for_however_long_it_is():
    found, pauses = patiently(*[AWAY] * 50)
    assert found == "done"
    assert 20 < max(pauses) <= 30


@pytest.mark.parametrize("outage", [0, 10], ids=["at once", "after an outage"])
def test_missing_rights_are_believed_only_when_they_last(outage):
    found, pauses = patiently(*[AWAY] * outage, *[FORBIDDEN] * 3)
    assert found == "done"
    assert sum(pauses[outage:]) < 4
    with pytest.raises(Refused):
        patiently(*[AWAY] * outage, *[FORBIDDEN] * 4)


@pytest.mark.parametrize("error", [Absent(404, "no such job"), Refused(422, "wrong")])
def test_what_is_told_of_the_job_itself_is_believed_at_once(error):
    with pytest.raises(type(error)):
        patiently(error)


def test_a_try_that_holds_its_job_waits_for_its_rights_as_for_an_api_server_that_is_away():
    found, pauses = patiently(*[FORBIDDEN] * 100, holding=True)
    assert found == "done"
    assert 20 < max(pauses) <= 30
    with pytest.raises(Refused):
        patiently(Refused(422, "wrong"), holding=True)
