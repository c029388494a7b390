"""Which worlds are explored, and how large: small ones for every test run, larger ones for ``make explore``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durablejob_api.spec import DeletionPolicy
from tests.model.claims import ClaimWorld
from tests.model.objects import ObjectWorld
from tests.model.reserved import FakeWorld, GateWorld, StagingWorld
from tests.model.universe import Options
from tests.model.world import World

KINDS: dict[str, Callable[[Options], World]] = {
    "claim": ClaimWorld,
    "object": ObjectWorld,
    "reserved id, gate": GateWorld,
    "reserved id, gate, no recovery": lambda options: GateWorld(options, recovery=False),
    "reserved id, staging fence": StagingWorld,
    "reserved id, fake": FakeWorld,
}


@dataclass(frozen=True)
class Case:
    """One exploration."""

    kind: str
    faults: int
    options: Options
    variant: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.variant}" if self.variant else self.kind

    def world(self) -> World:
        return KINDS[self.kind](self.options)


BARE = Options(persistent=True)
WISHES = BARE.but(cancel=True, delete=True)
ALL = WISHES.but(raise_attempt=True)
EACH = ALL.but(persistent=False)
OLD = {"old_cache": True, "stale_list": True}


def _pairs(kind: str, alone: tuple[int, Options], two: tuple[int, Options]) -> tuple[Case, Case]:
    return Case(kind, *alone), Case(kind, two[0], two[1].but(controllers=2))


def _variants(kind: str, names: dict[str, Options], faults: int) -> tuple[Case, ...]:
    return tuple(Case(kind, faults, options, name) for name, options in names.items())


_VARIANTS = {
    "old lists and caches": WISHES.but(**OLD),
    "a refusal": ALL.but(reject=True),
    "an upgrade": ALL.but(upgrade=True),
    "a deadline": ALL.but(deadline=True),
    "the backend is missing for a while": ALL.but(backend_goes=True),
    "deletion with Orphan": ALL.but(policy=DeletionPolicy.ORPHAN),
}
_ROLLED_BACK = {"the status is rolled back": WISHES.but(restore=True, persistent=False)}
_JVMS = {"JVMs launched again": EACH.but(relaunch=True, delete=False), "System.exit": WISHES.but(exits=True)}
_EACH = {"each message once, lost or repeated": EACH.but(cancel=False)}

SMALL: tuple[Case, ...] = (
    *_pairs("claim", (1, WISHES), (1, BARE.but(raise_attempt=True))),
    *_pairs("object", (1, ALL), (1, WISHES)),
    *_pairs("reserved id, gate", (1, ALL), (1, WISHES)),
    *_pairs("reserved id, gate, no recovery", (1, WISHES), (1, BARE)),
    *_pairs("reserved id, staging fence", (1, WISHES), (1, WISHES)),
    *_pairs("reserved id, fake", (2, ALL), (1, ALL)),
    *(case for kind in KINDS for case in _variants(kind, {n: o.but(raise_attempt=False) for n, o in _VARIANTS.items()}, 1)
      if kind not in ("claim", "reserved id, gate, no recovery") or case.variant != "old lists and caches"),
    *(Case(kind, 1, BARE.but(restore=True, persistent=False, delete=True), "the status is rolled back")
      for kind in KINDS if kind not in ("object", "claim")),
    *_variants("claim", {name: options.but(raise_attempt=False) for name, options in _JVMS.items()}, 1),
)  # fmt: skip

FULL: tuple[Case, ...] = ()
