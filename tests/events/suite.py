"""Plays many rows side by side, and judges each by what the programs' ledger says."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Protocol

from tests.events.faults import Faults
from tests.events.rows import FAULTS, OF_THEIR_OWN, Fault, Mode, Row
from tests.events.run import Gate, NotSo, Run, Side

AT_ONCE = 10
"""Rows side by side; each is a task process or two."""
ARRIVAL = 60.0
"""Seconds that an end may take from Airflow's to the programs' ledger: the observer looks twice."""


class Judged(Side, Protocol):
    """A side whose ledger also tells why programs were cancelled."""

    def causes(self, run: Run) -> list[str] | None: ...


@dataclass
class Cell:
    """One row in one mode, and what came of it."""

    row: Row
    mode: Mode
    run: Run | None = None
    programs: list[str] = field(default_factory=list)
    state: str = ""
    tries: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.row.event} [{self.mode}]"


def cells(rows: Sequence[Row], only: str = "") -> list[Cell]:
    """Each row in each of its modes, if its name contains this."""
    found = [Cell(row, mode) for row in rows for mode in row.modes]
    return [cell for cell in found if only in cell.name]


def play_all(
    side: Judged, faults: Faults, chosen: Sequence[Cell], tell: Callable[[Cell], None], at_once: int = AT_ONCE
) -> None:
    """Play all cells: those without a fault of their own first, then fault by fault; then look at all again."""
    met = {fault: [cell for cell in chosen if cell.row.fault == fault] for fault in FAULTS}
    gates = {fault: Gate(faults.steps(fault), len(cells)) for fault, cells in met.items() if cells}
    _play(side, [cell for cell in chosen if cell.row.fault in (None, *OF_THEIR_OWN)], gates, tell, at_once)
    for fault in gates:
        if fault not in OF_THEIR_OWN:
            _play(side, met[fault], gates, tell, len(met[fault]))
    for cell in chosen:
        _look_again(side, cell)


def _play(
    side: Judged, some: Sequence[Cell], gates: Mapping[Fault, Gate], tell: Callable[[Cell], None], at_once: int
) -> None:
    if not some:
        return
    with ThreadPoolExecutor(at_once) as pool:
        for done in as_completed([pool.submit(_one, side, cell, gates) for cell in some]):
            tell(done.result())


def _one(side: Judged, cell: Cell, gates: Mapping[Fault, Gate]) -> Cell:
    began = time.monotonic()
    gate = gates[cell.row.fault] if cell.row.fault else None
    run = cell.run = Run(side, f"{cell.mode}-{cell.row.variant}", cell.mode, gate=gate)
    try:
        cell.row.play(run)
    except NotSo as error:
        cell.wrong.append(str(error))
    except Exception:
        cell.wrong.append(traceback.format_exc())
    if cell.wrong and gate is not None:
        gate.abort()
    try:
        if cell.wrong and run.id:
            run.release()  # it is not to stand in the way of others
        _judge(side, cell, run)
    except Exception:
        cell.wrong.append(traceback.format_exc())
    cell.seconds = time.monotonic() - began
    return cell


def _judge(side: Judged, cell: Cell, run: Run) -> None:
    row = cell.row
    deadline = time.monotonic() + ARRIVAL
    while side.programs(run) != list(row.programs) and time.monotonic() < deadline and not cell.wrong:
        time.sleep(0.5)
    ti = run.ti()
    cell.programs, cell.state, cell.tries = side.programs(run), str(ti["state"]), int(ti["try_number"])
    _compare(cell, "programs", cell.programs, list(row.programs))
    _compare(cell, "state", cell.state, row.state)
    if row.tries is not None:
        _compare(cell, "tries", cell.tries, row.tries)
    causes = side.causes(run)
    if causes is None:  # the other side: neither its causes nor its words are ours
        return
    if not _fits(causes, row.causes):
        cell.wrong.append(f"causes: {causes}, required {list(row.causes)}")
    if row.says and row.says not in run.log():
        cell.wrong.append(f"the tasks' logs do not say {row.says!r}")


def _fits(causes: Sequence[str], required: Sequence[str]) -> bool:
    """Whether each cause is one of those required in its place."""
    return len(causes) == len(required) and all(a in b.split("|") for a, b in zip(causes, required, strict=True))


def _look_again(side: Judged, cell: Cell) -> None:
    """What was started after the row was judged is wrong as well."""
    if cell.run is not None and cell.run.id and not cell.wrong:
        _compare(cell, "programs, later", side.programs(cell.run), list(cell.row.programs))


def _compare(cell: Cell, what: str, found: object, required: object) -> None:
    if found != required:
        cell.wrong.append(f"{what}: {found}, required {required}")


class Progress:
    """A line for each cell as it ends."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.began = time.monotonic()

    def __call__(self, cell: Cell) -> None:
        self.done += 1
        word = "WRONG" if cell.wrong else "right"
        print(f"events: {self.done} of {self.total}, {time.monotonic() - self.began:.0f} s: {word}  {cell.name} "
              f"({cell.seconds:.0f} s)", flush=True)  # fmt: skip
        for words in cell.wrong:
            print(f"    {words[-1500:]}", flush=True)
