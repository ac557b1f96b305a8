"""Reference rectifiers: each a choice between lines, its gradient the slope of the line that was chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays, spatial


def relu6_backward(layer: ReLU6, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where 0 < x < 6."""
    return Gradients((np.where((saved > 0) & (saved < 6), gradients[0], 0),))


@REFERENCE.register("relu6", backward=relu6_backward)
def relu6(layer: ReLU6, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """min(max(x, 0), 6)."""
    x = inputs[0]
    return OpResult((np.minimum(np.maximum(x, 0), 6),), saved=x)


def leaky_relu_backward(layer: LeakyReLU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where x > 0, slope dy elsewhere."""
    return Gradients((np.where(saved > 0, gradients[0], layer.negative_slope * gradients[0]),))


@REFERENCE.register("leaky_relu", backward=leaky_relu_backward)
def leaky_relu(layer: LeakyReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x or slope x."""
    x = inputs[0]
    return OpResult((np.where(x > 0, x, layer.negative_slope * x),), saved=x)


def _slopes(weight: Array, x: Array) -> Array:
    """(1,) or (C,) shaped to broadcast against (N, C, *spatial)."""
    return weight.reshape(-1, *(1,) * (x.ndim - 2))


def prelu_backward(layer: PReLU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dx = dy or slope dy; the slope's gradient is the sum of dy x over negative x."""
    x, dy = saved, gradients[0]
    below = np.where(x > 0, 0, x * dy)
    axes = (0, *range(2, x.ndim)) if layer.slopes == "channel" else None
    d_weight = below.sum(axis=axes).reshape(weights[0].shape)
    return Gradients((np.where(x > 0, dy, _slopes(weights[0], x) * dy),), (d_weight,))


@spatial("prelu", backward=prelu_backward)
def prelu(layer: PReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x or slope x."""
    x = inputs[0]
    return OpResult((np.where(x > 0, x, _slopes(weights[0], x) * x),), saved=x)


def thresholded_relu_backward(
    layer: ThresholdedReLU, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dy where x > alpha."""
    return Gradients((np.where(saved, gradients[0], 0),))


@REFERENCE.register("thresholded_relu", backward=thresholded_relu_backward)
def thresholded_relu(layer: ThresholdedReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x or 0."""
    above = inputs[0] > layer.alpha
    return OpResult((np.where(above, inputs[0], 0),), saved=above)


def shrink_backward(layer: Shrink, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where |x| > threshold."""
    return Gradients((np.where(saved, gradients[0], 0),))


@REFERENCE.register("shrink", backward=shrink_backward)
def shrink(layer: Shrink, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x - bias sign(x) or 0."""
    x = inputs[0]
    outside = np.abs(x) > layer.threshold
    return OpResult((np.where(outside, x - layer.bias * np.sign(x), 0),), saved=outside)


def hard_sigmoid_backward(layer: HardSigmoid, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """slope dy where 0 < slope x + offset < 1."""
    return Gradients((np.where((saved > 0) & (saved < 1), layer.slope * gradients[0], 0),))


@REFERENCE.register("hard_sigmoid", backward=hard_sigmoid_backward)
def hard_sigmoid(layer: HardSigmoid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """slope x + offset, within 0 and 1."""
    line = layer.slope * inputs[0] + layer.offset
    return OpResult((np.minimum(np.maximum(line, 0), 1),), saved=line)


def hard_swish_backward(layer: HardSwish, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy (2 x + 3) / 6 within (-3, 3), dy above, 0 below."""
    x, dy = saved, gradients[0]
    return Gradients((np.where(x <= -3, 0, np.where(x >= 3, dy, dy * (2 * x + 3) / 6)),))


@REFERENCE.register("hard_swish", backward=hard_swish_backward)
def hard_swish(layer: HardSwish, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x min(max(x + 3, 0), 6) / 6."""
    x = inputs[0]
    return OpResult((x * np.minimum(np.maximum(x + 3, 0), 6) / 6,), saved=x)
