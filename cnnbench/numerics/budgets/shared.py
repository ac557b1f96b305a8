"""Rounding errors that many elements of a value share, so that a sum over these elements does not average them out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.rounding import Roundoff

Array = NDArray[Any]
Axes = tuple[int, ...]


class Shared(NamedTuple):
    """An error that many elements of a value inherit from one number.

    For example, a channel's mean is wrong by 1e-6. It is subtracted from 2,048 elements, so each of them and also their
    mean is wrong by 1e-6. With independent errors of 1e-6, their mean would be wrong by 1e-6 / sqrt(2048) = 2e-8 only.

    Args:
        pattern: The signed error of each element where the number is wrong by its whole sharp budget; broadcasts
            against the value.
        axes: The axes along which elements share one number.
        view: The shape, without its first axis, to which the value is reshaped to have these axes; () for its own.
    """

    pattern: Array
    axes: Axes
    view: tuple[int, ...] = ()


class ValueNoise(NamedTuple):
    """The amplitudes of a value's rounding errors: the independent error of each element, and the shared errors.

    Args:
        own: Amplitude of the error that is independent from element to element.
        shared: The errors that elements share.
    """

    own: Array
    shared: tuple[Shared, ...] = ()

    @staticmethod
    def of(sharp: Array, shared: tuple[Shared, ...] = ()) -> ValueNoise:
        """Divides a sharp budget into the shared errors and an independent rest.

        Args:
            sharp: The sharp budget of each element.
            shared: The shared errors, which it contains.
        """
        left = np.asarray(sharp)
        for part in shared:
            left = left - np.abs(part.pattern)
        narrow = tuple(part._replace(pattern=np.asarray(part.pattern, np.float32)) for part in shared)
        return ValueNoise(np.maximum(left, 0.0).astype(np.float32) if shared else np.asarray(left, np.float32), narrow)

    def scaled(self, factor: float) -> ValueNoise:
        """All amplitudes times ``factor``."""
        shared = tuple(part._replace(pattern=part.pattern * factor) for part in self.shared)
        return ValueNoise(self.own * factor, shared)

    def of_images(self, count: int) -> ValueNoise:
        """The amplitudes for a micro-batch, from those of the whole batch.

        They are larger by the ratio of the batch sizes, because the loss is a mean over fewer images.

        Args:
            count: Images of the micro-batch; amplitudes for no more images than that are returned unchanged.
        """
        whole = len(self.own) if self.own.ndim else count
        if whole <= count:
            return self
        shared = tuple(part._replace(pattern=part.pattern[:count] * (whole / count)) for part in self.shared)
        return ValueNoise(np.asarray(self.own.max(axis=0) * (whole / count)), shared)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        """Draws uniform noise within the amplitudes, for all images or for the first few of them.

        Args:
            generator: The random generator.
            shape: Shape of the value, (N, ...).
            dtype: Type of the noise.
        """
        drawn = _uniform(generator, shape, dtype)
        drawn *= _known(self.own, shape)
        for part in self.shared:
            view = (shape[0], *part.view) if part.view else shape
            axes = {axis % len(view) for axis in part.axes}
            common = _uniform(generator, tuple(1 if i in axes else n for i, n in enumerate(view)), dtype)
            if part.view:
                common = np.broadcast_to(common, view).reshape(shape)
            drawn += common * _known(part.pattern, shape)
        return drawn


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform draws in [-1, 1)."""
    drawn = np.asarray(generator.random(shape, dtype=dtype))
    drawn -= dtype(0.5)
    drawn *= dtype(2)
    return drawn


def _known(amplitudes: Array, shape: tuple[int, ...]) -> Array:
    """The amplitudes, in float32, cut to the images of a value of this shape."""
    return np.asarray(amplitudes[tuple(slice(0, size) for size in shape[len(shape) - amplitudes.ndim :])])


def channel_axes(rank: int) -> Axes:
    """The axes over which the elements of one channel of (N, C, *spatial) extend: all but axis 1."""
    return (0, *range(2, rank))


def of_added(outputs: Array, axes: Axes, u: Roundoff) -> tuple[Shared, ...]:
    """The shared error of rounding s + b, where s differs from element to element and b is the same, as a bias is.

    A stored s is a multiple of q, the unit of its last digit. The error of rounding s + b is then the distance of b
    from the nearest multiple of q, which is the same for all elements with the same q.

    Args:
        outputs: The sums s + b.
        axes: The axes along which b is the same.
        u: The policy's unit roundoffs.
    """
    count = max(math.prod(outputs.shape[axis] for axis in axes), 1)  # of no images there is none
    return of_rows(axes, u.stored * np.abs(outputs).sum(axis=axes, keepdims=True) / count)


def of_rows(axis: int | Axes, *patterns: Array) -> tuple[Shared, ...]:
    """Shared errors along an axis or several axes, one for each pattern.

    Args:
        axis: The axis, or axes, along which elements share one number.
        patterns: ``Shared.pattern`` of each error.
    """
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(Shared(np.asarray(pattern), axes) for pattern in patterns)
