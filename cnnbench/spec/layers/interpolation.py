"""Arithmetic of resizing one axis: coordinates, and which inputs make up an output with which weights.

Resizing is linear and separable: along each axis y = W x with a sparse matrix W that depends on sizes alone. It is
computed here in float64, once, for the reference and for backends whose framework has no such function.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Mode = Literal["nearest", "linear", "cubic"]
Coordinates = Literal["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


class Axis(NamedTuple):
    """How one axis is resized.

    Args:
        size, out: Of input and output.
        scale: The factor as it was given; None: out / size.
        mode, coordinates, nearest_rounding, cubic_coefficient, exclude_outside, antialias: As in ``Resize``.
    """

    size: int
    out: int
    scale: float | None
    mode: Mode
    coordinates: Coordinates
    nearest_rounding: Rounding
    cubic_coefficient: float
    exclude_outside: bool
    antialias: bool

    @property
    def factor(self) -> float:
        """Outputs an input."""
        return self.out / self.size if self.scale is None else self.scale


class Taps(NamedTuple):
    """Row i of W: ``weights[i, k]`` at column ``indices[i, k]``; a column may come twice, where an edge is repeated."""

    indices: Array
    weights: Array


def coordinates(axis: Axis) -> Array:
    """Where each output lies among the inputs, the first of which lies at 0.

    Written with one rounding where only the sizes count, so that what lies half-way does so exactly.
    """
    import numpy as np

    i = np.arange(axis.out, dtype=np.float64)
    size, out, scale = axis.size, axis.out, axis.scale
    if axis.coordinates == "align_corners":
        return i * (size - 1) / (out - 1) if out > 1 else i * 0.0
    if axis.coordinates == "asymmetric":
        return i * size / out if scale is None else i / scale
    if axis.coordinates == "pytorch_half_pixel" and out == 1:
        return i * 0.0
    centered: Array = ((2 * i + 1) * size - out) / (2 * out) if scale is None else (i + 0.5) / scale - 0.5
    if axis.coordinates == "half_pixel_symmetric" and scale is not None:
        centered = centered + (size - out / scale) / 2
    return centered


@lru_cache(maxsize=256)
def taps(axis: Axis) -> Taps:
    """The taps of every output of an axis."""
    return taps_at(axis, coordinates(axis))


def taps_at(axis: Axis, places: Array) -> Taps:
    """The taps of outputs at the given coordinates."""
    import numpy as np

    if axis.mode == "nearest":
        rounded = _ROUNDINGS[axis.nearest_rounding](places)
        indices = np.clip(rounded, 0, axis.size - 1).astype(np.int64)[:, None]
        return Taps(indices, np.ones(indices.shape))
    # antialias: the kernel is stretched by the inverse of a factor below 1, so that it covers what it leaves out
    shrink = min(axis.factor, 1.0) if axis.antialias else 1.0
    radius = (1 if axis.mode == "linear" else 2) / shrink
    first = np.floor(places - radius).astype(np.int64) + 1  # as many integers as can lie within the kernel, and
    columns = first[:, None] + np.arange(math.ceil(2 * radius))  # as many for every output
    distances = np.abs(columns - places[:, None]) * shrink
    if axis.mode == "linear":
        weights = np.maximum(1.0 - distances, 0.0)
    else:
        weights = _cubic(distances, axis.cubic_coefficient)
    if axis.exclude_outside:
        weights = weights * ((columns >= 0) & (columns < axis.size))
    return Taps(np.clip(columns, 0, axis.size - 1), weights / weights.sum(axis=1, keepdims=True))


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel of an absolute distance (1981, equation 15, there a = -1/2)."""
    import numpy as np

    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def terms(axis: Axis) -> Taps:
    """The taps of a cubic axis with each weight replaced by the sum of magnitudes of its polynomial's terms."""
    import numpy as np

    found, places, a = taps(axis), coordinates(axis), abs(axis.cubic_coefficient)
    shrink = min(axis.factor, 1.0) if axis.antialias else 1.0
    d = np.minimum(np.abs(found.indices - places[:, None]) * shrink, 2.0)
    near = (abs(axis.cubic_coefficient + 2) * d + abs(axis.cubic_coefficient + 3)) * d**2 + 1
    far = ((a * d + 5 * a) * d + 8 * a) * d + 4 * a
    return Taps(found.indices, np.where(d <= 1, near, far) * shrink)


def _round_prefer_floor(x: Array) -> Array:
    import numpy as np

    return np.ceil(x - 0.5)


def _round_prefer_ceil(x: Array) -> Array:
    import numpy as np

    return np.floor(x + 0.5)


def _floor(x: Array) -> Array:
    import numpy as np

    return np.floor(x)


def _ceil(x: Array) -> Array:
    import numpy as np

    return np.ceil(x)


_ROUNDINGS = {
    "round_prefer_floor": _round_prefer_floor,
    "round_prefer_ceil": _round_prefer_ceil,
    "floor": _floor,
    "ceil": _ceil,
}


def matrix_of(found: Taps, size: int) -> Array:
    """W as a dense matrix (outputs, inputs)."""
    import numpy as np

    places = found.indices[:, :, None] == np.arange(size)
    dense: Array = (places * found.weights[:, :, None]).sum(axis=1)
    return dense


@lru_cache(maxsize=256)
def matrix(axis: Axis) -> Array:
    """W of an axis as a dense matrix (outputs, inputs)."""
    return matrix_of(taps(axis), axis.size)


def is_dyadic(axis: Axis) -> bool:
    """Whether out / size is such that coordinates are exact in binary floating point: a power of two divides evenly.

    Then a framework that rounds coordinates to float32 still rounds to the right neighbour. PyTorch 2.13 does not
    for other sizes: 602 of the 33,411 pairs of sizes up to 130 and 260 have a wrong neighbour, 2 to 82 among them.
    """
    rest = axis.out // math.gcd(axis.size, axis.out)
    return axis.scale in (None, axis.out / axis.size) and not rest & (rest - 1)
