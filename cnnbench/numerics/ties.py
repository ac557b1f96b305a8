"""Elements whose gradient depends on a choice and not on values: at a ReLU's corner, in windows with two maxima."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import load_family
from cnnbench.spec.layers import GlobalMaxPool, Layer, MaxPool, ReLU
from cnnbench.spec.layers.windows import require_pairs

Array = NDArray[Any]


_RULES: dict[str, Callable[[Any, Array], Array | None]] = {}
_R = TypeVar("_R", bound=Callable[[Any, Array], Array | None])


def ties_of(*kinds: str) -> Callable[[_R], _R]:
    """A decorator for a function (layer, input) -> tied elements of these kinds; it stands beside their budgets."""

    def decorate(function: _R) -> _R:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return decorate


def tied(layer: Layer, x: Array) -> Array | None:
    """Where the gradient of the input depends on how a tie is broken; None where the kind has no ties.

    For example, PyTorch gives the gradient of a max-pool window (1, 3, 3) to the second value, and an implementation
    that gives it to the third is right too: both are marked, and the checks leave them out.

    Args:
        layer: The node's layer.
        x: Its input; the result is a mask of this shape.
    """
    load_family(layer.kind)
    if layer.kind in _RULES:
        return _RULES[layer.kind](layer, x)
    if isinstance(layer, ReLU):
        return np.asarray(x == 0)
    if isinstance(layer, GlobalMaxPool):
        axes = tuple(range(2, x.ndim))
        top = x == x.max(axis=axes, keepdims=True)
        return np.asarray(top & (top.sum(axis=axes, keepdims=True) > 1))
    if isinstance(layer, MaxPool):
        return _tied_windows(layer, x)
    return None


def _tied_windows(layer: MaxPool, x: Array) -> Array:
    """The elements that equal the maximum of a window in which another element does so too."""
    window = layer.window()
    out = layer.output_shapes((tuple(x.shape),))[0][2:]
    pairs = []
    for axis, (begin, end) in enumerate(require_pairs(layer.padding)):
        reach = (out[axis] - 1) * window.stride[axis] + window.dilation[axis] * (window.kernel_size[axis] - 1) + 1
        pairs.append((begin, max(end, reach - begin - x.shape[2 + axis])))
    padded = np.pad(x, ((0, 0), (0, 0), *pairs), constant_values=-np.inf)
    places = [
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
    top = padded[places[0]].copy()
    for place in places[1:]:
        np.maximum(top, padded[place], out=top)
    count = np.zeros(top.shape, np.int32)
    for place in places:
        count += padded[place] == top
    found = np.zeros(padded.shape, bool)
    for place in places:
        found[place] |= (count > 1) & (padded[place] == top)
    inside = tuple(slice(begin, begin + size) for (begin, _), size in zip(pairs, x.shape[2:], strict=True))
    return found[(slice(None), slice(None), *inside)]
