"""etcd is restored from a backup, on a real API server: no program is started twice, and every job says how it is.

One backup catches jobs in every stage: not yet made; made and not reserved; reserved and not submitted; submitted and
not started; running. Then they all run to their ends, and etcd goes back. The judges are the ledgers of the stand-in
Master and of the fake kubelet, which do not go back.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from durablejob_api.names import attempt_key
from tests.crash.hook import Crash, How, Moment, Since
from tests.crash.master import Yard
from tests.crash.zygote import Zygote, arguments
from tests.e2e.cued_master import CuedMaster
from tests.e2e.desk import TERMINAL, Desk, Object
from tests.testbed import kube
from tests.testbed import site as sites
from tests.testbed.kube import kubelet
from tests.testbed.kube.builtin import BuiltCluster
from tests.testbed.kube.crds import install
from tests.testbed.kube.kubelet import SECONDS, FakeKubelet
from tests.testbed.process import Identity

CONFIRM = "durablejob.io/confirm-restore"
HELD = "StorageRolledBack"
SPARK, JOBS, FAKE = "spark", "jobs", "fake"
SYSTEMS = (SPARK, JOBS, FAKE)


def work(system: str, how: str = "succeed", seconds: float = 0.3) -> Object:
    """A job for this system."""
    if system == SPARK:
        program = {"mainApplicationFile": "local:///a.jar", "mainClass": "A", "arguments": [how]}
        return {"backendRef": {"name": SPARK, "type": "SparkStandalone"}, "spark": program}
    if system == JOBS:
        container = {"name": "main", "image": "example.invalid/etl:1"}
        pod = {"metadata": {"annotations": {SECONDS: str(seconds)}}, "spec": {"containers": [container]}}
        return {"backendRef": {"name": JOBS, "type": "Kubernetes"}, "kubernetesJob": {"template": {"template": pod}}}
    return {"backendRef": {"name": FAKE, "type": "Plugin"}, "plugin": {"parameters": {"seconds": str(seconds)}}}


@dataclass
class Town:
    """What the tests of this module share: a cluster whose etcd they may put back."""

    cluster: BuiltCluster
    zygote: Zygote
    yard: Yard
    kubelet: FakeKubelet
    folder: Path
    serial: int = 0


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("restore")
    with kube.running() as cluster:
        if not isinstance(cluster, BuiltCluster):
            pytest.skip("only of a cluster of our own can etcd be put back")
        install(cluster)
        with (
            sites.temporary("restore") as site,
            Yard() as yard,
            kubelet.running(cluster, folder, node="restore-node") as fake,
        ):
            zygote = Zygote(site)
            try:
                yield Town(cluster, zygote, yard, fake, folder)
            finally:
                zygote.close()


@dataclass
class Scene:
    """A namespace, its backends, and a controller that can be killed and started again."""

    town: Town
    master: CuedMaster
    desk: Desk
    folder: Path
    namespace: str
    remembers: bool
    """The controller keeps its high-water mark in a file."""
    controller: Identity | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Attempt keys, by the jobs' names."""
    ports: list[int] = field(default_factory=lambda: sites.free_ports(2))

    def start(self, *crashes: Crash) -> None:
        options = arguments(self.town.cluster.kubeconfig, self.namespace, self.ports, "one")
        if self.remembers:
            options += ["--high-water-file", str(self.folder / "high-water")]
        self.controller = self.town.zygote.controller(options, self.folder, crashes)

    def kill(self) -> None:
        if self.controller is not None:
            self.controller.send(signal.SIGKILL)
            self.controller.wait(10)

    def submit(self, name: str, spec: Object) -> None:
        self.desk.submit(spec, name)
        self.keys[name] = attempt_key(self.desk.get(name)["metadata"]["uid"], 1)

    def accepted(self, name: str) -> None:
        """Wait until the Master lists a driver of it."""
        wait(lambda: any(driver.key == self.keys[name] for driver in self.master.active()))

    def starts(self, name: str) -> int:
        key = self.keys[name]
        return len(self.master.starts(key)) + self.town.kubelet.count(key)

    def told(self, name: str) -> tuple[str, str]:
        status = self.desk.get(name).get("status") or {}
        return status.get("state", ""), (status.get("current") or {}).get("reason", "")

    def settle(self, names: list[str], timeout: float = 60) -> dict[str, tuple[str, str]]:
        """Wait until each of these has ended, or says that it is held."""
        wait(lambda: all(self._settled(name) for name in names), timeout, lambda: self._all(names))
        return self._all(names)

    def _settled(self, name: str) -> bool:
        state, reason = self.told(name)
        return state in TERMINAL or reason == HELD

    def _all(self, names: list[str]) -> dict[str, tuple[str, str]]:
        return {name: self.told(name) for name in names}

    @property
    def log(self) -> str:
        return (self.folder / "controller.log").read_text(errors="replace")


def wait(true: Callable[[], object], timeout: float = 60, say: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, say()
        time.sleep(0.1)


@pytest.fixture
def scene(town: Town, request: pytest.FixtureRequest) -> Iterator[Scene]:
    town.serial += 1
    namespace = f"restore-{town.serial}"
    folder = town.folder / namespace
    folder.mkdir()
    town.cluster.kubectl("create", "namespace", namespace)
    with town.yard.serving(CuedMaster()) as master:
        desk = Desk(town.cluster, folder, namespace)
        its = Scene(town, master, desk, folder, namespace, remembers=getattr(request, "param", True))
        try:
            yield its
        finally:
            its.kill()


def backends(its: Scene) -> None:
    address = {"rest": its.master.url, "ui": its.master.url}
    its.desk.backend(SPARK, {"sparkStandalone": {"masters": [address]}, "artifactSchemes": ["local"]})
    its.desk.backend(JOBS, {"kubernetes": {}})
    its.desk.backend(FAKE, {"plugin": {"name": "fake"}, "clusterID": its.namespace})


def has_claim(its: Scene, name: str) -> bool:
    return bool(((its.desk.get(name).get("status") or {}).get("current") or {}).get("reservation"))


def in_every_stage(its: Scene) -> Path:
    """Jobs in every stage; the controller has died at the activation of a Job; returns the backup."""
    its.start(Crash("PATCH jobs", Moment.BEFORE, How.KILL, nth=2, since=Since.START))
    backends(its)
    for system in (SPARK, JOBS):
        its.submit(f"{system}-running", work(system, "wait-succeed", seconds=12))
    for system in (SPARK, JOBS):
        its.desk.state(f"{system}-running", "Running")
    its.master.asks = False
    for name, how in (("failing", "fail"), ("adopted", "wait-succeed"), ("unseen", "succeed")):
        its.submit(f"{SPARK}-{name}", work(SPARK, how))
        its.accepted(f"{SPARK}-{name}")
    its.master.takes = False
    its.submit(f"{SPARK}-reserved", work(SPARK))
    wait(lambda: has_claim(its, f"{SPARK}-reserved"))
    its.submit(f"{JOBS}-reserved", work(JOBS))
    wait(lambda: its.controller is not None and not its.controller.alive)
    assert has_claim(its, f"{JOBS}-reserved")
    for system in SYSTEMS:
        its.submit(f"{system}-made", work(system))
    return its.town.cluster.backup(its.namespace)


def run_all(its: Scene) -> None:
    """Everything goes on to its end, but what waits for a word."""
    its.master.asks = its.master.takes = True
    its.start()
    for system in SYSTEMS:
        its.submit(f"{system}-later", work(system))
    going = [name for name in its.keys if name not in (f"{SPARK}-running", f"{SPARK}-adopted")]
    told = its.settle(going, 90)
    assert {state for state, _ in told.values()} == {"Succeeded", "Failed"}, told
    assert told[f"{SPARK}-failing"][0] == "Failed"
    its.desk.state(f"{SPARK}-adopted", "Running")
    assert once(its) == set()


def once(its: Scene) -> set[str]:
    """What was not started exactly once."""
    return {name for name in its.keys if not name.startswith(FAKE) and its.starts(name) != 1}


def confirm(its: Scene, system: str) -> None:
    mark = its.desk.get(system, "jobbackends")["status"]["rolledBackFrom"]
    its.town.cluster.kubectl("-n", its.namespace, "annotate", "jobbackend", system, f"{CONFIRM}={mark}", "--overwrite")


@pytest.mark.parametrize(
    ("restarted", "forgets"),
    [(False, True), (True, False)],
    ids=["it lives on, the Master forgets what has ended", "it is restarted and has its file, the Master remembers"],
)
def test_a_controller_that_knows_how_far_the_storage_was_starts_nothing_twice(
    scene: Scene, restarted: bool, forgets: bool
) -> None:
    its = scene
    backup = in_every_stage(its)
    run_all(its)
    time.sleep(6)  # the mark is written every five seconds
    if restarted:
        its.kill()
    if forgets:
        its.master.forget()
    its.town.cluster.restore(backup)
    if restarted:
        its.start()
    names = [str(job["metadata"]["name"]) for job in its.desk.jobs()]
    assert not any(name.endswith("-later") for name in names)
    its.master.goes_on = True
    told = its.settle(names)
    assert once(its) == set()
    found = "FoundWithoutReservation"
    expected = {
        f"{SPARK}-running": ("Succeeded", "Succeeded"),
        f"{SPARK}-adopted": ("Succeeded", "Succeeded"),
        f"{SPARK}-failing": ("Submitting", HELD),
        f"{SPARK}-unseen": ("Submitting", HELD) if forgets else ("Lost", found),
        f"{SPARK}-reserved": ("Submitting", HELD),
        f"{SPARK}-made": ("Pending", HELD) if forgets else ("Lost", found),
        f"{JOBS}-running": ("Succeeded", "Succeeded"),
        f"{JOBS}-reserved": ("Submitting", HELD),
        f"{JOBS}-made": ("Pending", HELD),
        f"{FAKE}-made": ("Pending", HELD) if restarted else ("Lost", found),  # its cluster lives in the controller
    }
    assert told == expected
    # It says so, everywhere.
    for system in SYSTEMS:
        status = its.desk.until("jobbackends", system, lambda o: "rolledBackFrom" in o["status"])["status"]
        (ready,) = status["conditions"]
        assert (ready["status"], ready["reason"]) == ("False", HELD)
        assert f"{CONFIRM}={status['rolledBackFrom']}" in ready["message"]
    assert "has gone back from resourceVersion" in its.log
    assert HELD in its.desk.events(SPARK)
    assert CONFIRM in its.desk.told(f"{JOBS}-made", HELD)
    # An administrator looks, ends what must not run again, and agrees.
    for name, (_, reason) in told.items():
        if reason == HELD:
            its.desk.patch(name, {"cancel": {"attempt": 1, "cause": "User"}})
            assert its.desk.end(name)["state"] == "Cancelled"
    for system in SYSTEMS:
        confirm(its, system)
        its.submit(f"{system}-new", work(system))
        assert its.desk.end(f"{system}-new")["state"] == "Succeeded"
    assert once(its) == set()


@pytest.mark.parametrize("scene", [False], indirect=True, ids=["without a file"])
def test_a_controller_that_knows_nothing_of_before_submits_nothing_that_the_system_shows(scene: Scene) -> None:
    its = scene
    its.start()
    backends(its)
    its.submit("running", work(SPARK, "wait-succeed"))
    its.desk.state("running", "Running")
    its.master.asks = False
    for name, how in (("adopted", "wait-succeed"), ("unseen", "succeed")):
        its.submit(name, work(SPARK, how))
        its.accepted(name)
    its.kill()
    its.submit("made", work(SPARK))
    backup = its.town.cluster.backup(its.namespace)
    its.master.asks = True
    its.start()
    assert its.desk.end("made")["state"] == "Succeeded"
    assert its.desk.end("unseen")["state"] == "Succeeded"
    its.desk.state("adopted", "Running")
    its.kill()
    its.town.cluster.restore(backup)
    its.start()
    told = its.settle(["made", "unseen"])
    assert set(told.values()) == {("Lost", "FoundWithoutReservation")}
    its.master.goes_on = True
    assert set(its.settle(["running", "adopted"]).values()) == {("Succeeded", "Succeeded")}
    assert once(its) == set()
    status = json.dumps(its.desk.get("adopted")["status"])
    assert '"how": "returned"' in status


def saved(its: Scene, name: str, plural: str = "durablejob") -> Object:
    """What a backup has of a resource: no status, no uid, nothing that the API server sets."""
    raw = json.loads(its.town.cluster.kubectl("-n", its.namespace, "get", plural, name, "-o", "json"))
    meta: dict[str, Any] = {key: raw["metadata"].get(key) or {} for key in ("labels", "annotations")}
    meta |= {"name": name, "namespace": its.namespace, "finalizers": raw["metadata"]["finalizers"]}
    return {"kind": "DurableJob", "metadata": meta, "spec": raw["spec"]}


@pytest.mark.parametrize("how", ["our stamp", "velero"])
def test_a_resource_made_again_from_a_copy_waits_until_a_person_lets_it_run(scene: Scene, how: str) -> None:
    its = scene
    its.start()
    backends(its)
    its.submit("load", work(SPARK))
    if how == "our stamp":
        its.town.cluster.kubectl(
            "-n", its.namespace, "annotate", "dj", "load", "durablejob.io/created-at=2026-01-01T00:00:00Z"
        )
    assert its.desk.end("load")["state"] == "Succeeded"
    copy = saved(its, "load")
    first = its.keys["load"]
    if how == "velero":
        copy["metadata"]["labels"]["velero.io/restore-name"] = "tuesday"
    its.town.cluster.kubectl(
        "-n", its.namespace, "patch", "dj", "load", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    its.town.cluster.kubectl("-n", its.namespace, "delete", "dj", "load", "--timeout=20s")
    its.desk.apply(copy)
    uid = its.desk.get("load")["metadata"]["uid"]
    its.keys["load"] = attempt_key(uid, 1)
    wait(lambda: its.told("load") == ("Pending", "Restored"), 30, lambda: its.told("load"))
    time.sleep(2)
    assert (its.starts("load"), len(its.master.starts(first))) == (0, 1)
    wide = its.town.cluster.kubectl("-n", its.namespace, "get", "dj", "load", "-o", "wide")
    assert "Restored" in wide
    assert f"durablejob.io/run-restored={uid}" in its.desk.told("load", "Restored")
    its.town.cluster.kubectl("-n", its.namespace, "annotate", "dj", "load", f"durablejob.io/run-restored={uid}")
    assert its.desk.end("load")["state"] == "Succeeded"
    assert its.starts("load") == 1
