"""Arguments of a provider's operator that ours does not take, or has another name for.

What is not taken is refused by name, with what to use instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """Why an argument is not taken."""

    instead: str
    """What to do, as the end of the sentence ``<operator> does not take <argument>: …``."""
    silent: tuple[object, ...] = ()
    """Values (besides None and an empty text) that ask for nothing which does not happen anyway."""
    passed_on: bool = False
    """Every operator has it: a silent value is left to Airflow, and ``default_args`` do not count."""


Refusals = Mapping[str, Refusal]


def take_out(operator: str, refusals: Refusals, kwargs: dict[str, Any]) -> None:
    """Remove the provider's arguments from ``kwargs``; refuse those that would otherwise be ignored.

    Airflow drops what a DAG's ``default_args`` hold and an operator does not name, without a word: these count too.

    :raises ValueError: naming each argument and its alternative
    """
    defaults: Mapping[str, Any] = kwargs.get("default_args") or {}
    given = {name: defaults[name] for name in refusals if name in defaults and not refusals[name].passed_on}
    given |= {name: kwargs[name] for name in refusals if name in kwargs}
    wrong = [
        f"{name}: {refusals[name].instead}" for name, value in given.items() if not _is_silent(value, refusals[name])
    ]
    if wrong:
        raise ValueError(f"{operator} does not take " + "; ".join(wrong))
    for name in given:
        if not refusals[name].passed_on:
            kwargs.pop(name, None)


def renamed(operator: str, name: str, value: object, ours: str, kwargs: dict[str, Any]) -> None:
    """Pass an argument on under the name that ours has for it; one of the task itself wins over a default one.

    :raises ValueError: both names are given in the same place: one would be ignored
    """
    if value is None:
        return
    defaults: Mapping[str, Any] = kwargs.get("default_args") or {}
    by_default = defaults.get(name) is value
    if by_default and ours in kwargs:
        return
    if ours in (defaults if by_default else kwargs):
        raise ValueError(f"{operator}: {name} is another name of {ours}: give one of them")
    kwargs[ours] = value


def _is_silent(value: object, refusal: Refusal) -> bool:
    return (
        value is None or value == "" or any(type(value) is type(empty) and value == empty for empty in refusal.silent)
    )
