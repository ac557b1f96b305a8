"""Compares what a subject gave with what was exact: shape, dtype, NaN, and the fraction of the budget used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.blocks import blocks, flat, largest_difference, largest_of
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.outcome import NodeUse
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.rounding import host_dtype, to_storage
from cnnbench.numerics.suspicion import probe
from cnnbench.numerics.ties import Hull

Array = NDArray[Any]
TIED_ROUNDINGS = 16  # a value in up to 64 windows: 2 sqrt(64)


@dataclass(frozen=True)
class Place:
    """Which value is compared: a node, its kind, what of it, and the form of its budget."""

    node: str
    kind: str
    quantity: Quantity
    budget: str = "derived"

    def used(self, sharp: float, worst_case: float, **where: Any) -> NodeUse:
        """The use of the budgets at this place.

        Args:
            sharp: Of the sharp budget.
            worst_case: Of the worst-case budget.
            where: ``worst_index``, ``got`` and ``expected``, where the values could be compared.
        """
        return NodeUse(
            node=self.node,
            kind=self.kind,
            quantity=self.quantity,
            budget=self.budget,
            sharp_used=sharp,
            worst_case_used=worst_case,
            **where,
        )


@dataclass(frozen=True)
class Comparison:
    """One value compared.

    Args:
        use: The fraction of the budgets used; infinite where ``problem`` says that nothing could be compared.
        problem: ``nan``, ``wrong_shape``, ``wrong_dtype`` or None. text: the problem in words.
        at_ties: Elements at a tie, for which a range of values is right.
        probe: Of a value beyond its budget: a few of its elements, to be compared with those of other backends.
    """

    use: NodeUse
    problem: str | None = None
    text: str = ""
    at_ties: int = 0
    probe: Mapping[str, Any] | None = None


def examine(
    got: Array | None, shape: tuple[int, ...], policy: PrecisionPolicy, exact: Array | None = None
) -> tuple[str | None, str]:
    """Whether an array can be compared at all: (problem, text), or (None, "").

    Args:
        got: What the subject gave; None where it gave nothing.
        shape: The right one.
        policy: The subject's precision, which says the dtype of floats.
        exact: The right values, where they are known: integers are compared as integers, and NaN there is right.
    """
    if got is None:
        return "wrong_shape", "the value is missing"
    if tuple(got.shape) != tuple(shape):
        return "wrong_shape", f"shape {tuple(got.shape)}, expected {tuple(shape)}"
    expected = np.dtype(np.int64) if exact is not None and exact.dtype.kind in "iu" else host_dtype(policy)
    if got.dtype != expected:
        return "wrong_dtype", f"dtype {got.dtype}, expected {expected}"
    bad = np.isnan(got)
    if exact is not None and exact.dtype.kind == "f":
        bad &= ~np.isnan(exact)
    if bad.any():
        return "nan", f"NaN in {int(bad.sum())} of {got.size} values, first at {_index(bad, int(bad.argmax()))}"
    return None, ""


class Problem(NamedTuple):
    """The first value by name that cannot be compared: ``nan``, ``wrong_shape`` or ``wrong_dtype``, and in words."""

    name: str
    problem: str
    text: str


def first_problem(got: Mapping[str, Array], exact: Mapping[str, Array], policy: PrecisionPolicy) -> Problem | None:
    """What keeps values from being compared, if anything does.

    Args:
        got: What the subject gave, by name.
        exact: What is right, by name.
        policy: The subject's precision.
    """
    for name, value in exact.items():
        problem, text = examine(got.get(name), value.shape, policy, value)
        if problem is not None:
            return Problem(name, problem, text)
    return None


def compare(
    place: Place, got: Array | None, exact: Array, budget: Budget, policy: PrecisionPolicy, hull: Hull | None = None
) -> Comparison:
    """The largest fraction of the sharp and of the worst-case budget that ``got`` uses, and where.

    Args:
        place: Which value it is.
        got: What the subject gave; None where it gave nothing.
        exact: What is right, in float64.
        budget: The admitted error, of a shape that broadcasts to the value's.
        policy: The subject's precision, which says the dtype.
        hull: Of a gradient of a kind that has ties: what is right there.
    """
    beyond = np.broadcast_to(np.isinf(budget.sharp), exact.shape)
    if got is not None and got.shape == exact.shape and beyond.any():  # the range is left there: anything is admitted
        with np.errstate(over="ignore"):
            got = np.where(beyond, exact.astype(got.dtype), got)
    problem, text = examine(got, exact.shape, policy, exact)
    if problem is not None or got is None:
        return Comparison(place.used(np.inf, np.inf), problem, text)
    if not got.size:
        return Comparison(place.used(0.0, 0.0))
    tied = hull if hull is not None and hull.tied.any() else None
    found = _largest_use(got, exact, budget, policy) if tied is None else _at_ties(got, exact, budget, policy, tied)
    index = _index(exact, found.position)
    right = _within(np.asarray(exact[index], np.float64), policy)[()]
    use = place.used(found.sharp, found.worst, worst_index=index, got=got[index], expected=right)
    seen = None if found.sharp <= 1 else probe(got, budget.sharp, str(place.quantity))
    return Comparison(use, at_ties=0 if hull is None else int(hull.tied.sum()), probe=seen)


class _Use(NamedTuple):
    """The largest fractions of both budgets, and the flat position at which that of the sharp one is."""

    sharp: float
    worst: float
    position: int


def _largest_use(got: Array, exact: Array, budget: Budget, policy: PrecisionPolicy) -> _Use:
    """Block by block, as the sum of all fractions would take a multiple of the value's own memory."""
    ours, right, sharp, worst = (flat(np.asarray(x), exact.shape) for x in (got, exact, budget.sharp, budget.worst))
    uses = []
    for block in blocks(exact.size):
        values = _within(np.asarray(right[block], np.float64), policy)
        fraction = _fraction(ours[block], values, sharp[block])
        position = int(fraction.argmax())
        most = float(_fraction(ours[block], values, worst[block]).max())
        uses.append(_Use(float(fraction[position]), most, block.start + position))
    first = uses[int(np.argmax([use.sharp for use in uses]))]
    return first._replace(worst=float(np.max([use.worst for use in uses])))


def _at_ties(got: Array, exact: Array, budget: Budget, policy: PrecisionPolicy, hull: Hull) -> _Use:
    """Of a gradient that is a choice in places."""
    exact = _within(np.asarray(exact, np.float64), policy)
    fractions = [_fraction(got, exact, admitted) for admitted in (budget.sharp, budget.worst)]
    for fraction, admitted in zip(fractions, (budget.sharp, budget.worst), strict=True):
        fraction[hull.tied] = _beyond(hull, got, exact, _widened(hull, admitted, policy))[hull.tied]
    position = int(fractions[0].argmax())
    return _Use(float(fractions[0].flat[position]), float(fractions[1].max()), position)


def _within(exact: Array, policy: PrecisionPolicy) -> Array:
    """Values beyond the storage type's range as the infinities that it holds for them."""
    if policy.storage == "float64" or not np.any(np.abs(exact) > 6e4):
        return exact
    with np.errstate(over="ignore"):
        return np.where(np.isinf(to_storage(exact, policy)), np.copysign(np.inf, exact), exact)


def _fraction(got: Array, exact: Array, admitted: Array) -> Array:
    """|got - exact| over the budget; where ``exact`` is not finite, 0 if ``got`` is the same, else infinite.

    An infinite budget is never used.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        fraction = np.asarray(np.abs(got - exact) / admitted)
    special = ~np.isfinite(exact)
    if special.any():
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        fraction[special] = np.where(same[special], 0.0, np.inf)
    if np.isinf(admitted).any():
        fraction = np.where(np.isinf(admitted), 0.0, fraction)
    return np.asarray(fraction)


def _widened(hull: Hull, admitted: Array, policy: PrecisionPolicy) -> Array:
    """The budget at ties, where other sums than the exact one are right: some roundings of the largest besides."""
    size = np.maximum(np.abs(hull.low), np.abs(hull.high))
    return np.asarray(admitted + TIED_ROUNDINGS * policy.storage_roundoff * size)


def _beyond(hull: Hull, got: Array, exact: Array, admitted: Array) -> Array:
    """How far values lie outside the hull, in budgets; where their sum is not conserved, how far that is off."""
    outside = np.maximum(np.maximum(hull.low - got, got - hull.high), 0) / admitted
    if not hull.conserved:
        return np.asarray(outside)

    def total(values: Array) -> Array:
        return np.asarray(np.where(hull.tied, values, 0).sum(axis=hull.conserved, keepdims=True))

    with np.errstate(invalid="ignore"):
        sums = np.abs(total(np.asarray(got, np.float64) - exact)) / np.maximum(total(admitted), np.min(admitted))
    return np.asarray(np.maximum(outside, np.where(np.abs(got - exact) > admitted, sums, 0)))


def _index(array: Array, flat: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def largest(arrays: Mapping[str, Array]) -> dict[str, float]:
    """The largest magnitude of each array."""
    return {name: largest_of(np.asarray(array)) for name, array in arrays.items()}


def largest_differences(got: Mapping[str, Array], exact: Mapping[str, Array]) -> dict[str, float]:
    """Largest |got - exact| of each array of ``exact``, in float64, one array at a time."""
    with np.errstate(invalid="ignore", over="ignore"):  # values that have left the range of their numbers
        return {name: largest_difference(got[name], value) for name, value in exact.items()}
