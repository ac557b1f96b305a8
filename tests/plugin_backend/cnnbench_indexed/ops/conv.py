"""Convolution: the windows times the kernels."""

from __future__ import annotations

import numpy as np

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS
from cnnbench_indexed.ops.windows import Windows


def _grouped(layer, columns, weight):
    """(N, G, C/G, P, T) and (G, O/G, C/G, T); a flipped kernel meets its taps in reverse order."""
    n, c, places, taps = columns.shape
    g = layer.groups
    kernels = weight.reshape(g, weight.shape[0] // g, c // g, taps)
    return columns.reshape(n, g, c // g, places, taps), kernels[..., ::-1] if layer.flip_kernel else kernels


def conv_gradient(layer, saved, gradients, weights, call):
    """The same products with each operand in turn taken out."""
    (x, windows), dy, weight = saved, gradients[0], weights[0]
    columns, kernels = _grouped(layer, windows.gather(x), weight)
    n, g = columns.shape[:2]
    cotangent = dy.reshape(n, g, dy.shape[1] // g, columns.shape[3])
    of_columns = np.einsum("ngop,goct->ngcpt", cotangent, kernels, optimize=True)
    dx = windows.scatter(of_columns.reshape(n, x.shape[1], *columns.shape[3:]))
    dw = np.einsum("ngop,ngcpt->goct", cotangent, columns, optimize=True)
    dw = (dw[..., ::-1] if layer.flip_kernel else dw).reshape(weight.shape)
    return Gradients((dx,), (dw, dy.sum(axis=(0, *range(2, dy.ndim)))) if layer.bias else (dw,))


@OPERATIONS.register("conv", backward=conv_gradient)
def conv(layer, inputs, weights, state, call):
    """y[n, o, p] = b[o] + sum over c and t of w[o, c, t] x[n, c, table[p, t]]."""
    x, weight = inputs[0], weights[0]
    shape = layer.output_shapes((x.shape,))[0]
    windows = Windows(layer, x.shape[2:], shape[2:])
    columns, kernels = _grouped(layer, windows.gather(x), weight)
    y = np.einsum("ngcpt,goct->ngop", columns, kernels, optimize=True).reshape(shape)
    if layer.bias:
        y = y + weights[1].reshape(-1, *(1,) * (x.ndim - 2))
    return OpResult((y,), saved=(x, windows))
