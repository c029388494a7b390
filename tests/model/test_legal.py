"""The explorer's ``legal`` says of every write what the CRD's rules say (``tests/api`` asks a real API server)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from _pytest.mark import ParameterSet

from durablejob_api.job import DurableJob
from tests.api.cases import STATUS_CASES, Status
from tests.api.client import Json, merged
from tests.api.states import SPEC, STEPS
from tests.api.test_rules import ACCEPTED_TOO, REFUSED_TOO
from tests.model.legal import legal

GOOD = {case.rule: case.good for case in STATUS_CASES} | ACCEPTED_TOO
BAD = {case.rule: case.bad for case in STATUS_CASES} | REFUSED_TOO


def _situation(name: str | None) -> Json:
    if name is None:
        return {"spec": SPEC, "status": {}}
    before, steps = STEPS[name]
    job = _situation(before)
    for step in steps:
        job = merged(job, step)
    return job


def _verdict(write: Status) -> str | None:
    old = _situation(write.situation)
    new = merged(old, {"status": write.change})
    if not old["status"]:
        del old["status"]
    status = DurableJob.model_validate(new).status
    assert status is not None
    return legal(DurableJob.model_validate(old), status)


def _statuses(writes: Mapping[str, object]) -> list[ParameterSet]:
    found = {rule: write for rule, write in writes.items() if isinstance(write, Status) and write.change is not None}
    return [pytest.param(write, id=rule) for rule, write in found.items()]


@pytest.mark.parametrize("write", _statuses(GOOD))
def test_what_the_api_server_takes_is_legal(write: Status) -> None:
    assert _verdict(write) is None


@pytest.mark.parametrize("write", _statuses(BAD))
def test_what_the_api_server_refuses_is_not_legal(write: Status) -> None:
    assert _verdict(write) is not None
