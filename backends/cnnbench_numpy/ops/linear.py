"""Reference matrix products: fully connected layers, products of activations, LeNet-5's radial basis output."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays


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


def _turned(x: Array, transposed: bool) -> Array:
    return np.swapaxes(x, -1, -2) if transposed else x


def _unrepeated(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Summed over the leading axes that were repeated or added."""
    added = gradient.ndim - len(shape)
    total = gradient.sum(axis=tuple(range(added)))
    repeated = tuple(i for i, size in enumerate(shape[:-2]) if size == 1 and total.shape[i] != 1)
    return np.asarray(total.sum(axis=repeated, keepdims=True))


def matmul_backward(layer: MatMul, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dA = dY B^T and dB = A^T dY, turned back, and summed over repeated leading axes."""
    a, b = saved
    dy = gradients[0]
    da = dy @ np.swapaxes(_turned(b, layer.transpose_b), -1, -2)
    db = np.swapaxes(_turned(a, layer.transpose_a), -1, -2) @ dy
    return Gradients(
        (
            _unrepeated(_turned(da, layer.transpose_a), a.shape),
            _unrepeated(_turned(db, layer.transpose_b), b.shape),
        )
    )


@REFERENCE.register("matmul", backward=matmul_backward)
def matmul(layer: MatMul, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y[..., i, j] = sum_k a[..., i, k] b[..., k, j]."""
    a, b = inputs
    return OpResult((_turned(a, layer.transpose_a) @ _turned(b, layer.transpose_b),), saved=inputs)


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
