"""The linear layer."""

from __future__ import annotations

from cnnbench.execution.operations import Gradients, OpResult, WeightLayout
from cnnbench_indexed.ops.registry import OPERATIONS


def _turned(layer, name, array, channels_last):
    return array.T if name == "weight" else array


def linear_gradient(layer, saved, gradients, weights, call):
    """dx = dy W^T, dW = x^T dy, db = sum dy."""
    dy = gradients[0]
    rows, cotangent = saved.reshape(-1, saved.shape[-1]), dy.reshape(-1, dy.shape[-1])
    of_weights = (rows.T @ cotangent, cotangent.sum(axis=0)) if layer.bias else (rows.T @ cotangent,)
    return Gradients((dy @ weights[0].T,), of_weights)


@OPERATIONS.register("linear", backward=linear_gradient, weight_layout=WeightLayout(_turned, _turned))
def linear(layer, inputs, weights, state, call):
    """x W + b."""
    y = inputs[0] @ weights[0]
    return OpResult((y + weights[1] if layer.bias else y,), saved=inputs[0])
