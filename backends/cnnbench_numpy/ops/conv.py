"""Reference convolutions: the general one, and LeNet-5's partially connected one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Conv, PartialConv
from cnnbench.spec.layers.conv import connection_shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_numpy.ops.registry import Array, Arrays, spatial
from cnnbench_numpy.ops.taps import at, crop_spatial, pad_spatial, taps


def grouped(x: Array, groups: int) -> Array:
    """(N, C, *spatial) -> (N, G, C/G, positions)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, math.prod(x.shape[2:]))


def _tap_weight(weight: Array, tap: tuple[int, ...], groups: int) -> Array:
    """The weight (G, O/G, C/G) of one kernel position."""
    matrix: Array = weight[at(tap)]
    return matrix.reshape(groups, matrix.shape[0] // groups, matrix.shape[1])


def conv_backward(layer: Conv, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each tap's product, transposed: dx_k += w_k^T dy, dw_k = sum over images of dy x_k^T; db = sum of dy."""
    x, (dy,), weight = saved, gradients, layer.correlated(weights[0])
    padding = tuple(require_pairs(layer.padding))
    padded = pad_spatial(x, padding)
    d_padded = np.zeros_like(padded)
    d_weight = np.zeros_like(weight)
    dy_groups = grouped(dy, layer.groups)
    for tap, place in taps(layer.window(), dy.shape[2:]):
        matrix = _tap_weight(weight, tap, layer.groups)
        d_padded[place] += np.matmul(matrix.swapaxes(1, 2), dy_groups).reshape(padded[place].shape)
        products = np.matmul(dy_groups, grouped(padded[place], layer.groups).swapaxes(2, 3))
        d_weight[at(tap)] = products.sum(axis=0).reshape(weight.shape[:2])
    d_bias = (dy.sum(axis=(0, *range(2, dy.ndim))),) if layer.bias else ()
    return Gradients((crop_spatial(d_padded, padding, x.shape[2:]),), (layer.correlated(d_weight), *d_bias))


@spatial("conv", backward=conv_backward)
def conv(layer: Conv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y[n, o, p] = b[o] + sum over taps k and channels c of w[o, c, k] x[n, c, p s + k d - begin]."""
    x, weight = inputs[0], layer.correlated(weights[0])
    out = layer.output_shapes((x.shape,))[0]
    padded = pad_spatial(x, tuple(require_pairs(layer.padding)))
    y = np.zeros(out, x.dtype)
    for tap, place in taps(layer.window(), out[2:]):
        y += np.matmul(_tap_weight(weight, tap, layer.groups), grouped(padded[place], layer.groups)).reshape(out)
    if layer.bias:
        y += weights[1].reshape(-1, *(1,) * (y.ndim - 2))
    return OpResult((y,), saved=x)


def _as_conv(layer: PartialConv) -> Conv:
    return Conv(
        out_channels=len(layer.connections),
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=(1, 1),
    )


def _dense_weight(layer: PartialConv, weight: Array, in_channels: int) -> Array:
    """(J, kh, kw) -> (O, C, kh, kw): each connection's kernel at its place, zero where there is none."""
    dense = np.zeros(connection_shape(layer, in_channels), weight.dtype)
    for kernel, (output, seen) in zip(weight, layer.pairs(), strict=True):
        dense[output, seen] = kernel
    return dense


def partial_conv_backward(layer: PartialConv, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """The dense convolution's gradients, of which the weights keep the connections that exist."""
    dense = _dense_weight(layer, weights[0], saved.shape[1])
    result = conv_backward(_as_conv(layer), saved, gradients, (dense, weights[1]), call)
    d_dense, d_bias = result.weights
    outputs, seen = map(list, zip(*layer.pairs(), strict=True))
    return Gradients(result.inputs, (d_dense[outputs, seen], d_bias))  # type: ignore[index]


@spatial("partial_conv", backward=partial_conv_backward)
def partial_conv(layer: PartialConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The dense convolution whose weight is zero where a connection is absent."""
    dense = _dense_weight(layer, weights[0], inputs[0].shape[1])
    return conv(_as_conv(layer), inputs, (dense, weights[1]), state, call)
