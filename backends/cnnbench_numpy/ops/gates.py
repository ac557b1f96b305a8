"""The functions in gates of recurrent layers, and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnbench.spec.layers.gates import Gate
from cnnbench_numpy.ops.registry import Array


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _elu(x: Array, alpha: float, beta: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Array, alpha: float, beta: float) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _tanh_slope(y: Array) -> Array:
    return 1 - y * y


# (x, alpha, beta) -> y
_VALUES: dict[str, Callable[[Array, float, float], Any]] = {
    "sigmoid": lambda x, alpha, beta: sigmoid(x),
    "tanh": lambda x, alpha, beta: np.tanh(x),
    "relu": lambda x, alpha, beta: np.maximum(x, 0),
    "softsign": lambda x, alpha, beta: x / (1 + np.abs(x)),
    "softplus": _softplus,
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "elu": _elu,
    "leaky_relu": lambda x, alpha, beta: np.where(x > 0, x, alpha * x),
    "thresholded_relu": lambda x, alpha, beta: np.where(x > alpha, x, 0 * x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
}
# (x, y, alpha, beta) -> dy / dx
_SLOPES: dict[str, Callable[[Array, Array, float, float], Any]] = {
    "sigmoid": lambda x, y, alpha, beta: y * (1 - y),
    "tanh": lambda x, y, alpha, beta: _tanh_slope(y),
    "relu": lambda x, y, alpha, beta: (x > 0).astype(x.dtype),
    "softsign": lambda x, y, alpha, beta: 1 / (1 + np.abs(x)) ** 2,
    "softplus": lambda x, y, alpha, beta: sigmoid(x),
    "hard_sigmoid": lambda x, y, alpha, beta: np.where((y > 0) & (y < 1), alpha, 0 * x),
    "elu": lambda x, y, alpha, beta: np.where(x > 0, 1, y + alpha),
    "leaky_relu": lambda x, y, alpha, beta: np.where(x > 0, 1, alpha).astype(x.dtype),
    "thresholded_relu": lambda x, y, alpha, beta: (x > alpha).astype(x.dtype),
    "affine": lambda x, y, alpha, beta: np.full_like(x, alpha),
    "scaled_tanh": lambda x, y, alpha, beta: alpha * beta * _tanh_slope(np.tanh(beta * x)),
}


def gate_value(gate: Gate, x: Array) -> Array:
    """The function's value."""
    value: Array = _VALUES[gate.function](x, gate.alpha, gate.beta)
    return value


def gate_slope(gate: Gate, x: Array, y: Array) -> Array:
    """The function's slope at ``x``.

    Args:
        gate: The function.
        x: Its argument.
        y: Its value there.
    """
    slope: Array = _SLOPES[gate.function](x, y, gate.alpha, gate.beta)
    return slope
