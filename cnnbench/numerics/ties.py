"""Ties: where the gradient depends on a choice and not on values, and between which bounds every right choice lies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import entered, load_family
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import Roundoff
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import GlobalMaxPool, MaxPool
from cnnbench.spec.layers.windows import require_pairs

Array = NDArray[Any]


class Hull(NamedTuple):
    """The gradients that some right implementation gives at ties.

    Args:
        tied: True where the gradient is a matter of choice.
        low, high: Between which it lies there; the whole interval is admitted, because a choice may be a mean (JAX
            gives half of the gradient at a ReLU's corner to either side in places).
        conserved: Axes along which the sum over tied elements is the same whatever is chosen: a maximum hands on its
            gradient whole.
    """

    tied: Array
    low: Array
    high: Array
    conserved: tuple[int, ...] = ()


@dataclass(frozen=True)
class Backward:
    """What a layer's gradient with respect to its first input is taken of.

    Args:
        call: The layer's call in float64.
        cotangent: Of its first output.
        gradient: The exact gradient.
    """

    call: LayerCall
    cotangent: Array
    gradient: Array

    @property
    def layer(self) -> Any:
        """The layer, of the kind that the rule is registered for."""
        return self.call.layer

    @property
    def x(self) -> Array:
        """The first input."""
        return self.call.inputs[0]

    def between(
        self, tied: Array, first: Array | float, second: Array | float, conserved: tuple[int, ...] = ()
    ) -> Hull:
        """The hull of two gradients.

        Args:
            tied: Where there is a choice.
            first: What one choice gives.
            second: What the other one gives.
            conserved: As of ``Hull``.
        """
        low, high = (np.broadcast_to(side(first, second), tied.shape) for side in (np.minimum, np.maximum))
        return Hull(np.asarray(tied), low, high, conserved)

    def slopes(self, tied: Array, left: Array | float, right: Array | float) -> Hull:
        """The hull at a corner of an element-wise function.

        Args:
            tied: Where the corners are.
            left: The slope on one side.
            right: The slope on the other.
        """
        return self.between(tied, self.cotangent * left, self.cotangent * right)

    def shared(self, tied: Array, axes: tuple[int, ...]) -> Hull:
        """The hull of an extreme along axes, whose gradient goes to one of the tied elements or to several in parts.

        Args:
            tied: The elements that are the extreme together with others.
            axes: Along which the extreme is taken; the cotangent has them, or lacks them.
        """
        g = self.cotangent
        if g.ndim != self.x.ndim:
            g = np.expand_dims(g, axes)
        return self.between(tied, 0.0, g, axes)


Rule = Callable[[Backward], Hull | None]
_RULES: dict[str, Rule] = {}
_R = TypeVar("_R", bound=Rule)


def ties_of(*kinds: str) -> Callable[[_R], _R]:
    """A decorator for the function (backward call) -> hull of these kinds; it stands beside their budgets."""
    return entered(_RULES, kinds)


def kinds_with_ties() -> set[str]:
    """The kinds of every family that have a rule."""
    for kind in layer_kinds():
        load_family(kind)
    return set(_RULES)


def hull(backward: Backward, u: Roundoff) -> Hull | None:
    """Between which bounds the gradient lies where it depends on how a tie is broken; None for a kind without ties.

    For example, PyTorch gives the gradient g of a max-pool window (1, 3, 3) to the second value. An implementation that
    gives it to the third is right too, and so is one that gives half to each. All lie in [0, g], and their sum is g.

    A value below the smallest normal number counts as 0, which JAX and TensorFlow make of it.

    Args:
        backward: The call.
        u: The policy's roundoffs.
    """
    load_family(backward.layer.kind)
    rule = _RULES.get(backward.layer.kind)
    if rule is None:
        return None
    x = np.where(np.abs(backward.x) < u.smallest, 0.0, backward.x)
    return rule(replace(backward, call=replace(backward.call, inputs=(x, *backward.call.inputs[1:]))))


@ties_of("relu")
def _relu(backward: Backward) -> Hull:
    return backward.slopes(backward.x == 0, 0.0, 1.0)


@ties_of("global_max_pool")
def _global_maxima(backward: Backward) -> Hull:
    x, axes = backward.x, tuple(range(2, backward.x.ndim))
    top = x == x.max(axis=axes, keepdims=True)
    assert isinstance(backward.layer, GlobalMaxPool)
    return backward.shared(top & (top.sum(axis=axes, keepdims=True) > 1), axes)


@ties_of("max_pool")
def maxima(backward: Backward) -> Hull:
    """Each window gives its cotangent g to the one element that is its maximum, or in [0, g] to those that are."""
    x, taps, inside = _windows(backward.layer, backward.x)
    g = backward.cotangent
    top = x[taps[0]].copy()
    for place in taps[1:]:
        np.maximum(top, x[place], out=top)
    count = np.zeros(top.shape, np.int32)
    for place in taps:
        count += x[place] == top
    found, low, high = np.zeros(x.shape, bool), np.zeros(x.shape), np.zeros(x.shape)
    least, most = (np.where(count > 1, side(g, 0), g) for side in (np.minimum, np.maximum))
    for place in taps:
        wins = x[place] == top
        found[place] |= (count > 1) & wins
        low[place] += np.where(wins, least, 0)
        high[place] += np.where(wins, most, 0)
    return Hull(found[inside], low[inside], high[inside], tuple(range(2, x.ndim)))


Slices = tuple[slice, ...]


def _windows(layer: MaxPool, x: Array) -> tuple[Array, list[Slices], Slices]:
    """The padded input, the slice of it that each tap of the window reads, and where the input lies in it."""
    window = layer.window()
    out = layer.output_shapes((tuple(x.shape),))[0][2:]
    pairs = []
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        reach = (out[axis] - 1) * window.stride[axis] + window.dilation[axis] * (window.kernel_size[axis] - 1) + 1
        pairs.append((begin, max(end, reach - begin - x.shape[2 + axis])))
    padded = np.pad(x, ((0, 0), (0, 0), *pairs), constant_values=-np.inf)
    taps = [
        (
            slice(None),
            slice(None),
            *(
                slice(k * d, k * d + (count - 1) * s + 1, s)
                for k, d, s, count in zip(tap, window.dilation, window.stride, out, strict=True)
            ),
        )
        for tap in itertools.product(*map(range, window.kernel_size))
    ]
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(pairs, x.shape[2:], strict=True))
    return padded, taps, (slice(None), slice(None), *inside)
