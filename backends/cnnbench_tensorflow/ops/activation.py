"""Activations: element-wise functions, and softmax along an axis."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.reduction import first_extreme
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


FUSED = "TensorFlow 2.21 fuses it with the convolution or product and the bias before it, and gives 0 for NaN"
# tf.maximum(0, x) keeps NaN, and takes 0 to 10 % longer: LeNet-5 5 %, a training step of ResNet-20 10 %.
OPERATIONS.lacks("relu", FUSED, modes=("graph",), special_values="fused")
OPERATIONS.lacks(
    "softmax",
    "TensorFlow 2.21's softmax of a row with NaN or infinity is NaN at their places alone, and 0 elsewhere",
    modes=("graph",),
    special_values="always",
)


@OPERATIONS.register("relu")
def relu(layer: ReLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """max(x, 0)."""
    return OpResult((tf.nn.relu(inputs[0]),))


@OPERATIONS.register("tanh")
def tanh(layer: Tanh, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A tanh(S x); factors of one are left out.

    Behind a fused batch norm Grappler (TensorFlow 2.21) makes one kernel of both, which does not exist.
    """
    x = inputs[0] if layer.input_scale == 1.0 else inputs[0] * layer.input_scale
    y = -tf.tanh(-x) if x.op.type.startswith("FusedBatchNorm") else tf.tanh(x)
    return OpResult((y if layer.output_scale == 1.0 else y * layer.output_scale,))


@OPERATIONS.register("sigmoid")
def sigmoid(layer: Sigmoid, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """1 / (1 + exp(-x))."""
    return OpResult((tf.sigmoid(inputs[0]),))


@OPERATIONS.register("softmax")
def softmax(layer: Softmax, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """exp(x) over its sum along the axis."""
    x = inputs[0]
    y = tf.nn.softmax(wide(x), axis=call.axis(layer.axis, x.shape.rank))
    return OpResult((tf.cast(y, x.dtype),))


@OPERATIONS.register("log_softmax")
def log_softmax(layer: LogSoftmax, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x minus the logarithm of the sum of exponentials along the axis."""
    x = inputs[0]
    y = tf.nn.log_softmax(wide(x), axis=call.axis(layer.axis, x.shape.rank))
    return OpResult((tf.cast(y, x.dtype),))


@OPERATIONS.register("hardmax")
def hardmax(layer: Hardmax, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.one_hot`` of the first of equal maxima."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.shape.rank)
    return OpResult((tf.one_hot(first_extreme(x, axis, largest=True), x.shape[axis], axis=axis, dtype=x.dtype),))
