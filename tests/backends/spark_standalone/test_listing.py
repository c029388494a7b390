"""What a Master's /json/ means; ``recorded/alive.json`` is a real 4.3 Master's, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from durablejob_controller.backends.contract import Phase, Run, Verdict
from durablejob_controller.backends.spark_standalone.listing import Driver, Listing, Worker, phase, verdict, waiting

RECORDED = Path(__file__).parent / "recorded"


def one(state: str) -> Run:
    listing = Listing.model_validate_json((RECORDED / "alive.json").read_bytes())
    (run,) = listing.runs()["k" + state.lower().ljust(19, "a")]
    return run


@pytest.mark.parametrize(
    ("state", "expected"),
    [("FINISHED", Verdict.SUCCEEDED), ("FAILED", Verdict.FAILED), ("ERROR", Verdict.UNKNOWN)],
)
def test_a_recorded_end_is_read(state: str, expected: Verdict) -> None:
    assert one(state).phase is Phase.ENDED
    assert one(state).verdict is expected


def test_a_recorded_running_driver_has_its_claim_and_its_page() -> None:
    run = one("RUNNING")
    assert (run.phase, run.claim, run.verdict) == (Phase.RUNNING, 1, None)
    assert (run.tracking_url or "").endswith(f"/logPage/?driverId={run.id}&logType=stderr")


def test_a_driver_that_waits_says_what_it_asks_for() -> None:
    run = one("SUBMITTED")
    assert (run.phase, run.reason, run.tracking_url) == (Phase.QUEUED, "Unschedulable", None)
    assert run.message == "the driver asks for 8 cores and 1408 MiB; the largest worker has 4 cores and 4096 MiB"


def test_strangers_drivers_are_not_ours() -> None:
    listing = Listing.model_validate_json((RECORDED / "alive.json").read_bytes())
    assert "driver-20261122070002-0042" not in str(listing.runs())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("SUBMITTED", Phase.QUEUED),
        ("QUEUED", Phase.QUEUED),
        ("RUNNING", Phase.RUNNING),
        ("RELAUNCHING", Phase.RUNNING),
        ("UNKNOWN", Phase.RUNNING),
        ("A_STATE_OF_SPARK_9", Phase.RUNNING),
        ("KILLED", Phase.ENDED),
    ],
)
def test_a_state_that_is_not_known_to_be_an_end_is_none(state: str, expected: Phase) -> None:
    assert phase(state) is expected
    assert (verdict(state) is not None) == (expected is Phase.ENDED)


def worker(cores: int, used: int, memory: int, state: str = "ALIVE") -> Worker:
    return Worker(id="w", cores=cores, coresused=used, memory=memory, memoryused=0, state=state)


@pytest.mark.parametrize(
    ("workers", "reason", "words"),
    [
        ([], "Unschedulable", "no live worker"),
        ([worker(64, 0, 65536, "DEAD")], "Unschedulable", "no live worker"),
        ([worker(8, 0, 512), worker(2, 0, 65536)], "Unschedulable", "the largest worker has 8 cores and 512 MiB"),
        ([worker(4, 3, 4096)], "WaitingForWorker", "the freest worker has 1 cores and 4096 MiB free"),
    ],
)
def test_waiting_is_explained_from_the_masters_own_workers(workers: list[Worker], reason: str, words: str) -> None:
    found = waiting(Driver(id="d", state="SUBMITTED", cores=4, memory=1024, mainclass="x"), workers)
    assert found[0] == reason
    assert words in found[1]


def test_an_incarnation_of_a_long_host_name_fits_into_a_reservation() -> None:
    lives = {Listing(url=f"spark://{'host' * 60}:{port}", status="ALIVE").life for port in (7077, 7078)}
    assert len(lives) == 2
    assert {len(life) for life in lives} == {128}
