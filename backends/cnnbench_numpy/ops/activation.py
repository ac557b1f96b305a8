"""Reference activations: element-wise functions, and softmax along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


def relu_backward(layer: ReLU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where y > 0, and 0 at x = 0."""
    return Gradients((np.where(saved > 0, gradients[0], 0),))


@REFERENCE.register("relu", backward=relu_backward)
def relu(layer: ReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """max(x, 0); NaN stays NaN."""
    y = np.maximum(inputs[0], 0)
    return OpResult((y,), saved=y)


def tanh_backward(layer: Tanh, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """A S (1 - tanh(S x)^2) dy."""
    return Gradients((layer.output_scale * layer.input_scale * (1 - saved * saved) * gradients[0],))


@REFERENCE.register("tanh", backward=tanh_backward)
def tanh(layer: Tanh, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A tanh(S x)."""
    t = np.tanh(layer.input_scale * inputs[0])
    return OpResult((layer.output_scale * t,), saved=t)


def sigmoid_backward(layer: Sigmoid, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """y (1 - y) dy."""
    return Gradients((saved * (1 - saved) * gradients[0],))


@REFERENCE.register("sigmoid", backward=sigmoid_backward)
def sigmoid(layer: Sigmoid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for negative x so that nothing overflows."""
    x = inputs[0]
    e = np.exp(-np.abs(x))
    y = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return OpResult((y,), saved=y)


def _shifted(layer: Softmax, x: Array, call: Call) -> tuple[Array, int]:
    axis = call.axis(layer.axis, x.ndim)
    return x - x.max(axis=axis, keepdims=True), axis


def softmax_backward(layer: Softmax, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """y (dy - sum_j dy_j y_j)."""
    axis = call.axis(layer.axis, saved.ndim)
    return Gradients((saved * (gradients[0] - (gradients[0] * saved).sum(axis=axis, keepdims=True)),))


@REFERENCE.register("softmax", backward=softmax_backward)
def softmax(layer: Softmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """exp(x_i - max x) / sum_j exp(x_j - max x)."""
    shifted, axis = _shifted(layer, inputs[0], call)
    e = np.exp(shifted)
    y = e / e.sum(axis=axis, keepdims=True)
    return OpResult((y,), saved=y)


def log_softmax_backward(layer: LogSoftmax, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy - softmax(x) sum_j dy_j."""
    axis = call.axis(layer.axis, saved.ndim)
    return Gradients((gradients[0] - np.exp(saved) * gradients[0].sum(axis=axis, keepdims=True),))


@REFERENCE.register("log_softmax", backward=log_softmax_backward)
def log_softmax(layer: LogSoftmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x_i - max x - log sum_j exp(x_j - max x)."""
    shifted, axis = _shifted(layer, inputs[0], call)
    y = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return OpResult((y,), saved=y)


def hardmax_backward(layer: Hardmax, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Zero: the output does not change until the maximum does."""
    return Gradients((np.zeros_like(gradients[0]),))


@REFERENCE.register("hardmax", backward=hardmax_backward)
def hardmax(layer: Hardmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """1 at the first maximum, else 0."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis)
    return OpResult((y,))
