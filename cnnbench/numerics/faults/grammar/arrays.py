"""Changes of host arrays: an element, a row, a factor, fewer bits, another order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.faults.grammar.drawing import Chance, signed

Array = NDArray[Any]


class ArrayChange(NamedTuple):
    """What becomes of an array: the class of the change, in words, and as a function."""

    what: str
    text: str
    of: Callable[[Array], Array]


def in_bits(array: Array, bits: int) -> Array:
    """The array with ``bits`` bits of significand, rounded to nearest."""
    fraction, exponent = np.frexp(array.astype(np.float64))
    return np.asarray(np.ldexp(np.round(fraction * 2.0**bits), exponent - bits), array.dtype)


def _at(array: Array, where: float, change: Callable[[Any], Any]) -> Array:
    found = np.array(array)
    flat = found.reshape(-1)
    if flat.size:
        index = min(int(where * flat.size), flat.size - 1)
        flat[index] = change(flat[index])
    return found


def _row(array: Array, index: int, error: float) -> Array:
    found = np.array(array)
    if found.ndim and found.shape[0]:
        found[index % found.shape[0]] *= 1 + error
    return found


def draw_array_change(chance: Chance, shape: tuple[int, ...]) -> ArrayChange:
    """A change of a float array of this shape that keeps the shape."""
    where, error, bits = chance.share(), chance.error(), chance.of((8, 10, 11, 12, 16))
    row = chance.whole(0, max(0, shape[0] - 1)) if shape else 0
    choices = [
        ArrayChange("element", f"{signed(error)} off at {where}", lambda a: _at(a, where, lambda x: x * (1 + error))),
        ArrayChange("element", f"0 at {where}", lambda a: _at(a, where, lambda x: 0 * x)),
        ArrayChange("constant", f"{signed(error)} off", lambda a: (a * (1 + error)).astype(a.dtype)),
        ArrayChange("precision", f"in {bits} bits", lambda a: in_bits(a, bits)),
        ArrayChange("term", "taken as 0", lambda a: 0 * a),
        ArrayChange("term", "negated", lambda a: -a),
    ]
    if len(shape) > 0 and shape[0] > 1:
        choices.append(ArrayChange("channel", f"row {row} {signed(error)} off", lambda a: _row(a, row, error)))
        choices.append(ArrayChange("order", "its rows one further", lambda a: np.roll(a, 1, axis=0)))
        choices.append(ArrayChange("order", "its rows in reverse", lambda a: a[::-1].copy()))
    if len(shape) > 1 and shape[0] == shape[1] > 1:
        choices.append(ArrayChange("order", "its first two axes exchanged", lambda a: np.swapaxes(a, 0, 1).copy()))
    if len(shape) > 2 and shape[-1] > 1:
        choices.append(ArrayChange("order", "its last axis in reverse", lambda a: a[..., ::-1].copy()))
    return chance.of(choices)


def one_wrong_batch(name: str, change: ArrayChange) -> Callable[[Any, Any], dict[str, Array]]:
    """For ``ProgramChange.upload``: one array of the batch is changed.

    Args:
        name: Of the input.
        change: What becomes of it.
    """

    def upload(batch: Any, moment: Any) -> dict[str, Array]:
        found = dict(batch)
        if name in found and found[name].dtype.kind == "f":
            found[name] = change.of(found[name])
        return found

    return upload
