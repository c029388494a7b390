"""The work queue: many wishes are one reconciliation, and never two at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from durablejob_controller import queue as queues
from durablejob_controller.queue import WorkQueue
from tests.controller.stage import until


async def test_a_key_that_is_added_many_times_is_worked_on_once() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_keys_come_in_the_order_in_which_they_were_added() -> None:
    queue = WorkQueue()
    for key in ("b", "a", "c", "a"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["b", "a", "c"]


async def test_a_key_that_is_added_while_it_is_worked_on_comes_once_more_afterwards() -> None:
    queue = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_lanes_take_turns() -> None:
    queue = WorkQueue(lambda key: key[0])
    for key in ("a1", "a2", "a3", "b1", "b2", "c1"):
        queue.add(key)
    assert len(queue) == 6
    assert [await queue.get() for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_of_each_lane_only_its_share_is_given_out_and_the_rest_as_soon_as_one_is_done() -> None:
    queue = WorkQueue(lambda key: key[0], share=2)
    for key in ("a1", "a2", "a3", "b1", "a4"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a1", "b1", "a2"]
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in waiting)
    queue.add("b2")
    await until(lambda: any(task.done() for task in waiting))
    queue.done("a1")
    await until(lambda: all(task.done() for task in waiting))
    assert {task.result() for task in waiting} == {"b2", "a3"}
    queue.add("a2")
    queue.done("a2")
    assert [await queue.get(), len(queue)] == ["a4", 1]


async def test_a_key_counts_in_the_lane_in_which_it_was_given_out() -> None:
    lanes = {"x": "a"}
    queue = WorkQueue(lambda key: lanes.get(key, "b"), share=1)
    queue.add("x")
    assert await queue.get() == "x"
    lanes["x"] = "b"  # its job names another backend by now
    queue.add("y")
    assert await queue.get() == "y"
    queue.add("x")
    queue.done("x")
    queue.done("y")
    assert await queue.get() == "x"


async def test_what_is_planned_for_later_comes_when_it_is_due() -> None:
    queue = WorkQueue()
    queue.add_after("late", 0.06)
    queue.add_after("soon", 0.02)
    assert len(queue) == 0
    assert [await queue.get(), await queue.get()] == ["soon", "late"]


async def test_a_plan_is_moved_up_and_never_back() -> None:
    queue = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.02)
    queue.add_after("a", 30)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)


async def test_a_plan_for_now_is_no_plan() -> None:
    queue = WorkQueue()
    queue.add_after("a", 0)
    assert len(queue) == 1


async def test_adding_at_once_replaces_the_plan() -> None:
    queue = WorkQueue()
    queue.add_after("a", 0.02)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)


async def test_a_plan_made_while_waiting_wakes_who_waits_for_a_later_one() -> None:
    queue = WorkQueue()
    queue.add_after("late", 30)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    queue.add_after("soon", 0.01)
    assert await asyncio.wait_for(waiting, 1) == "soon"


async def test_what_is_forgotten_does_not_come_back() -> None:
    queue = WorkQueue()
    queue.add("active")
    await queue.get()
    queue.add("active")
    queue.add_after("planned", 0.01)
    queue.forget("active")
    queue.forget("planned")
    queue.done("active")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)


async def test_many_workers_never_hold_one_key_at_a_time_and_miss_nothing() -> None:
    queue = WorkQueue()
    rng = random.Random(7)
    held: set[str] = set()
    asked: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in held
            held.add(key)
            seen[key] = asked[key]  # whatever was asked so far is covered by this turn
            await asyncio.sleep(rng.random() / 500)
            held.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for _ in range(600):
        key = f"job-{rng.randrange(12)}"
        asked[key] += 1
        if rng.random() < 0.3:
            queue.add_after(key, rng.random() / 100)
        else:
            queue.add(key)
        if rng.random() < 0.2:
            await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    await until(lambda: seen == asked and not held)
    assert not any(worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_plans_that_were_moved_up_or_dropped_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "SLACK", 10)
    queue = WorkQueue()
    for number in range(500):
        queue.add_after(f"job-{number % 3}", 604_800)
        queue.add(f"job-{number % 3}")
        queue.done(await queue.get())
    assert len(queue._later) < 30
    queue.add_after("job-0", 0.01)
    assert await asyncio.wait_for(queue.get(), 1) == "job-0"


async def test_a_worker_that_is_cancelled_takes_nothing_with_it() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    waiting.cancel()
    queue.add("a")
    await asyncio.gather(waiting, return_exceptions=True)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
