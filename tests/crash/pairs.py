"""Pairwise choice: a few of many combinations, such that every pair of values that occurs is among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from typing import TypeVar

T = TypeVar("T")


def pairwise(candidates: Sequence[T], factors: Callable[[T], Sequence[Hashable]]) -> list[T]:
    """The candidates that cover all pairs of factors' values which occur among them.

    Greedy: always the one with the most pairs that are not covered yet, the first of equals; so the same choice each
    time. It is not the smallest one, but near it.
    """
    pairs = [set(combinations(enumerate(factors(candidate)), 2)) for candidate in candidates]
    open_ = set[object]().union(*pairs)
    chosen: list[T] = []
    while open_:
        best = max(range(len(candidates)), key=lambda number: len(pairs[number] & open_))
        open_ -= pairs[best]
        chosen.append(candidates[best])
    return chosen
