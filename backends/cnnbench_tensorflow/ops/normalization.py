"""Normalisation: batch normalisation, and the affine map per channel that it becomes."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.errors import NumericalError
from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import BatchNorm, ChannelAffine
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS, XLA

Values = tuple[Any, ...]


@OPERATIONS.register("channel_affine")
def channel_affine(layer: ChannelAffine, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x weight + bias; channels are the last axis, so both broadcast."""
    return OpResult((inputs[0] * weights[0] + weights[1],))


@OPERATIONS.register("frozen_batch_norm")
def frozen_batch_norm(layer: FrozenBatchNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A scale and a shift made of the four weights, in float32 where the type is narrower."""
    x = inputs[0]
    kind = tf.float64 if x.dtype == tf.float64 else tf.float32
    weight, bias, mean, variance = (tf.cast(w, kind) for w in weights)
    scale = weight * tf.math.rsqrt(variance + layer.eps)
    return OpResult((tf.cast(tf.cast(x, kind) * scale + (bias - mean * scale), x.dtype),))


@OPERATIONS.register("batch_norm")
def batch_norm(layer: BatchNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The fused op where it exists (float32 statistics), explicit arithmetic in float64."""
    normalize = _explicit if inputs[0].dtype == tf.float64 else _fused
    if not call.training:
        scale, offset = _affine(weights, state)
        return OpResult((normalize(layer, inputs[0], (scale, offset), state)[0],))
    return _train(layer, inputs[0], weights, state, normalize)


@XLA.register("batch_norm")
def batch_norm_in_two_passes(layer: BatchNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """For XLA, which computes the fused op's variance as E[x^2] - E[x]^2: that cancels where the mean is large.

    TensorFlow 2.21: at mean 300 and standard deviation 1 an output of 2.68 comes out as 2.74.
    """
    if not call.training:
        return batch_norm(layer, inputs, weights, state, call)
    result = _train(layer, wide(inputs[0]), tuple(wide(weight) for weight in weights), state, _explicit)
    return result._replace(outputs=(tf.cast(result.outputs[0], inputs[0].dtype),))


def _affine(weights: Values, state: Values) -> Values:
    return weights or (tf.ones_like(state[0]), tf.zeros_like(state[0]))


def _train(layer: BatchNorm, x: Any, weights: Values, state: Values, normalize: Any) -> OpResult:
    mean, variance = state
    y, batch_mean, batch_variance, divisor = normalize(layer, x, _affine(weights, state), None)
    count = math.prod(x.shape[:-1])
    wanted = count - 1 if layer.running_variance == "unbiased" else count
    if wanted < 1:
        raise NumericalError(
            "batch_norm cannot train on one value a channel",
            received=f"{count} value a channel",
            expected="at least 2, for the unbiased running variance",
            remedy="use a larger batch or image, or running_variance='biased'",
        )
    if divisor != wanted:
        batch_variance = batch_variance * (divisor / wanted)
    return OpResult(
        (y,),
        (_blend(mean, batch_mean, layer.momentum), _blend(variance, batch_variance, layer.momentum)),
    )


def _blend(running: Any, batch: Any, momentum: float) -> Any:
    """(1 - momentum) running + momentum batch."""
    return (1.0 - momentum) * running + momentum * batch


def _explicit(layer: BatchNorm, x: Any, affine: Values, statistics: Values | None) -> tuple[Any, Any, Any, int]:
    """(y, mean, variance, its divisor), the variance from centred values: two passes, no cancellation."""
    axes = list(range(x.shape.rank - 1))
    if statistics is None:
        mean = tf.reduce_mean(x, axis=axes)
        centred = x - mean
        variance = tf.reduce_mean(tf.square(centred), axis=axes)
    else:
        mean, variance = statistics
        centred = x - mean
    y = centred * (tf.math.rsqrt(variance + layer.eps) * affine[0]) + affine[1]
    return y, mean, variance, math.prod(x.shape[:-1])


def _fused(layer: BatchNorm, x: Any, affine: Values, statistics: Values | None) -> tuple[Any, Any, Any, int]:
    """(y, mean, variance, its divisor) by the fused op, which takes images of two axes and float32 parameters."""
    shape = tuple(x.shape)
    images = x if len(shape) == 4 else tf.reshape(x, (shape[0], 1, math.prod(shape[1:-1]), shape[-1]))
    scale, offset = (wide(value) for value in affine)
    empty = tf.zeros((0,), scale.dtype)
    mean, variance = (empty, empty) if statistics is None else statistics
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=variance,
        epsilon=layer.eps,
        data_format="NHWC",
        is_training=statistics is None,
    )
    # The op returns the unbiased variance, with at least one degree of freedom.
    divisor = max(math.prod(shape[:-1]) - 1, 1)
    return (y if len(shape) == 4 else tf.reshape(y, shape)), mean, variance, divisor
