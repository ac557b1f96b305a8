"""Reference normalisation by magnitude: local response, RMS, filter response, Lp."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays, spatial


def _window_sum(values: Array, before: int, after: int) -> Array:
    """For each channel c the sum over channels c - before to c + after; those that do not exist are zero."""
    channels = values.shape[1]
    padded = np.pad(values, ((0, 0), (before, after), *((0, 0),) * (values.ndim - 2)))
    return np.asarray(sum(padded[:, i : i + channels] for i in range(before + after + 1)))


def local_response_norm_backward(
    layer: LocalResponseNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dx_i = dy_i s_i^-beta - 2 a beta x_i sum over the windows j that hold i of dy_j x_j s_j^(-beta - 1)."""
    x, s = saved
    dy = gradients[0]
    before, after = layer.reach()
    through = _window_sum(dy * x * s ** (-layer.beta - 1), after, before)
    return Gradients((dy * s**-layer.beta - 2 * layer.factor() * layer.beta * x * through,))


@spatial("local_response_norm", backward=local_response_norm_backward)
def local_response_norm(
    layer: LocalResponseNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """x s^-beta, s = k + a sum of squares over the window."""
    x = inputs[0]
    s = layer.k + layer.factor() * _window_sum(x * x, *layer.reach())
    return OpResult((x * s**-layer.beta,), saved=(x, s))


def _unit_root_mean_square(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """x' = x r and r = 1 / sqrt(mean(x^2) + eps)."""
    factor = 1 / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps)
    return x * factor, factor


def _unit_backward(dy: Array, normal: Array, factor: Array, axes: tuple[int, ...]) -> Array:
    """r (dy - x' mean(dy x'))."""
    return np.asarray(factor * (dy - normal * (dy * normal).mean(axis=axes, keepdims=True)))


def rms_norm_backward(layer: RMSNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dw = sum dy x'; dx by the mean square."""
    dy = gradients[0]
    before, axes = tuple(range(layer.start_axis)), tuple(range(layer.start_axis, dy.ndim))
    inner = dy * weights[0] if weights else dy
    found = ((dy * saved[0]).sum(axis=before),) if weights else ()
    return Gradients((_unit_backward(inner, saved[0], saved[1], axes),), found)


@REFERENCE.register("rms_norm", backward=rms_norm_backward)
def rms_norm(layer: RMSNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x' w."""
    x = inputs[0]
    saved = _unit_root_mean_square(x, tuple(range(layer.start_axis, x.ndim)), layer.eps)
    return OpResult((saved[0] * weights[0] if weights else saved[0],), saved=saved)


def _channels(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def filter_response_norm_backward(
    layer: FilterResponseNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dw = sum dy x', db = sum dy; dx by the mean square over space."""
    dy = gradients[0]
    axes = (0, *range(2, dy.ndim))
    dx = _unit_backward(dy * _channels(weights[0], dy), saved[0], saved[1], axes[1:])
    return Gradients((dx,), ((dy * saved[0]).sum(axis=axes), dy.sum(axis=axes)))


@spatial("filter_response_norm", backward=filter_response_norm_backward)
def filter_response_norm(
    layer: FilterResponseNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """x' w + b."""
    x = inputs[0]
    saved = _unit_root_mean_square(x, tuple(range(2, x.ndim)), layer.eps)
    return OpResult((saved[0] * _channels(weights[0], x) + _channels(weights[1], x),), saved=saved)


def lp_normalization_backward(layer: LpNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """(dy - d sum(dy y)) / n, d = y for p = 2 and sign(x) for p = 1; dy / eps where the norm n is below eps."""
    x, norm, axis = saved
    dy = gradients[0]
    divisor = np.maximum(norm, layer.eps)
    direction = np.sign(x) if layer.p == 1 else x / divisor
    along = np.where(norm > layer.eps, (dy * x / divisor).sum(axis=axis, keepdims=True), 0)
    return Gradients(((dy - direction * along) / divisor,))


@REFERENCE.register("lp_normalization", backward=lp_normalization_backward)
def lp_normalization(layer: LpNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x / max(||x||_p, eps)."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    powers = np.abs(x) if layer.p == 1 else x * x
    total = powers.sum(axis=axis, keepdims=True)
    norm = total if layer.p == 1 else np.sqrt(total)
    return OpResult((x / np.maximum(norm, layer.eps),), saved=(x, norm, axis))
