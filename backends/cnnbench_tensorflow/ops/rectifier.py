"""Rectifiers. Images are channels-last, so weights of channels broadcast."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.activation import FUSED
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


# A maximum and a minimum keep NaN, and take 6 to 14 % longer on MobileNetV2.
OPERATIONS.lacks("relu6", FUSED, modes=("graph",), special_values="fused")


@OPERATIONS.register("relu6")
def relu6(layer: ReLU6, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.relu6``."""
    return OpResult((tf.nn.relu6(inputs[0]),))


@OPERATIONS.register("leaky_relu")
def leaky_relu(layer: LeakyReLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.leaky_relu`` with the slope that was asked for, rounded to float32: float64 has a choice."""
    x = inputs[0]
    if x.dtype == tf.float64:
        return OpResult((tf.where(x > 0, x, layer.negative_slope * x),))
    return OpResult((tf.nn.leaky_relu(x, alpha=layer.negative_slope),))


@OPERATIONS.register("prelu")
def prelu(layer: PReLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A choice between x and its product with the slope."""
    x = inputs[0]
    return OpResult((tf.where(x > 0, x, weights[0] * x),))


@OPERATIONS.register("thresholded_relu")
def thresholded_relu(layer: ThresholdedReLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A choice."""
    x = inputs[0]
    return OpResult((tf.where(x > layer.alpha, x, tf.zeros_like(x)),))


@OPERATIONS.register("shrink")
def shrink(layer: Shrink, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A choice."""
    x = inputs[0]
    moved = x if layer.bias == 0 else x - layer.bias * tf.sign(x)
    return OpResult((tf.where(tf.abs(x) > layer.threshold, moved, tf.zeros_like(x)),))


@OPERATIONS.register("hard_sigmoid")
def hard_sigmoid(layer: HardSigmoid, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """relu6(x + 3) / 6 as Keras 3 has it, or a clipped line."""
    x = inputs[0]
    if layer.is_relu6():
        return OpResult((tf.nn.relu6(x + 3.0) / 6.0,))
    return OpResult((tf.clip_by_value(layer.slope * x + layer.offset, 0.0, 1.0),))


@OPERATIONS.register("hard_swish")
def hard_swish(layer: HardSwish, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x relu6(x + 3) / 6."""
    x = inputs[0]
    return OpResult((x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0),))
