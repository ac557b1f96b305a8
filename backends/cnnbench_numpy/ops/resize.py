"""Reference resizing: along one spatial axis after another, each output a weighted sum of inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.interpolation import taps
from cnnbench.spec.layers.resize import Resize
from cnnbench_numpy.ops.registry import Array, Arrays, spatial
from cnnbench_numpy.ops.shape import scatter


def resize_backward(layer: Resize, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Each output's gradient goes back to its inputs by the same weights."""
    dx: Array = gradients[0]
    for axis, how in reversed(list(enumerate(layer.axes(saved), start=2))):
        indices, factors = taps(how)
        total = np.zeros((*dx.shape[:axis], how.size, *dx.shape[axis + 1 :]), dx.dtype)
        for k in range(indices.shape[1]):
            total += scatter(dx * _along(factors[:, k], axis, dx), axis, indices[:, k], how.size)
        dx = total
    return Gradients((dx,))


@spatial("resize", backward=resize_backward)
def resize(layer: Resize, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y_i = sum_k w_ik x[j_ik] along each axis."""
    x = inputs[0]
    sizes = x.shape[2:]
    for axis, how in enumerate(layer.axes(sizes), start=2):
        indices, factors = taps(how)
        if layer.mode == "nearest":
            x = np.take(x, indices[:, 0], axis)
            continue
        total = np.zeros((*x.shape[:axis], how.out, *x.shape[axis + 1 :]), x.dtype)
        for k in range(indices.shape[1]):
            taken = np.take(x, indices[:, k], axis)
            np.moveaxis(taken, axis, 0)[factors[:, k] == 0] = 0  # not read: a NaN there stays where it is
            total += taken * _along(factors[:, k], axis, x)
        x = total
    return OpResult((x,), saved=sizes)


def _along(values: Array, axis: int, like: Array) -> Array:
    """Numbers of an axis, in shape and dtype to be multiplied with an array."""
    return values.astype(like.dtype).reshape((-1, *(1,) * (like.ndim - axis - 1)))
