"""Spelling, time, and what models do with unknown fields."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from durablejob_api.base import Condition, SecretRef, format_time, kubernetes_case
from durablejob_api.spec import DurableJobSpec
from durablejob_api.status import Current, DurableJobStatus


@pytest.mark.parametrize(
    ("python", "kubernetes"),
    [
        ("name", "name"),
        ("backend_ref", "backendRef"),
        ("external_id", "externalID"),
        ("tracking_url", "trackingURL"),
        ("backend_uid", "backendUID"),
        ("uri", "uri"),
        ("ttl_seconds_after_finished", "ttlSecondsAfterFinished"),
        ("py_files", "pyFiles"),
    ],
)
def test_names_are_spelled_as_kubernetes_does(python: str, kubernetes: str) -> None:
    assert kubernetes_case(python) == kubernetes


def test_a_time_is_written_in_utc_with_whole_seconds() -> None:
    moment = datetime(2026, 1, 1, 2, 3, 4, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-01-01T00:03:04Z"


def test_a_time_survives_the_way_to_the_api_server_and_back() -> None:
    current = Current(number=1, key="a" * 20, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert current.to_api()["startedAt"] == "2026-01-01T00:00:00Z"
    assert Current.model_validate(current.to_api()) == current


def test_what_is_unset_is_left_out() -> None:
    assert DurableJobStatus().to_api() == {"observedGeneration": 0, "state": "Pending", "history": [], "conditions": []}


def test_an_unknown_field_is_an_error_in_what_people_write() -> None:
    with pytest.raises(ValidationError, match="nmae"):
        SecretRef.model_validate({"name": "s", "nmae": "s"})
    with pytest.raises(ValidationError, match="suspended"):
        DurableJobSpec.model_validate({"suspended": True})


def test_a_newer_versions_field_is_let_through_in_what_the_controller_writes() -> None:
    known = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    assert Condition.model_validate(known | {"severity": "Low"}) == Condition.model_validate(known)


def test_models_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SecretRef(name="s").name = "t"  # type: ignore[misc]
