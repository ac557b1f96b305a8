"""The reference of constant filters: for each weight of the kernel a strided view of the image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.filters import ConstantFilter
from cnnbench_numpy.ops.registry import Arrays, spatial


def _views(layer: ConstantFilter, out: Shape) -> Iterator[tuple[float, tuple[slice, ...]]]:
    """Each weight, and where the inputs that it meets lie."""
    taps = itertools.product(*map(range, layer.kernel_size))
    for weight, tap in zip(layer.weights_row_major, taps, strict=True):
        rows = zip(tap, layer.strides(), out, strict=True)
        yield weight, (slice(None), slice(None), *(slice(k, k + (n - 1) * s + 1, s) for k, s, n in rows))


def constant_filter_backward(
    layer: ConstantFilter, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """Each output's gradient goes back to the inputs of its window by the same weights."""
    dx = np.zeros(saved, gradients[0].dtype)
    for weight, view in _views(layer, gradients[0].shape[2:]):
        dx[view] += weight * gradients[0]
    return Gradients((dx,))


@spatial("constant_filter", backward=constant_filter_backward)
def constant_filter(layer: ConstantFilter, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y_i = sum_k w_k x_{s i + k}."""
    x = inputs[0]
    y = np.zeros(layer.output_shapes((x.shape,))[0], x.dtype)
    for weight, view in _views(layer, y.shape[2:]):
        y += weight * x[view]
    return OpResult((y,), saved=x.shape)
