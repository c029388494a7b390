"""Which worlds are explored, and how large: small ones with every test run, larger ones by ``make explore``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from durablejob_api.spec import DeletionPolicy
from tests.model.checker import Result, explore
from tests.model.claims import ClaimWorld
from tests.model.objects import ObjectWorld
from tests.model.reserved import FakeWorld, GateWorld, GenericWorld, StagingWorld, SwitchedWorld
from tests.model.universe import Options
from tests.model.world import World

LIMIT = 1_500_000


@dataclass(frozen=True)
class Exploration:
    """One world of one size."""

    name: str
    make: Callable[[Options], World]
    options: Options
    faults: int

    def run(self) -> Result:
        return explore(self.make(self.options), self.faults, limit=LIMIT)


_RUN = Options()
_WISHES = Options(cancel=True, delete=True)
_ALL = _WISHES.but(raise_attempt=True)
_TWO = Options(controllers=2)
_ANY = {"persistent": True}
"""Messages that may arrive at any time and any number of times: more than repeating and losing single ones allows,
in fewer states. Liveness is shown with single ones, where a lost one must be sent again."""

CLAIMS, OBJECT = "claims and gate", "inert object"
GATE, STAGING, FAKE = "reserved id and gate", "reserved id and staging fence", "fake"
UNRECOVERED = f"{GATE}, no recovery"
GENERIC = f"{STAGING}, generic"
ON, OFF = f"{STAGING}, recovery switched on", f"{STAGING}, recovery switched off"
KINDS: dict[str, Callable[[Options], World]] = {
    CLAIMS: ClaimWorld,
    OBJECT: ObjectWorld,
    GATE: GateWorld,
    UNRECOVERED: partial(GateWorld, recovery=False),
    STAGING: StagingWorld,
    GENERIC: GenericWorld,
    ON: partial(SwitchedWorld, recovery=False),
    OFF: SwitchedWorld,
    FAKE: FakeWorld,
}


def _world(kind: str, options: Options, faults: int, variant: str = "") -> Exploration:
    return Exploration(f"{kind}, {variant}" if variant else kind, KINDS[kind], options, faults)


def _variants(wishes: Options, kinds: Iterable[str], faults: int = 1) -> tuple[Exploration, ...]:
    """What may happen besides, one at a time."""
    besides = {
        "old lists": wishes.but(stale_list=True, **_ANY),
        "old caches": wishes.but(old_cache=True, **_ANY),
        "refusals": wishes.but(reject=True, **_ANY),
        "an upgrade": wishes.but(upgrade=True, **_ANY),
        "a deadline": wishes.but(deadline=True, **_ANY),
        "backend missing": wishes.but(backend_goes=True, **_ANY),
        "deletion with Orphan": wishes.but(policy=DeletionPolicy.ORPHAN, **_ANY),
    }
    found = [_world(kind, options, faults, name) for name, options in besides.items() for kind in kinds]
    if OBJECT in kinds:
        found.append(_world(OBJECT, wishes.but(preempt=True, **_ANY), faults, "preemption"))
        found.append(_world(OBJECT, wishes.but(quota=True, cancel=True, **_ANY), faults, "no room"))
        found.append(_world(OBJECT, wishes.but(slow=True, **_ANY), faults, "what begins late, or never"))
    # An object is restored together with its DurableJob, from the same etcd: that is not modelled.
    restored = wishes.but(restore=True, raise_attempt=False)
    found += [_world(kind, restored, 1, "status rolled back") for kind in kinds if kind != OBJECT]
    # Without wishes: what a person ends while it is held is recorded as Cancelled, whatever is forgotten of it.
    noticed = _RUN.but(restore=True, noticed=True)
    found += [_world(kind, noticed, 1, "restored and forgotten, and noticed") for kind in kinds if kind != OBJECT]
    if CLAIMS in kinds:
        found.append(_world(CLAIMS, wishes.but(exits=True), faults, "System.exit"))
        found.append(_world(CLAIMS, wishes.but(relaunch=True), faults, "a JVM launched again"))
    return tuple(found)


SMALL = (
    _world(CLAIMS, _WISHES, 1),
    _world(CLAIMS, _TWO.but(cancel=True), 1),
    _world(OBJECT, _ALL.but(**_ANY), 1),
    _world(OBJECT, _TWO, 1),
    _world(OBJECT, _TWO.but(quota=True, cancel=True), 1, "no room"),
    _world(GATE, _ALL, 1),
    _world(GATE, _TWO, 1),
    _world(UNRECOVERED, _WISHES, 1),
    _world(STAGING, _WISHES, 1),
    _world(STAGING, _TWO.but(delete=True, **_ANY), 1),
    _world(GENERIC, _WISHES, 1),
    _world(GENERIC, _TWO.but(cancel=True, **_ANY), 1),
    _world(ON, _WISHES, 2),
    _world(OFF, _WISHES, 2),
    _world(FAKE, _ALL, 2),
    *_variants(_RUN.but(delete=True), (OBJECT, GATE, STAGING, FAKE)),
    *_variants(_RUN, (CLAIMS,)),
)

_OLD = {"stale_list": True, "old_cache": True}

FULL = (
    _world(CLAIMS, _ALL, 1),
    _world(CLAIMS, _WISHES, 2),
    _world(CLAIMS, _TWO.but(cancel=True, raise_attempt=True), 1),
    _world(CLAIMS, _TWO.but(delete=True, raise_attempt=True), 1),
    _world(OBJECT, _ALL.but(stale_list=True, **_ANY), 1),
    _world(OBJECT, _ALL, 3),
    _world(OBJECT, _ALL.but(controllers=2, **_ANY), 2),
    _world(OBJECT, _WISHES.but(controllers=2, quota=True, slow=True), 1, "no room, and a late beginning"),
    _world(GATE, _ALL, 3),
    _world(GATE, _ALL.but(controllers=2, **_ANY), 2),
    _world(UNRECOVERED, _ALL, 2),
    _world(UNRECOVERED, _ALL.but(controllers=2), 1),
    _world(STAGING, _ALL.but(**_ANY), 3),
    _world(STAGING, _ALL.but(controllers=2), 1),
    _world(GENERIC, _ALL.but(**_ANY), 3),
    _world(GENERIC, _ALL.but(controllers=2), 1),
    _world(ON, _ALL.but(controllers=2), 2),
    _world(OFF, _ALL.but(controllers=2), 2),
    _world(FAKE, _ALL.but(old_cache=True), 1),
    _world(FAKE, _WISHES.but(controllers=2, **_OLD), 2),
    *_variants(_WISHES, (CLAIMS, GATE, UNRECOVERED, STAGING)),
    *_variants(_ALL, (OBJECT, FAKE)),
)


def title(exploration: Exploration) -> str:
    """Name, wishes and number of faults in a line."""
    options = exploration.options
    on = [name for name in ("cancel", "delete", "raise_attempt") if getattr(options, name)]
    return f"{exploration.name} [{', '.join(on) or 'run only'}; {exploration.faults} faults]"
