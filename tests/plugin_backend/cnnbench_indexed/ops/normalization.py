"""Batch normalisation and the affine map of channels."""

from __future__ import annotations

import numpy as np

from cnnbench.errors import NumericalError
from cnnbench.execution.operations import Gradients, OpResult
from cnnbench_indexed.ops.registry import OPERATIONS


def _axes(x):
    return (0, *range(2, x.ndim))


def _wide(values, x):
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def batch_norm_gradient(layer, saved, gradients, weights, call):
    """The gradient through the batch's statistics too, in training."""
    (normal, scale), dy = saved, gradients[0]
    db, dw = dy.sum(axis=_axes(dy)), (dy * normal).sum(axis=_axes(dy))
    inner = dy
    if call.training:
        count = dy.size // dy.shape[1]
        inner = dy - _wide(db / count, dy) - normal * _wide(dw / count, dy)
    factor = scale * weights[0] if layer.affine else scale
    return Gradients((inner * _wide(factor, dy),), (dw, db) if layer.affine else ())


@OPERATIONS.register("batch_norm", backward=batch_norm_gradient)
def batch_norm(layer, inputs, weights, state, call):
    """(x - mean) / sqrt(var + eps) w + b, of the batch in training."""
    x, (mean, variance), after = inputs[0], state, ()
    if call.training:
        count = x.size // x.shape[1]
        mean, variance = x.mean(axis=_axes(x)), x.var(axis=_axes(x))
        stored = variance
        if layer.running_variance == "unbiased":
            if count < 2:
                raise NumericalError("batch_norm cannot train on one value a channel", received=count)
            stored = variance * (count / (count - 1))
        m = layer.momentum
        after = ((1 - m) * state[0] + m * mean, (1 - m) * state[1] + m * stored)
    scale = 1 / np.sqrt(variance + layer.eps)
    normal = (x - _wide(mean, x)) * _wide(scale, x)
    y = normal * _wide(weights[0], x) + _wide(weights[1], x) if layer.affine else normal
    return OpResult((y,), after, saved=(normal, scale))


def channel_affine_gradient(layer, saved, gradients, weights, call):
    """dx = dy w, dw = sum dy x, db = sum dy."""
    dy = gradients[0]
    return Gradients((dy * _wide(weights[0], dy),), ((dy * saved).sum(axis=_axes(dy)), dy.sum(axis=_axes(dy))))


@OPERATIONS.register("channel_affine", backward=channel_affine_gradient)
def channel_affine(layer, inputs, weights, state, call):
    """x w + b."""
    x = inputs[0]
    return OpResult((x * _wide(weights[0], x) + _wide(weights[1], x),), saved=x)
