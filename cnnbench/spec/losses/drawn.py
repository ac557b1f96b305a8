"""Targets that are drawn where a check has none: values that fit, from a NumPy generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.spec.layers import Shape


def shares(generator: Any, shape: Shape) -> Any:
    """Values between 0 and 1, as pictures have them."""
    return generator.uniform(0.0, 1.0, shape)


def normal(generator: Any, shape: Shape) -> Any:
    """Standard normal values."""
    return generator.normal(size=shape)


def zero_or_one(generator: Any, shape: Shape) -> Any:
    """What is seen, sampled or an object, and what is not; the first is."""
    drawn = generator.integers(0, 2, shape).astype(float)
    drawn.flat[:1] = 1
    return drawn


def some_ignored(generator: Any, targets: Any, ignore_index: int) -> Any:
    """Targets of which about a third, but never the first, are those that count as nothing.

    Args:
        generator: Of NumPy.
        targets: Indices, which are written into.
        ignore_index: What counts as nothing.
    """
    hidden = generator.random(targets.shape) < 0.3
    hidden.flat[:1] = False
    targets[hidden] = ignore_index
    return targets


def classes(count: int) -> Callable[[Any, Shape], Any]:
    """Classes of regions below a number, 0 the background; about a third are -1, not sampled."""

    def draw(generator: Any, shape: Shape) -> Any:
        return some_ignored(generator, generator.integers(0, count, shape), -1)

    return draw


def boxes_within(size: Shape) -> Callable[[Any, Shape], Any]:
    """Corners (..., 4) of boxes within an image of this height and width, of an eighth of each side or more."""

    def draw(generator: Any, shape: Shape) -> Any:
        sides = generator.uniform(0.125, 1.0, (*shape[:-1], 2))
        low = generator.uniform(0.0, 1.0, sides.shape) * (1 - sides)
        import numpy as np

        return np.concatenate([low, low + sides], axis=-1) * (size[1], size[0], size[1], size[0])

    return draw
