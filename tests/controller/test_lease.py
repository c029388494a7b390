"""Electors on a Lease with optimistic locking: one leads, and a silent one is replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from durablejob_controller.errors import Conflict, Forbidden, KubernetesUnavailable, NotServed
from durablejob_controller.kube import LEASES, Object
from durablejob_controller.lease import Elector
from tests.controller.fake_kube import FakeKube
from tests.controller.stage import until

DURATION = 0.4


@asynccontextmanager
async def electing(
    kube: FakeKube, *names: str, duration: float = DURATION
) -> AsyncIterator[tuple[dict[str, Elector], dict[str, asyncio.Task[None]], list[tuple[str, bool]]]]:
    """These candidates, each in a task; and the changes they told."""
    told: list[tuple[str, bool]] = []

    def tell(name: str) -> Callable[[bool], None]:
        return lambda leading: told.append((name, leading))

    electors = {name: Elector(kube, "system", "the-lease", name, duration, tell(name)) for name in names}
    tasks = {name: asyncio.create_task(elector.run()) for name, elector in electors.items()}
    try:
        yield electors, tasks, told
    finally:
        kube.hanging = False  # or a leader that is ended would hang in giving its lease back
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


def lease(kube: FakeKube) -> Object:
    found: Object = kube.objects[(LEASES.plural, "system", "the-lease")]["spec"]
    return found


async def test_of_two_candidates_one_leads_and_goes_on_leading() -> None:
    kube = FakeKube()
    async with electing(kube, "a", "b") as (electors, _, told):
        await until(lambda: told)
        await asyncio.sleep(DURATION * 1.5)
        assert len(told) == 1
        assert sum(elector.leading for elector in electors.values()) == 1
        assert lease(kube)["holderIdentity"] == told[0][0]
        assert lease(kube)["leaseTransitions"] == 0


async def test_a_leader_that_is_told_to_end_gives_the_lease_back() -> None:
    kube = FakeKube()
    async with electing(kube, "a", "b") as (_, tasks, told):
        await until(lambda: told)
        first = told[0][0]
        began = time.monotonic()
        tasks[first].cancel()
        await until(lambda: len(told) == 3)
        assert time.monotonic() - began < 0.9  # as recorded, the lease would last for 1 s
        assert told[1:] == [(first, False), ("b" if first == "a" else "a", True)]
        assert lease(kube)["leaseTransitions"] == 1


async def test_a_silent_holder_is_replaced_after_its_duration_by_ones_own_clock() -> None:
    kube = FakeKube()
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 0.5, "renewTime": "2099-01-01T00:00:00.000000Z"}
    kube.add(LEASES, {"metadata": {"name": "the-lease", "namespace": "system"}, "spec": spec})
    began = time.monotonic()
    async with electing(kube, "a") as (_, _, told):
        await asyncio.sleep(0.4)
        assert told == []
        await until(lambda: told)
        assert time.monotonic() - began >= 0.5
        assert lease(kube)["holderIdentity"] == "a"


async def test_a_holder_that_renews_is_left_alone_whatever_its_clock_says() -> None:
    kube = FakeKube()
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 0.5, "renewTime": "1999-01-01T00:00:00.000000Z"}
    kube.add(LEASES, {"metadata": {"name": "the-lease", "namespace": "system"}, "spec": spec})
    async with electing(kube, "a") as (_, _, told):
        for number in range(7):
            await asyncio.sleep(0.1)
            kube.change(LEASES, "system", "the-lease", spec={"renewTime": f"1999-01-01T00:00:0{number}.000000Z"})
        assert told == []


@pytest.mark.parametrize("hanging", [True, False])
async def test_a_leader_that_cannot_renew_has_stopped_when_two_thirds_are_over(hanging: bool) -> None:
    kube = FakeKube()
    async with electing(kube, "a", duration=0.9) as (electors, tasks, told):
        await until(lambda: told)
        if hanging:
            kube.hanging = True
        else:
            kube.fail("get", LEASES, KubernetesUnavailable("away"), times=10_000)
        failed = time.monotonic()
        await until(lambda: not electors["a"].leading)
        assert time.monotonic() - failed < 0.6 + 0.15
        assert told == [("a", True), ("a", False)]
        kube.hanging = False
        kube.faults.clear()
        await until(lambda: electors["a"].leading)
        assert not tasks["a"].done()


async def test_one_failed_renewal_costs_nothing() -> None:
    kube = FakeKube()
    async with electing(kube, "a") as (_, _, told):
        await until(lambda: told)
        kube.fail("replace", LEASES, KubernetesUnavailable("away"))
        kube.fail("replace", LEASES, KubernetesUnavailable("lost answer"), applied=True)
        await asyncio.sleep(DURATION)
        assert told == [("a", True)]


@pytest.mark.parametrize("error", [KubernetesUnavailable("x"), Forbidden("x"), NotServed("x"), Conflict("x")])
@pytest.mark.parametrize("verb", ["get", "create"])
async def test_no_error_of_the_api_server_ends_a_candidate(verb: str, error: Exception) -> None:
    kube = FakeKube()
    kube.fail(verb, LEASES, error, times=2)
    async with electing(kube, "a", duration=0.3) as (_, tasks, told):
        await until(lambda: told)
        assert not tasks["a"].done()


async def test_who_loses_the_swap_does_not_lead() -> None:
    kube = FakeKube()
    async with electing(kube, "a") as (electors, _, told):
        await until(lambda: told)
        kube.change(LEASES, "system", "the-lease", spec={"holderIdentity": "b", "renewTime": "now"})
        await until(lambda: not electors["a"].leading)
        assert lease(kube)["holderIdentity"] == "b"


async def test_a_lease_that_cannot_be_given_back_runs_out() -> None:
    kube = FakeKube()
    async with electing(kube, "a") as (_, tasks, told):
        await until(lambda: told)
        kube.fail("replace", LEASES, KubernetesUnavailable("away"), times=10)
        tasks["a"].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks["a"]
        assert told[-1] == ("a", False)
