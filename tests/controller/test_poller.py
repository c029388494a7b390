"""The poller: what a snapshot proves depends on when it was asked for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

import pytest

from durablejob_api.status import Progress
from durablejob_controller import poller as pollers
from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.errors import BackendUnavailable
from durablejob_controller.poller import Poller
from tests.controller.scripted_backend import ScriptedBackend
from tests.controller.stage import until

QUEUED = Run("d-1", Phase.QUEUED)
RUNNING = Run("d-1", Phase.RUNNING)
ENDED = Run("d-1", Phase.ENDED, verdict=Verdict.SUCCEEDED)


@dataclass
class Scene:
    """A poller, and what it told."""

    backend: ScriptedBackend = field(default_factory=ScriptedBackend)
    changed: list[set[str]] = field(default_factory=list)
    recovered: int = 0
    wanted: int = 1
    due: bool = False
    """Progress is to be told."""

    def __post_init__(self) -> None:
        self.poller = Poller(
            "prod", self.backend, changed=self.changed.append, moved=lambda *_: self.due, recovered=self._recovered,
            wanted=lambda: self.wanted, interval=0.02,
        )  # fmt: skip

    def _recovered(self) -> None:
        self.recovered += 1


async def test_an_answer_to_an_earlier_question_is_not_fresh() -> None:
    scene = Scene()
    gate = scene.backend.gate = asyncio.Event()
    early = asyncio.create_task(scene.poller.fresh())
    await until(lambda: scene.backend.observed == 1)
    scene.backend.runs = {"k": (RUNNING,)}
    asked = time.monotonic()
    late = asyncio.create_task(scene.poller.fresh())
    await asyncio.sleep(0)
    gate.set()
    assert (await early).sighting("k").runs == ()
    taken = await late
    assert taken.sent >= asked
    assert taken.sighting("k").runs == (RUNNING,)


async def test_all_who_wait_share_one_question() -> None:
    scene = Scene()
    gate = scene.backend.gate = asyncio.Event()
    first = asyncio.create_task(scene.poller.fresh())
    await until(lambda: scene.backend.observed == 1)
    others = [asyncio.create_task(scene.poller.fresh()) for _ in range(50)]
    await asyncio.sleep(0.01)
    gate.set()
    snapshots = await asyncio.gather(first, *others)
    assert scene.backend.observed == 2
    assert len({id(taken) for taken in snapshots}) == 2


async def test_two_questions_are_never_under_way_at_once() -> None:
    scene = Scene()
    gate = scene.backend.gate = asyncio.Event()
    early = asyncio.create_task(scene.poller.fresh())
    await until(lambda: scene.backend.observed == 1)
    late = asyncio.create_task(scene.poller.fresh())
    await asyncio.sleep(0.01)
    assert scene.backend.observed == 1  # or an old answer could come last, and be taken for the newest
    gate.set()
    assert (await early).sent < (await late).sent
    assert scene.poller.last is late.result()


async def test_who_stops_waiting_does_not_stop_the_others() -> None:
    scene = Scene()
    gate = scene.backend.gate = asyncio.Event()
    waiters = [asyncio.create_task(scene.poller.fresh()) for _ in range(3)]
    await until(lambda: scene.backend.observed == 1)
    waiters[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] is results[2] is scene.poller.last


async def test_an_error_reaches_all_who_wait_and_the_next_question_is_a_new_one() -> None:
    scene = Scene()
    scene.backend.fault = BackendUnavailable("away")
    results = await asyncio.gather(scene.poller.fresh(), scene.poller.fresh(), return_exceptions=True)
    assert [str(result) for result in results] == ["away", "away"]
    scene.backend.fault = None
    assert (await scene.poller.fresh()).snapshot.incarnation == "life-1"


async def test_trouble_is_told_only_when_it_lasts_and_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pollers, "TROUBLE_AFTER", 0.05)
    scene = Scene()
    scene.backend.fault = BackendUnavailable("away")
    polling = asyncio.create_task(scene.poller.run())
    await until(lambda: scene.backend.observed == 1)
    assert scene.poller.trouble is None
    await until(lambda: scene.poller.trouble)
    assert scene.poller.trouble == "away"
    assert scene.poller.hopeless
    assert scene.recovered == 0
    scene.backend.fault = None
    await until(lambda: scene.recovered)
    assert scene.poller.trouble is None
    assert not scene.poller.hopeless
    await asyncio.sleep(0.05)
    assert scene.recovered == 1
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


async def test_nothing_is_asked_while_nobody_cares() -> None:
    scene = Scene(wanted=0)
    polling = asyncio.create_task(scene.poller.run())
    await asyncio.sleep(0.05)
    assert scene.backend.observed == 0
    scene.wanted = 1
    await until(lambda: scene.backend.observed)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


async def test_an_unexpected_error_does_not_end_the_polling() -> None:
    scene = Scene()
    scene.backend.fault = ZeroDivisionError("a bug of the backend")
    polling = asyncio.create_task(scene.poller.run())
    await until(lambda: scene.backend.observed >= 2)
    assert scene.poller.failure == "unexpected ZeroDivisionError"
    scene.backend.fault = None
    scene.backend.runs = {"k": (RUNNING,)}
    await until(lambda: {"k"} in scene.changed)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)


async def test_only_keys_that_changed_are_told() -> None:
    scene = Scene()
    told = scene.changed
    scene.backend.runs = {"a": (QUEUED,), "b": (RUNNING,)}
    await scene.poller.fresh()
    await scene.poller.fresh()
    scene.backend.runs = {"a": (RUNNING,), "b": (RUNNING,), "c": (QUEUED,)}
    await scene.poller.fresh()
    scene.backend.runs = {"a": (ENDED,), "c": (QUEUED,)}
    await scene.poller.fresh()
    assert told == [{"a", "b"}, set(), {"a", "c"}, {"a", "b"}]


async def test_progress_is_told_only_when_it_is_due() -> None:
    scene = Scene()

    async def goes_on(percent: int) -> set[str]:
        scene.backend.runs = {"a": (replace(RUNNING, progress=Progress(percent=percent)),), "b": (RUNNING,)}
        await scene.poller.fresh()
        return scene.changed[-1]

    assert await goes_on(3) == {"a", "b"}
    assert await goes_on(4) == set()
    scene.due = True
    assert await goes_on(5) == {"a"}
    assert await goes_on(5) == {"a"}  # also when it has gone on before


async def test_a_new_life_of_the_system_concerns_every_key() -> None:
    scene = Scene()
    scene.backend.runs = {"a": (RUNNING,), "b": (RUNNING,)}
    await scene.poller.fresh()
    scene.backend.incarnation = "life-2"
    scene.backend.runs = {"a": (RUNNING,), "c": (RUNNING,)}
    await scene.poller.fresh()
    assert scene.changed[-1] == {"a", "b", "c"}


async def test_a_run_that_only_an_exact_look_up_saw_is_missed_when_it_is_gone() -> None:
    scene = Scene()
    await scene.poller.fresh()
    sent = time.monotonic()
    scene.poller.told("k", (RUNNING,), sent)
    await scene.poller.fresh()
    await scene.poller.fresh()
    assert scene.changed == [set(), {"k"}, set()]


async def test_an_exact_answer_is_compared_with_batches_that_were_sent_after_it_only() -> None:
    scene = Scene()
    gate = scene.backend.gate = asyncio.Event()
    early = asyncio.create_task(scene.poller.fresh())
    await until(lambda: scene.backend.observed == 1)
    scene.poller.told("k", (RUNNING,), time.monotonic())
    gate.set()
    await early
    assert scene.changed == [set()]
    scene.backend.runs = {"k": (RUNNING,)}
    await scene.poller.fresh()
    scene.backend.runs = {}
    await scene.poller.fresh()
    assert scene.changed[2] == {"k"}
