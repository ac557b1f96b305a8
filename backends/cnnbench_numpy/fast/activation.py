"""Activations of a block in place, a stretch at a time: a stretch and its scratch stay in the cache."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.operations import Call
from cnnbench.spec.layers import Layer
from cnnbench_numpy.ops import REFERENCE

Array = NDArray[Any]
InPlace = Callable[[Any, Array, Array], None]  # (layer, stretch, scratch of its shape)

STRETCH = 1 << 14  # elements; shorter ones would pay more for calls than they save in the second-level cache
# exp(-x) is finite from here on, and so is 1 + exp(-x). Below, the reference's form takes over.
LOWEST = -80.0

# erfc(z) = t exp(-z^2 + P(t)), t = 1 / (1 + z / 2), within 1.2e-7 of itself for all z >= 0 (Press, Teukolsky,
# Vetterling, Flannery, "Numerical Recipes in C" (1992), section 6.2); the highest power first.
_ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


class _Scratch(threading.local):
    """Arrays of each thread, made once."""

    def __init__(self) -> None:
        self.arrays: dict[Any, Array] = {}

    def like(self, stretch: Array, which: int = 0) -> Array:
        """An array of the stretch's shape and dtype."""
        key = stretch.dtype.str, which
        if key not in self.arrays or self.arrays[key].size < stretch.size:
            self.arrays[key] = np.empty(max(STRETCH, stretch.size), stretch.dtype)
        return self.arrays[key][: stretch.size].reshape(stretch.shape)


_scratch = _Scratch()


def _by_reference(layer: Layer, x: Array) -> None:
    """The reference's op, for values that the short form would overflow on."""
    x[...] = REFERENCE[layer.kind].forward(layer, (x,), (), (), Call(False, False)).outputs[0]


def _relu6(layer: Any, x: Array, scratch: Array) -> None:
    np.maximum(x, 0, out=x)
    np.minimum(x, 6, out=x)


def _sigmoid(layer: Any, x: Array, scratch: Array) -> None:
    """1 / (1 + exp(-x))."""
    if not x.min(initial=0.0) > LOWEST:
        _by_reference(layer, x)
        return
    np.negative(x, out=scratch)
    np.exp(scratch, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.reciprocal(scratch, out=x)


def _silu(layer: Any, x: Array, scratch: Array) -> None:
    """x / (1 + exp(-beta x))."""
    np.multiply(x, -layer.beta, out=scratch)
    if not scratch.max(initial=0.0) < -LOWEST:
        _by_reference(layer, x)
        return
    np.exp(scratch, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.divide(x, scratch, out=x)


def _gelu(layer: Any, x: Array, scratch: Array) -> None:
    """max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, in float32 and of the exact form; else the reference's."""
    if layer.form != "exact" or x.dtype != np.float32 or not np.isfinite(x).all():
        _by_reference(layer, x)
        return
    size, total = _scratch.like(x, 1), _scratch.like(x, 2)
    np.abs(x, out=size)
    np.multiply(size, math.sqrt(0.125), out=scratch)
    np.add(scratch, 1, out=scratch)
    np.reciprocal(scratch, out=scratch)
    np.multiply(scratch, _ERFC[0], out=total)
    for coefficient in _ERFC[1:-1]:
        np.add(total, coefficient, out=total)
        np.multiply(total, scratch, out=total)
    np.add(total, _ERFC[-1], out=total)
    np.multiply(scratch, size, out=scratch)  # t |x|
    np.square(size, out=size)
    np.multiply(size, 0.5, out=size)
    np.subtract(total, size, out=total)
    np.exp(total, out=total)
    np.multiply(total, scratch, out=total)
    np.multiply(total, 0.5, out=total)
    np.maximum(x, 0, out=x)
    np.subtract(x, total, out=x)


IN_PLACE: dict[str, InPlace] = {"relu6": _relu6, "sigmoid": _sigmoid, "silu": _silu, "gelu": _gelu}


def activate(layer: Layer, block: Array) -> None:
    """Changes a block (M, C) of any strides by an activation of ``IN_PLACE``."""
    function, columns = IN_PLACE[layer.kind], max(block.shape[1], 1)
    parts = block.reshape(1, -1) if block.flags.c_contiguous else block
    if len(parts) == 1:
        flat = parts[0]
        for start in range(0, flat.size, STRETCH):
            stretch = flat[start : start + STRETCH]
            function(layer, stretch, _scratch.like(stretch))
        return
    rows = max(1, STRETCH // columns)
    for start in range(0, len(block), rows):
        stretch = block[start : start + rows]
        function(layer, stretch, _scratch.like(stretch))
