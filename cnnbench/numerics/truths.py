"""What is right of one node, and how it lies in the oracle's cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.budgets.shared import Shared
from cnnbench.numerics.cache_entry import CacheEntry

Array = NDArray[Any]
Arrays = tuple[Array, ...]


class Truth(NamedTuple):
    """What one node should give: exact values in float64 and the admitted errors."""

    values: Arrays
    budgets: tuple[Budget, ...]


class GradientTruth(NamedTuple):
    """What a node's gradients should be: by position for inputs that hold floats, by name for trained weights."""

    cotangents: Arrays
    inputs: tuple[tuple[int, Array, Budget], ...]
    weights: tuple[tuple[str, Array, Budget], ...]


def write_truth(entry: CacheEntry, name: str, values: Arrays, budgets: tuple[Budget, ...]) -> None:
    """Keeps exact values with their budgets.

    Args:
        entry: Where.
        name: The stem of the arrays' names.
        values: In float64.
        budgets: Of each.
    """
    for i, (value, budget) in enumerate(zip(values, budgets, strict=True)):
        entry.write(f"{name}.{i}", np.asarray(value))
        entry.write(f"{name}.{i}.sharp", _narrow(budget.sharp))
        entry.write(f"{name}.{i}.worst", _narrow(budget.worst))


def _narrow(budget: Array) -> Array:
    """A budget in float32, rounded up, and never 0."""
    with np.errstate(over="ignore"):
        return np.maximum((np.asarray(budget) * (1 + 2.0**-22)).astype(np.float32), np.float32(2.0**-126))


def read_truth(entry: CacheEntry, name: str) -> Truth:
    """What ``write_truth`` kept under a name."""
    values: list[Array] = []
    budgets: list[Budget] = []
    while entry.has(f"{name}.{len(values)}"):
        stem = f"{name}.{len(values)}"
        values.append(entry.read(stem))
        budgets.append(Budget(entry.read(f"{stem}.sharp"), entry.read(f"{stem}.worst")))
    return Truth(tuple(values), tuple(budgets))


def write_shared(entry: CacheEntry, name: str, shared: tuple[Shared, ...]) -> None:
    """Keeps the errors that a value's elements have in common.

    Args:
        entry: Where.
        name: The stem of the arrays' names.
        shared: The errors.
    """
    for i, part in enumerate(shared):
        entry.write(f"{name}.{i}", np.asarray(part.pattern, np.float32))
        entry.write(f"{name}.{i}.axes", np.asarray(part.axes, np.int64))
        entry.write(f"{name}.{i}.view", np.asarray(part.view, np.int64))


def read_shared(entry: CacheEntry, name: str) -> tuple[Shared, ...]:
    """What ``write_shared`` kept under a name."""
    found: list[Shared] = []
    while entry.has(f"{name}.{len(found)}"):
        stem = f"{name}.{len(found)}"
        axes, view = (tuple(map(int, entry.read(f"{stem}.{part}"))) for part in ("axes", "view"))
        found.append(Shared(entry.read(stem), axes, view))
    return tuple(found)
