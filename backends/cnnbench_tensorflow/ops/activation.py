"""Activations: element-wise functions, and softmax along an axis."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("relu")
def relu(layer: ReLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """max(x, 0)."""
    return OpResult((tf.nn.relu(inputs[0]),))


@OPERATIONS.register("tanh")
def tanh(layer: Tanh, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A tanh(S x); factors of one are left out."""
    x = inputs[0] if layer.input_scale == 1.0 else inputs[0] * layer.input_scale
    y = tf.tanh(x)
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
    """``tf.one_hot`` of ``tf.argmax``, which names the first of equal maxima."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.shape.rank)
    return OpResult((tf.one_hot(tf.argmax(x, axis), x.shape[axis], axis=axis, dtype=x.dtype),))
