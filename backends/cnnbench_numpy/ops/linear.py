"""Reference fully connected layers: linear, and LeNet-5's radial basis output."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench_numpy.ops.registry import REFERENCE, Arrays


def linear_backward(layer: Linear, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dx = dy W, dW = dy^T x and db = sum of dy, over all leading axes."""
    dy = gradients[0].reshape(-1, gradients[0].shape[-1])
    x = saved.reshape(-1, saved.shape[-1])
    d_bias = (dy.sum(axis=0),) if layer.bias else ()
    return Gradients(((dy @ weights[0]).reshape(saved.shape),), (dy.T @ x, *d_bias))


@REFERENCE.register("linear", backward=linear_backward)
def linear(layer: Linear, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y = x W^T + b over the last axis."""
    y = inputs[0] @ weights[0].T
    if layer.bias:
        y += weights[1]
    return OpResult((y,), saved=inputs[0])


def radial_basis_backward(layer: RadialBasis, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dx_i = sum_o 2 (x_i - w_oi) dy_o, dw_oi = -sum_n 2 (x_ni - w_oi) dy_no; negated for logits."""
    dy = -gradients[0] if layer.output == "logit" else gradients[0]
    terms = 2 * (saved[:, None, :] - weights[0]) * dy[:, :, None]
    return Gradients((terms.sum(axis=1),), (-terms.sum(axis=0),))


@REFERENCE.register("radial_basis", backward=radial_basis_backward)
def radial_basis(layer: RadialBasis, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """d[n, o] = sum_i (x[n, i] - w[o, i])^2, negated for logits."""
    distance = np.square(inputs[0][:, None, :] - weights[0]).sum(axis=2)
    return OpResult((-distance if layer.output == "logit" else distance,), saved=inputs[0])
