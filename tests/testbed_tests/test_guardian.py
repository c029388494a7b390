"""Nothing outlives its owner, however the owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import site as sites
from tests.testbed.errors import TestbedError
from tests.testbed.process import Identity

ROOT = Path(__file__).parents[2]
FAMILY = """
(setsid sleep 300 & echo $! >> pids)   # an orphan in a session of its own
sleep 300 & echo $! >> pids
echo $$ >> pids
touch complete
wait
"""
OWNER = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with SIGINT ignored
from pathlib import Path
from tests.testbed import site as sites
with sites.temporary("guardian-test") as site:
    site.start("family", ["sh", "-c", {FAMILY!r}])
    while not (site.folder / "complete").exists():
        time.sleep(0.01)
    site.start("other", ["sleep", "300"])
    pids = (site.folder / "pids").read_text().split()
    print(site.folder, *pids, *(process.guardian.pid for process in site.processes), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLEJOB_STATE", str(tmp_path / "state"))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[sites.Site]:
    monkeypatch.delenv("DURABLEJOB_TESTBED_LOGS", raising=False)  # which keeps all logs, elsewhere
    with sites.temporary("guardian-test") as made:
        yield made


def gone(pids: list[int], within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        return Identity.of(pid).alive
    except ProcessLookupError:
        return False


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_owner_is_killed_its_processes_their_orphans_and_the_folder_go(how: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().split()
        family = [int(pid) for pid in pids]
        assert len(family) == 5
        assert all(alive(pid) for pid in family)
        owner.send_signal(how)
        owner.wait(10)
        assert gone(family)
        deadline = time.monotonic() + 5
        while Path(folder).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(folder).exists()


def test_orphans_of_a_killed_program_live_on_until_the_site_ends(site: sites.Site) -> None:
    family = site.start("family", ["sh", "-c", FAMILY])
    wait_for(site.folder / "complete")
    others = [int(pid) for pid in (site.folder / "pids").read_text().split() if int(pid) != family.pid]
    family.kill()
    assert not family.alive
    assert family.exit_code == -signal.SIGKILL
    assert all(alive(pid) for pid in others)
    site.stop()
    assert gone(others, within=0)


def test_killing_the_tree_leaves_no_orphans(site: sites.Site) -> None:
    family = site.start("family", ["sh", "-c", FAMILY])
    wait_for(site.folder / "complete")
    family.kill(tree=True)
    assert gone([int(pid) for pid in (site.folder / "pids").read_text().split()], within=0)


def test_a_killed_guardian_takes_its_program_along(site: sites.Site) -> None:
    program = site.start("sleep", ["sleep", "300"])
    program.guardian.send(signal.SIGKILL)
    assert gone([program.pid])


def test_stop_lets_a_program_end_in_its_own_way(site: sites.Site) -> None:
    script = "trap 'echo orderly > end; exit 3' TERM; touch begun; while :; do sleep 0.05; done"
    program = site.start("polite", ["sh", "-c", script])
    wait_for(site.folder / "begun")
    program.stop()
    assert (site.folder / "end").read_text() == "orderly\n"
    assert program.exit_code == 3


def test_stop_kills_what_ignores_it_even_while_it_is_frozen(site: sites.Site) -> None:
    program = site.start("rude", ["sh", "-c", "trap '' TERM; touch begun; while :; do sleep 0.05; done"], grace=0.3)
    wait_for(site.folder / "begun")
    program.freeze()
    program.stop()
    assert program.exit_code == -signal.SIGKILL


def test_what_is_to_be_done_after_a_program_is_done_after_it(site: sites.Site) -> None:
    program = site.start("sleep", ["sleep", "300"], after=["touch", "done"])
    program.kill(tree=True)
    assert (site.folder / "done").exists()


def test_a_process_that_has_taken_over_a_pid_is_never_signalled() -> None:
    me = Identity.of(os.getpid())
    earlier = Identity(me.pid, me.start - 1)
    assert me.alive
    assert not earlier.alive
    assert not earlier.send(signal.SIGKILL)


def test_a_program_that_dies_at_start_shows_the_end_of_its_log(site: sites.Site, tmp_path: Path) -> None:
    program = site.start("broken", ["sh", "-c", "echo the reason >&2; exit 7"])
    with pytest.raises(TestbedError, match=r"(?s)exit code 7.*the reason.*failed/broken\.log"):
        site.wait_until(lambda: False, program, "ready", timeout=10)
    assert (tmp_path / "state" / "failed" / "broken.log").read_text() == "the reason\n"


def test_a_program_that_is_not_there_is_named(site: sites.Site) -> None:
    program = site.start("nothing", ["/no/such/program"])
    with pytest.raises(TestbedError, match="cannot run /no/such/program: No such file"):
        site.wait_until(lambda: False, program, "ready", timeout=10)


def test_a_detached_site_is_found_again_and_ended(tmp_path: Path) -> None:
    site = sites.Site(tmp_path, detached=True)
    program = site.start("sleep", ["sleep", "300"])
    try:
        found = sites.Site.load(tmp_path)
        assert [one.pid for one in found.processes] == [program.pid]
        found.stop()
        assert not program.alive
    finally:
        site.stop()


def test_free_ports_are_all_different() -> None:
    ports = sites.free_ports(50)
    assert len(set(ports)) == 50
