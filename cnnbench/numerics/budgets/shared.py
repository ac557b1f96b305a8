"""Errors that elements of a value have in common, which no sum over these elements averages out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.rounding import Roundoff

Array = NDArray[Any]
Axes = tuple[int, ...]


class Shared(NamedTuple):
    """An error that many elements of a value have from one number.

    For example, the mean of a channel is 1e-6 off. Then so is each of the 2,048 elements that it is subtracted from,
    and so is their mean. Errors of 1e-6 that are independent of each other would leave 2e-8 of it.

    Args:
        pattern: The error of each element while the number errs by all of its sharp budget, with its sign. It
            broadcasts against the value.
        axes: Along which elements share a number.
        view: The shape, without its first axis, in which the value has these axes; () for its own.
    """

    pattern: Array
    axes: Axes
    view: tuple[int, ...] = ()


class ValueNoise(NamedTuple):
    """How far rounding may move each element of a value: by itself, and together with others.

    Args:
        own: The amplitude of the part that is independent from element to element.
        shared: The parts that are not.
    """

    own: Array
    shared: tuple[Shared, ...] = ()

    @staticmethod
    def of(sharp: Array, shared: tuple[Shared, ...] = ()) -> ValueNoise:
        """The sharp budget, divided between the shared errors and what they leave of it.

        Args:
            sharp: Of each element.
            shared: Within it.
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
        """For a micro-batch of so many images, from the whole batch's: its mean is over fewer images.

        Args:
            count: The value's first axis; amplitudes of as many, or fewer, stay as they are.
        """
        whole = len(self.own) if self.own.ndim else count
        if whole <= count:
            return self
        shared = tuple(part._replace(pattern=part.pattern[:count] * (whole / count)) for part in self.shared)
        return ValueNoise(np.asarray(self.own.max(axis=0) * (whole / count)), shared)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        """Uniform noise within the amplitudes; of a value of fewer images, theirs.

        Args:
            generator: Of the draws.
            shape: Of the value.
            dtype: Of the noise.
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
    """In [-1, 1)."""
    drawn = np.asarray(generator.random(shape, dtype=dtype))
    drawn -= dtype(0.5)
    drawn *= dtype(2)
    return drawn


def _known(amplitudes: Array, shape: tuple[int, ...]) -> Array:
    """The part of amplitudes of more images that belongs to a value of this shape; in float32 as they are kept."""
    return np.asarray(amplitudes[tuple(slice(0, size) for size in shape[len(shape) - amplitudes.ndim :])])


def channel_axes(rank: int) -> Axes:
    """Along which the elements of a channel of (N, C, *spatial) lie."""
    return (0, *range(2, rank))


def of_added(outputs: Array, axes: Axes, u: Roundoff) -> tuple[Shared, ...]:
    """What rounding a sum s + b errs by where all elements have the same b.

    A sum s that was stored is a multiple of its last digit q, so that s + b is rounded by what b is off the next
    multiple of q: by the same in every element of about that size.

    Args:
        outputs: The sums.
        axes: Along which b is the same.
        u: The policy's roundoffs.
    """
    count = max(math.prod(outputs.shape[axis] for axis in axes), 1)  # of no images there is none
    return of_rows(axes, u.stored * np.abs(outputs).sum(axis=axes, keepdims=True) / count)


def of_rows(axis: int | Axes, *patterns: Array) -> tuple[Shared, ...]:
    """Errors of numbers that belong to rows along an axis, or several.

    Args:
        axis: Along which an element shares the number with others.
        patterns: Of each number.
    """
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(Shared(np.asarray(pattern), axes) for pattern in patterns)
