"""Fault 2: watches and lists that are late, lossy, repeated, old, broken or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.bench import Bench
from tests.faults.scene import Result, Scene
from tests.faults.watch_faults import Backwards, Broken, Delayed, Dropped, Gone, OldLists, Repeated, WatchFault

SETTLED = 4.0
"""Seconds in which what a controller has noticed stands in the backends' statuses."""


@dataclass(frozen=True)
class Watching:
    """All stories of both systems, while the controller sees the API server through one such fault."""

    name: str
    fault: Callable[[], WatchFault]
    restart: bool = False
    """The controller is killed and started again in the middle."""
    held: bool = False
    """The lists tell of a restore of etcd: nothing begins until a person agrees, who does once they are right again."""

    def run(self, bench: Bench) -> Result:
        with Scene(bench, self.name) as scene:
            relay = scene.relay_to_kube()
            fault = relay.fault = self.fault()
            spark, jobs = scene.spark(scene.master()), scene.kubernetes()
            controller = scene.controller(relay=relay)
            scene.live(2)  # a list of the time before there were jobs
            scene.submit(spark)
            scene.submit(jobs)
            if self.restart:
                scene.live(3)
                scene.restart(controller)
            scene.live(12 if self.held else 30, lambda: scene.ended(scene.lives))
            relay.heal()
            if self.held:
                scene.live(SETTLED)  # the last of the restores that it believes in is the one to be confirmed
                scene.until("every backend says that it is held", scene.all_held)
                scene.confirm()
            scene.healed()
            scene.result.struck = fault.times
            return scene.judge()


def short() -> list[Watching]:
    """The part that runs with the tests."""
    return [cell for cell in cells() if cell.name == "watches answer 410" or (cell.held and cell.restart)]


def cells() -> list[Watching]:
    """Each fault, and those that tell of the past also with a restart."""
    return [
        Watching("watch events 3 s late", lambda: Delayed(3)),
        Watching("two of three watch events lost", Dropped),
        Watching("watch events three times", Repeated),
        Watching("old watch events after each new one", Backwards),
        Watching("watches break in mid-event", Broken),
        Watching("watches answer 410", Gone),
        Watching("lists 4 s old, watches silent: held as after a restore", lambda: OldLists(4), held=True),
        Watching(
            "lists 4 s old after a restart: held as after a restore", lambda: OldLists(4), restart=True, held=True
        ),
        Watching("old watch events, restart", Backwards, restart=True),
    ]
