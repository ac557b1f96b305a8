"""Activations."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS


def relu_gradient(layer, saved, gradients, weights, call):
    """Where x > 0."""
    return Gradients((gradients[0] * saved,))


@OPERATIONS.register("relu", backward=relu_gradient)
def relu(layer, inputs, weights, state, call):
    """max(x, 0)."""
    return OpResult((np.maximum(inputs[0], 0),), saved=inputs[0] > 0)


def tanh_gradient(layer, saved, gradients, weights, call):
    """A S (1 - t^2)."""
    return Gradients((gradients[0] * (layer.input_scale * layer.output_scale) * (1 - saved) * (1 + saved),))


@OPERATIONS.register("tanh", backward=tanh_gradient)
def tanh(layer, inputs, weights, state, call):
    """A tanh(S x)."""
    t = np.tanh(layer.input_scale * inputs[0])
    return OpResult((layer.output_scale * t,), saved=t)


def sigmoid_gradient(layer, saved, gradients, weights, call):
    """y (1 - y)."""
    return Gradients((gradients[0] * saved * (1 - saved),))


@OPERATIONS.register("sigmoid", backward=sigmoid_gradient)
def sigmoid(layer, inputs, weights, state, call):
    """1 / (1 + exp(-x))."""
    y = expit(inputs[0])
    return OpResult((y,), saved=y)


def softmax_gradient(layer, saved, gradients, weights, call):
    """y (dy - sum dy y)."""
    dy = gradients[0]
    return Gradients((saved * (dy - (dy * saved).sum(axis=layer.axis, keepdims=True)),))


@OPERATIONS.register("softmax", backward=softmax_gradient)
def softmax_(layer, inputs, weights, state, call):
    """exp(x) over its sum along the axis."""
    y = softmax(inputs[0], axis=layer.axis)
    return OpResult((y,), saved=y)
