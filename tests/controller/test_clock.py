"""The clock that all replicas share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from durablejob_controller.clock import Clock
from durablejob_controller.kube import JOBS
from tests.controller.test_kube import client

NEAR = timedelta(seconds=2)


def said(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def test_it_begins_with_this_machines_time() -> None:
    assert abs(Clock().now() - datetime.now(UTC)) < NEAR


@pytest.mark.parametrize("hours", [6, -6])
def test_it_is_the_api_servers_time(hours: int) -> None:
    clock, there = Clock(), datetime.now(UTC) + timedelta(hours=hours)
    clock.told(said(there))
    assert abs(clock.now() - there) < NEAR


def test_an_answer_that_was_long_on_its_way_does_not_turn_it_back() -> None:
    clock, there = Clock(), datetime.now(UTC) + timedelta(hours=1)
    clock.told(said(there))
    before = clock.now()
    clock.told(said(there - timedelta(seconds=1)))
    assert clock.now() >= before


def test_it_follows_an_api_server_whose_time_was_put_right() -> None:
    clock, there = Clock(), datetime.now(UTC)
    clock.told(said(there + timedelta(hours=1)))
    clock.told(said(there))
    assert abs(clock.now() - there) < NEAR


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 01 Jan 1970 00:00:00 -0000", "\x00"])
def test_what_is_no_time_changes_nothing(date: str | None) -> None:
    clock = Clock()
    clock.told(date)
    assert abs(clock.now() - datetime.now(UTC)) < NEAR


async def test_every_answer_of_the_api_server_sets_it() -> None:
    there = datetime.now(UTC) + timedelta(hours=6)
    answer = httpx.Response(200, json={"metadata": {"resourceVersion": "7"}}, headers={"Date": said(there)})
    kube = client(lambda _: answer)
    await kube.get(JOBS, "data", "load")
    assert abs(kube.clock.now() - there) < NEAR
