"""Reference transposed convolution: every input value lays its weighted kernel onto the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench_numpy.ops.conv import grouped
from cnnbench_numpy.ops.registry import Array, Arrays, spatial
from cnnbench_numpy.ops.taps import Slices, at, taps


def _canvas(layer: ConvTranspose, spatial_sizes: tuple[int, ...]) -> tuple[tuple[int, ...], Slices]:
    """The sizes of an array that holds the full output and any zeros beyond it, and what of it is kept."""
    full = layer.full_sizes(spatial_sizes)
    kept = [(begin, size - end) for size, (begin, end) in zip(full, layer.borders(), strict=True)]
    sizes = tuple(max(size, stop) for size, (_, stop) in zip(full, kept, strict=True))
    return sizes, (slice(None), slice(None), *(slice(*pair) for pair in kept))


def _tap_weight(weight: Array, tap: tuple[int, ...], groups: int) -> Array:
    """The weight (G, C/G, O/G) of one kernel position."""
    matrix: Array = weight[at(tap)]
    return matrix.reshape(groups, -1, matrix.shape[1])


def conv_transpose_backward(
    layer: ConvTranspose, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """A convolution of dy: dx = sum over taps of w_k dy_k; dw_k = sum over images of x dy_k^T; db = sum of dy."""
    x, (dy,), weight = saved, gradients, weights[0]
    sizes, kept = _canvas(layer, x.shape[2:])
    d_full = np.zeros((*dy.shape[:2], *sizes), dy.dtype)
    d_full[kept] = dy
    dx = np.zeros_like(x)
    d_weight = np.zeros_like(weight)
    x_groups = grouped(x, layer.groups)
    for tap, place in taps(layer.taps(), x.shape[2:]):
        met = grouped(d_full[place], layer.groups)
        dx += np.matmul(_tap_weight(weight, tap, layer.groups), met).reshape(x.shape)
        d_weight[at(tap)] = np.matmul(x_groups, met.swapaxes(2, 3)).sum(axis=0).reshape(weight.shape[:2])
    d_bias = (dy.sum(axis=(0, *range(2, dy.ndim))),) if layer.bias else ()
    return Gradients((dx,), (d_weight, *d_bias))


@spatial("conv_transpose", backward=conv_transpose_backward)
def conv_transpose(layer: ConvTranspose, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """full[n, o, p s + k d] += sum over channels c of w[c, o, k] x[n, c, p]; then crop, and add the bias."""
    x, weight = inputs[0], weights[0]
    sizes, kept = _canvas(layer, x.shape[2:])
    full = np.zeros((x.shape[0], layer.out_channels, *sizes), x.dtype)
    x_groups = grouped(x, layer.groups)
    for tap, place in taps(layer.taps(), x.shape[2:]):
        matrix = _tap_weight(weight, tap, layer.groups).swapaxes(1, 2)
        full[place] += np.matmul(matrix, x_groups).reshape(full[place].shape)
    y = full[kept]
    if layer.bias:
        y = y + weights[1].reshape(-1, *(1,) * (y.ndim - 2))
    return OpResult((y,), saved=x)
