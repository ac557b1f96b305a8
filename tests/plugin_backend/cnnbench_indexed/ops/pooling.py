"""Pooling."""

from __future__ import annotations

import numpy as np

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS
from cnnbench_indexed.ops.windows import Windows

OPERATIONS.lacks(
    "max_pool",
    "dilated max pooling is left out, to show what a gap looks like",
    condition="dilation",
    when=lambda layer: any(d > 1 for d in layer.window().dilation),
)


def _windows(layer, x):
    shape = layer.output_shapes((x.shape,))[0]
    return shape, Windows(layer, x.shape[2:], shape[2:])


def max_pool_gradient(layer, saved, gradients, weights, call):
    """To the winners."""
    windows, winner = saved
    values = np.zeros((*winner.shape[:-1], windows.table.shape[1]), gradients[0].dtype)
    np.put_along_axis(values, winner, gradients[0].reshape(winner.shape), -1)
    return Gradients((windows.scatter(values),))


@OPERATIONS.register("max_pool", backward=max_pool_gradient)
def max_pool(layer, inputs, weights, state, call):
    """The first largest value of each window; NaN wins."""
    x = inputs[0]
    shape, windows = _windows(layer, x)
    columns = windows.gather(x, -np.inf)
    winner = columns.argmax(axis=-1)[..., None]
    return OpResult((np.take_along_axis(columns, winner, -1).reshape(shape),), saved=(windows, winner))


def _divisor(layer, windows, dtype):
    if layer.divisor is not None:
        return np.asarray(layer.divisor, dtype)
    return windows.count(layer.count_include_pad).astype(dtype)


def avg_pool_gradient(layer, saved, gradients, weights, call):
    """An equal share to each tap."""
    dy = gradients[0]
    share = dy.reshape(*dy.shape[:2], len(saved.table)) / _divisor(layer, saved, dy.dtype)
    values = np.broadcast_to(share[..., None], (*share.shape, saved.table.shape[1]))
    return Gradients((saved.scatter(np.ascontiguousarray(values)),))


@OPERATIONS.register("avg_pool", backward=avg_pool_gradient)
def avg_pool(layer, inputs, weights, state, call):
    """Each window's sum over its divisor."""
    x = inputs[0]
    shape, windows = _windows(layer, x)
    total = windows.gather(x).sum(axis=-1)
    return OpResult(((total / _divisor(layer, windows, x.dtype)).reshape(shape),), saved=windows)


def global_avg_pool_gradient(layer, saved, gradients, weights, call):
    """An equal share to each position."""
    dy = gradients[0].reshape(*saved[:2], *(1,) * (len(saved) - 2))
    return Gradients((np.broadcast_to(dy / np.prod(saved[2:]).astype(dy.dtype), saved).copy(),))


@OPERATIONS.register("global_avg_pool", backward=global_avg_pool_gradient)
def global_avg_pool(layer, inputs, weights, state, call):
    """The mean over all positions."""
    x = inputs[0]
    return OpResult((x.mean(axis=tuple(range(2, x.ndim)), keepdims=layer.keep_spatial),), saved=x.shape)
