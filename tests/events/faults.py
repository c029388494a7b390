"""What is done to a part of Airflow that all rows share, and how it is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tests.testbed import airflow
from tests.testbed.process import Process

AWAY = 20.0
"""Seconds: longer than three heartbeats, shorter than a test's patience."""
Step = Callable[[], None]


def _nothing() -> None:
    pass


class Faults:
    """The faults of one Airflow; each is one step or two, at which all its rows meet."""

    def __init__(self, af: airflow.Airflow, cut: Step = _nothing, mend: Step = _nothing) -> None:
        self.af = af
        self.cut = cut
        self.mend = mend
        self._second: list[Process] = []

    def steps(self, fault: str) -> Sequence[Step]:
        """What happens at each meeting of this fault's rows."""
        found: dict[str, Sequence[Step]] = {
            "triggerer killed": (lambda: self.af.kill("triggerer"), lambda: self.af.start("triggerer")),
            "triggerer deployed": (self._deploy_triggerer,),
            "triggerer frozen": (self._freeze_triggerer, self._thaw_triggerer),
            "scheduler killed with its workers": (lambda: self._kill_scheduler(tree=True),),
            "scheduler killed alone": (lambda: self._kill_scheduler(tree=False),),
            "api-server away": (self._api_server_away,),
            "kubernetes away": (self._kubernetes_away,),
        }
        return found[fault]

    def _deploy_triggerer(self) -> None:
        self.af.stop("triggerer")
        self.af.start("triggerer")

    def _freeze_triggerer(self) -> None:
        """Another one is there to take over: [triggerer] triggerer_health_check_threshold says when."""
        self._second.append(self.af.start_second("triggerer"))
        self.af.freeze("triggerer")

    def _thaw_triggerer(self) -> None:
        self.af.thaw("triggerer")
        time.sleep(5)
        self._second.pop().stop()

    def _kill_scheduler(self, tree: bool) -> None:
        self.af.kill("scheduler", tree=tree)
        self.af.start("scheduler")

    def _api_server_away(self) -> None:
        self.af.kill("api-server")
        time.sleep(AWAY)
        self.af.start("api-server")

    def _kubernetes_away(self) -> None:
        self.cut()
        time.sleep(AWAY)
        self.mend()
