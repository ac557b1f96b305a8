"""Reference normalisation: batch normalisation, and the affine map per channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.errors import NumericalError
from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers import BatchNorm, ChannelAffine
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench_numpy.ops.registry import Array, Arrays, spatial


def _reduced(x: Array) -> tuple[int, ...]:
    """The axes of batch and space."""
    return (0, *range(2, x.ndim))


def _channels(values: Array, x: Array) -> Array:
    """(C,) shaped to broadcast against (N, C, *spatial)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def batch_norm_backward(layer: BatchNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dw = sum dy x', db = sum dy; dx = (w / std) (dy - mean(dy) - x' mean(dy x')), without the means at inference."""
    normal, inverse_std = saved
    dy = gradients[0]
    axes = _reduced(dy)
    sum_dy, sum_dy_normal = dy.sum(axis=axes), (dy * normal).sum(axis=axes)
    scale = inverse_std * weights[0] if layer.affine else inverse_std
    dx = dy
    if call.training:
        count = dy.size // dy.shape[1]
        dx = dy - _channels(sum_dy / count, dy) - normal * _channels(sum_dy_normal / count, dy)
    return Gradients((dx * _channels(scale, dy),), (sum_dy_normal, sum_dy) if layer.affine else ())


@spatial("batch_norm", backward=batch_norm_backward)
def batch_norm(layer: BatchNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x' = (x - mean) / sqrt(var + eps); y = x' w + b; in training of the batch, with its biased variance."""
    x = inputs[0]
    mean, variance = state
    new_state: Arrays = ()
    if call.training:
        mean, variance = x.mean(axis=_reduced(x)), x.var(axis=_reduced(x))
        new_state = running_statistics(layer, mean, variance, state, x.size // x.shape[1])
    inverse_std = 1 / np.sqrt(variance + layer.eps)
    normal = (x - _channels(mean, x)) * _channels(inverse_std, x)
    y = normal * _channels(weights[0], x) + _channels(weights[1], x) if layer.affine else normal
    return OpResult((y,), new_state, saved=(normal, inverse_std))


def running_statistics(layer: BatchNorm, mean: Array, variance: Array, state: Arrays, count: int) -> Arrays:
    """(1 - momentum) running + momentum batch, for the mean and the variance of ``count`` values a channel.

    Args:
        layer: With the momentum, and the variance that is stored.
        mean: Of the batch, (C,).
        variance: Of the batch, (C,); the biased one.
        state: (running mean, running variance) before.
        count: Values of a channel in the batch.

    Raises:
        NumericalError: One value a channel has no unbiased variance.
    """
    if layer.running_variance == "unbiased":
        if count < 2:
            raise NumericalError(
                "batch_norm cannot train on one value a channel",
                received=f"{count} value a channel",
                expected="at least 2, for the unbiased running variance",
                remedy="use a larger batch or image, or running_variance='biased'",
            )
        variance = variance * (count / (count - 1))
    return tuple(
        (1 - layer.momentum) * old + layer.momentum * new for old, new in zip(state, (mean, variance), strict=True)
    )


def frozen_batch_norm_backward(
    layer: FrozenBatchNorm, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dx = (w / std) dy; nothing is trained."""
    weight, _, _, variance = weights
    dy = gradients[0]
    return Gradients((dy * _channels(weight / np.sqrt(variance + layer.eps), dy),), (None,) * 4)


@spatial("frozen_batch_norm", backward=frozen_batch_norm_backward)
def frozen_batch_norm(layer: FrozenBatchNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """(x - mean) / sqrt(var + eps) w + b, in training too."""
    x = inputs[0]
    weight, bias, mean, variance = (_channels(w, x) for w in weights)
    return OpResult(((x - mean) / np.sqrt(variance + layer.eps) * weight + bias,))


def channel_affine_backward(
    layer: ChannelAffine, saved: Any, gradients: Arrays, weights: Arrays, call: Call
) -> Gradients:
    """dx = w dy, dw = sum of dy x, db = sum of dy."""
    dy = gradients[0]
    axes = _reduced(dy)
    return Gradients((dy * _channels(weights[0], dy),), ((dy * saved).sum(axis=axes), dy.sum(axis=axes)))


@spatial("channel_affine", backward=channel_affine_backward)
def channel_affine(layer: ChannelAffine, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """y = x w + b, per channel."""
    x = inputs[0]
    return OpResult((x * _channels(weights[0], x) + _channels(weights[1], x),), saved=x)
