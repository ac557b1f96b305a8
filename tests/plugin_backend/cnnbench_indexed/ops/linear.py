"""The linear layer."""

from __future__ import annotations

from cnnbench.execution.operations import Gradients, OpResult, WeightLayout


def _turned(layer, name, array, channels_last):
    return array.T if name == "weight" else array


def register(operations):
    """Adds this family's op, whose weight is held as [in, out]."""
    operations.register("linear", backward=linear_gradient, weight_layout=WeightLayout(_turned, _turned))(linear)


def linear(layer, inputs, weights, state, call):
    """x W + b."""
    y = inputs[0] @ weights[0]
    return OpResult((y + weights[1] if layer.bias else y,), saved=inputs[0])


def linear_gradient(layer, saved, gradients, weights, call):
    """dx = dy W^T, dW = x^T dy, db = sum dy."""
    dy = gradients[0]
    rows, arriving = saved.reshape(-1, saved.shape[-1]), dy.reshape(-1, dy.shape[-1])
    of_weights = (rows.T @ arriving, arriving.sum(axis=0)) if layer.bias else (rows.T @ arriving,)
    return Gradients((dy @ weights[0].T,), of_weights)
