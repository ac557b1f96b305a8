"""The functions in gates of recurrent layers on values that carry a bound of their error, and so their slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.activation import FUNCTION
from cnnbench.numerics.budgets.running_error import Arithmetic, Tracked, exactly, moved
from cnnbench.spec.layers.gates import Gate

Array = NDArray[Any]


def gate_value(a: Arithmetic, gate: Gate, x: Tracked) -> Tracked:
    """The function: how far it moves within its argument's error, and a few roundings.

    Args:
        a: The arithmetic.
        gate: The function.
        x: Its argument.
    """
    name, alpha, beta = gate
    if name == "sigmoid":
        return a.sigmoid(x)
    if name == "tanh":
        return a.tanh(x)
    if name == "scaled_tanh":
        return a.times(_constant(alpha, x), a.tanh(a.times(_constant(beta, x), x)))
    if name == "softplus":
        return a.rounded(_softplus(x.value), moved(_softplus, x), FUNCTION + 4)
    if name == "softsign":
        return a.rounded(_softsign(x.value), moved(_softsign, x), 4)
    value, slope = _piecewise(gate, x.value)
    low, high = (_piecewise(gate, x.value + sign * x.error) for sign in (-1, 1))
    steepest = np.maximum(np.abs(slope), np.maximum(np.abs(low[1]), np.abs(high[1])))
    jump = np.where((x.value - x.error <= alpha) & (alpha <= x.value + x.error), abs(alpha), 0.0)
    products = np.abs(alpha * x.value) + abs(beta) + (abs(alpha) if name == "elu" else 0)
    rounding = {"affine": products, "hard_sigmoid": products, "elu": products}.get(name, np.abs(value))
    error = steepest * x.error + (jump if name == "thresholded_relu" else 0)
    if name == "hard_sigmoid":  # the line may lie within the error, and neither of its ends on it
        error = moved(lambda argument: _piecewise(gate, argument)[0], x)
    return Tracked(value, a.rounded(np.abs(rounding), error, FUNCTION if name == "elu" else 4).error)


def gate_slope(a: Arithmetic, gate: Gate, x: Tracked, y: Tracked) -> Tracked:
    """The function's slope, as it is computed from its value; at a kink within the argument's error, either side's.

    Args:
        a: The arithmetic.
        gate: The function.
        x: Its argument.
        y: Its value there.
    """
    name, alpha, beta = gate
    if name == "sigmoid":
        return a.times(y, a.complement(y))
    if name == "tanh":
        return a.complement(a.times(y, y))
    if name == "scaled_tanh":
        t = a.tanh(a.times(_constant(beta, x), x))
        return a.times(_constant(alpha * beta, x), a.complement(a.times(t, t)))
    if name == "softplus":
        return a.sigmoid(x)
    if name == "softsign":
        size = np.abs(x.value)
        nearest = np.maximum(size - x.error, 0)
        return a.rounded((1 + size) ** -2, (1 + nearest) ** -2 - (1 + size + x.error) ** -2, 6)
    slope = _piecewise(gate, x.value)[1]
    low, high = (_piecewise(gate, x.value + sign * x.error)[1] for sign in (-1, 1))
    error = np.maximum(np.abs(slope - low), np.abs(slope - high))
    if name == "hard_sigmoid":
        error = np.where(moved(lambda argument: _piecewise(gate, argument)[0], x) > 0, abs(alpha), error)
    if name == "elu":  # computed as y + alpha, which cancels
        error = error + np.where(x.value > 0, 0, a.rounded(np.abs(y.value) + abs(alpha), y.error).error)
    return a.rounded(slope, error)


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _softsign(x: Array) -> Array:
    return np.asarray(x / (1 + np.abs(x)))


def _constant(value: float, like: Tracked) -> Tracked:
    return exactly(np.full_like(like.value, value))


def _piecewise(gate: Gate, x: Array) -> tuple[Array, Array]:
    """Value and slope of a function that is linear, or exponential, on either side of its kinks."""
    name, alpha, beta = gate
    if name == "affine":
        return alpha * x + beta, np.full_like(x, alpha)
    if name == "hard_sigmoid":
        line = alpha * x + beta
        return np.clip(line, 0, 1), np.where((line > 0) & (line < 1), alpha, 0.0)
    if name == "thresholded_relu":
        return np.where(x > alpha, x, 0.0), (x > alpha).astype(x.dtype)
    below = np.minimum(x, 0)
    if name == "elu":
        left, steepness = alpha * np.expm1(below), alpha * np.exp(below)
    else:  # a ReLU, leaky or not
        left, steepness = alpha * below, np.full_like(x, alpha)
    return np.where(x > 0, x, left), np.where(x > 0, 1.0, steepness)
