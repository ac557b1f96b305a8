"""How two arrays of weights differ: transposed, flipped, in another order, scaled, not loaded, or other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.layers import Shape

Array = NDArray[Any]
_TOLERANCE = 2.0**-20  # of the largest: what a round trip through float32 leaves
_GATES = {"lstm": 4, "gru": 3}


def same(one: Array, two: Array) -> bool:
    """Whether two arrays are equal after rounding to float32, and not finite in the same way at the same places."""
    if one.shape != two.shape:
        return False
    finite = np.isfinite(one) & np.isfinite(two)
    if not finite.all():
        if not np.array_equal(one[~finite], two[~finite], equal_nan=True):
            return False
        one, two = one[finite], two[finite]
    largest = float(np.abs(one).max(initial=0.0))
    return bool(np.abs(np.asarray(one, np.float64) - two).max(initial=0.0) <= _TOLERANCE * largest)


def apart(one: Array, two: Array, kind: str, role: str, flattened: Shape = ()) -> str:
    """How the candidate's array differs from the reference's, in words.

    Args:
        one: The reference's.
        two: The candidate's, which is not the same.
        kind: Of the layer.
        role: What the layer calls the array.
        flattened: The (C, *spatial) that was flattened before a linear layer; () where none was.
    """
    if one.shape != two.shape:
        return _of_another_shape(one, two)
    for describe in (
        _initial(role),
        _of_gates(kind),
        _moved_axes,
        _reversed,
        _flattening(flattened),
        _permuted,
        _scaled,
    ):
        text = describe(one, two)
        if text is not None:
            return text
    return _other_values(one, two)


def _of_another_shape(one: Array, two: Array) -> str:
    for order in permutations(range(one.ndim)):
        if one.ndim < 6 and one.transpose(order).shape == two.shape and same(one.transpose(order), two):
            return f"transposed: the axes stand in the order {order}"
    text = f"of another shape: {two.shape}, and {one.shape} in the reference"
    return f"{text}; the same number of elements" if one.size == two.size else text


def _initial(role: str) -> Callable[[Array, Array], str | None]:
    start = {"running_mean": 0.0, "running_var": 1.0, "bias": 0.0, "weight": 1.0}.get(role, 0.0)

    def describe(one: Array, two: Array) -> str | None:
        if (two == start).all() and two.ndim == 1:
            return f"not loaded: every value is {start:g}, as a new layer has it"
        return "not loaded: every value is 0" if (two == 0).all() else None

    return describe


def _moved_axes(one: Array, two: Array) -> str | None:
    if one.ndim < 2 or one.ndim > 5:
        return None
    for order in permutations(range(one.ndim)):
        if (
            order != tuple(range(one.ndim))
            and one.transpose(order).shape == two.shape
            and same(one.transpose(order), two)
        ):
            return f"transposed: the axes stand in the order {order}"
    return None


def _reversed(one: Array, two: Array) -> str | None:
    spatial = tuple(range(2, one.ndim))
    if spatial and same(np.flip(one, spatial), two):
        return "flipped: the kernel is turned by half a turn (a convolution where a correlation is meant)"
    for axis in spatial:
        if same(np.flip(one, axis), two):
            return f"flipped along spatial axis {axis - 2}"
    if one.ndim > 1 and one.shape[1] == 3 and same(one[:, ::-1], two):
        return "input channels in reverse order: BGR images instead of RGB"
    return None


def _of_gates(kind: str) -> Callable[[Array, Array], str | None]:
    count = _GATES.get(kind)

    def describe(one: Array, two: Array) -> str | None:
        if count is None or one.shape[0] % count:
            return None
        blocks = one.reshape(count, -1)
        for order in permutations(range(count)):
            if order != tuple(range(count)) and same(blocks[list(order)].reshape(one.shape), two):
                names = "ifgo" if kind == "lstm" else "rzn"
                return f"gates in the order {''.join(names[i] for i in order)} where the layer has {names}"
        return None

    return describe


def _flattening(shape: Shape) -> Callable[[Array, Array], str | None]:
    def describe(one: Array, two: Array) -> str | None:
        if len(shape) < 2 or one.ndim != 2 or one.shape[1] != int(np.prod(shape)):
            return None
        order = np.moveaxis(np.arange(one.shape[1]).reshape(shape), 0, -1).reshape(-1)
        back = np.argsort(order)
        if same(one[:, order], two) or same(one[:, back], two):
            return f"columns in the order of another flattening: {shape} with the channels last instead of first"
        return None

    return describe


def _permuted(one: Array, two: Array) -> str | None:
    for axis in range(min(one.ndim, 2)):
        rows, others = (np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (one, two))
        order = _order(rows, others)
        if order is not None:
            what = ("outputs", "inputs")[axis] if one.ndim > 1 else "elements"
            shown = ", ".join(map(str, order[:8])) + (" …" if len(order) > 8 else "")
            return f"{what} in another order: {shown}"
    return None


def _order(rows: Array, others: Array) -> Sequence[int] | None:
    """For each of the other's rows its place in the first, where they are the same rows."""
    keys = [np.lexsort(np.round(array.T[::-1].astype(np.float64), 6)[-8:]) for array in (rows, others)]
    order = np.empty(len(rows), int)
    order[keys[1]] = keys[0]
    return [int(i) for i in order] if same(rows[order], others) else None


def _scaled(one: Array, two: Array) -> str | None:
    x, y = np.asarray(one, np.float64).reshape(-1), np.asarray(two, np.float64).reshape(-1)
    factor = float(x @ y / (x @ x)) if x.any() else 0.0
    if factor and same(factor * x, y):
        return f"scaled: {factor:.6g} times the reference's"
    if np.ptp(y - x) <= _TOLERANCE * np.abs(x).max(initial=1.0):
        return f"shifted: {float((y - x).mean()):.6g} more than the reference's"
    return None


def _other_values(one: Array, two: Array) -> str:
    difference = np.abs(np.asarray(one, np.float64) - two)
    largest = float(np.abs(one).max(initial=0.0)) or 1.0
    equal = difference <= _TOLERANCE * largest
    place = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), one.shape))
    shown = (
        f"largest difference at {list(place)}: {float(two[place]):.6g}, and {float(one[place]):.6g} in the reference"
    )
    if equal.mean() > 0.05:
        return f"{equal.mean():.0%} of the values are the same; {shown}"
    return f"other values (not loaded?); {shown}"
