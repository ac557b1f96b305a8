"""Reference pooling by the p-norm."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench_numpy.ops.pooling import window_padding
from cnnbench_numpy.ops.registry import Array, Arrays, spatial
from cnnbench_numpy.ops.taps import crop_spatial, pad_spatial, taps


def _powers(layer: LpPool, x: Array) -> Array:
    """|x|^p, or x^p."""
    return np.power(np.abs(x) if layer.by_magnitude else x, layer.p)


def _slopes(layer: LpPool, x: Array) -> Array:
    """d powers / dx: p |x|^(p - 1) sign x, or p x^(p - 1)."""
    if layer.by_magnitude:
        return layer.p * np.power(np.abs(x), layer.p - 1) * np.sign(x)
    return layer.p * np.power(x, layer.p - 1)


def _root(layer: LpPool, total: Array) -> Array:
    """total^(1/p); NaN where it is negative."""
    with np.errstate(invalid="ignore"):
        return np.power(total, 1 / layer.p)


def _scale(layer: LpPool, spatial_sizes: Shape) -> Array:
    """What each window's sum is multiplied by, of the output's spatial sizes; 1 where nothing is."""
    if not layer.rescale_partial:
        return np.ones(())
    return reduce(np.multiply.outer, map(np.asarray, layer.partial_scales(spatial_sizes)))


def lp_pool_backward(layer: LpPool, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dx = sum over windows of dy (1/p) total^(1/p - 1) times the powers' slope; nothing where a total is 0."""
    (x, total), (dy,) = saved, gradients
    padding = window_padding(layer, x.shape, dy.shape)
    with np.errstate(invalid="ignore"):
        root_slope = np.power(np.where(total == 0, 1, total), 1 / layer.p - 1) / layer.p
    share = np.where(total == 0, 0, dy * root_slope * _scale(layer, x.shape[2:]))
    d_powers = pad_spatial(np.zeros_like(x), padding)
    for _, place in taps(layer.window(), dy.shape[2:]):
        d_powers[place] += share
    return Gradients((crop_spatial(d_powers, padding, x.shape[2:]) * _slopes(layer, x),))


@spatial("lp_pool", backward=lp_pool_backward)
def lp_pool(layer: LpPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """(sum of |x|^p over the window)^(1/p)."""
    x = inputs[0]
    out = layer.output_shapes((x.shape,))[0]
    powers = pad_spatial(_powers(layer, x), window_padding(layer, x.shape, out))
    total = np.zeros(out, x.dtype)
    for _, place in taps(layer.window(), out[2:]):
        total += powers[place]
    total = total * _scale(layer, x.shape[2:])
    return OpResult((_root(layer, total).astype(x.dtype),), saved=(x, total))
