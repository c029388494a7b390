"""What an answer of the API server means."""

from __future__ import annotations

import json

import pytest

from durablejob_airflow.resource import Absent, Conflict, Expired, Refused, Unavailable, raise_for

NOT_FOUND = {"kind": "Status", "reason": "NotFound", "message": 'durablejobs "load" not found', "code": 404}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, json.dumps(NOT_FOUND), Absent),
        (404, NOT_FOUND, Absent),
        (404, "404 page not found\n", Refused),  # the kind is not served, or is not yet
        (404, "<html>no such route</html>", Refused),  # a proxy whose API server is away
        (404, "", Refused),
        (409, json.dumps({"kind": "Status", "reason": "AlreadyExists"}), Conflict),
        (410, json.dumps({"kind": "Status", "reason": "Expired"}), Expired),
        (422, json.dumps({"details": {"causes": [{"field": "spec.attempt", "message": "may only grow"}]}}), Refused),
        (429, "slow down", Unavailable),
        (503, "<html>", Unavailable),
        (0, None, Unavailable),
    ],
)
def test_only_the_api_servers_own_word_proves_that_there_is_no_job(status, body, kind):
    with pytest.raises(kind) as caught:
        raise_for(status, body, "read data/load")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("read data/load: ")
