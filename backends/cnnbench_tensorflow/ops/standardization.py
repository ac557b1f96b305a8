"""Normalisation by each image's own mean and variance: two passes, which do not cancel where the mean is large.

Keras' layers compute the same; TensorFlow's fused batch norm, by which Keras once ran layer norm, takes one pass under
XLA. Narrow types are widened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def single(x: Any) -> Any:
    """``x`` in float32 where its type is narrower."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.bfloat16, tf.float16) else x


def affine(y: Any, weights: Values, dtype: Any) -> Any:
    """y weight + bias as far as there are such, in ``dtype``.

    Args:
        y: (N, *spatial, C).
        weights: (weight, bias), each (C,); or a part of them.
        dtype: Of the result.
    """
    if weights:
        y = y * single(weights[0])
    if len(weights) > 1:
        y = y + single(weights[1])
    return tf.cast(y, dtype)


def _standardize(x: Any, axes: Sequence[int], eps: float) -> Any:
    """(x - mean) / sqrt(var + eps)."""
    centred = x - tf.reduce_mean(x, axis=axes, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=axes, keepdims=True) + eps)


@OPERATIONS.register("layer_norm")
def layer_norm(layer: LayerNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Over the trailing axes."""
    x = inputs[0]
    y = _standardize(single(x), list(range(layer.start_axis, x.shape.rank)), layer.eps)
    return OpResult((affine(y, weights, x.dtype),))


@OPERATIONS.register("instance_norm")
def instance_norm(layer: InstanceNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Over space."""
    x = inputs[0]
    y = _standardize(single(x), list(range(1, x.shape.rank - 1)), layer.eps)
    return OpResult((affine(y, weights, x.dtype),))


@OPERATIONS.register("group_norm")
def group_norm(layer: GroupNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The last axis split into (groups, channels of a group), then over space and the channels of a group."""
    x = inputs[0]
    shape = tuple(x.shape)
    split = tf.reshape(single(x), (*shape[:-1], layer.groups, shape[-1] // layer.groups))
    axes = [*range(1, len(shape) - 1), len(shape)]
    y = tf.reshape(_standardize(split, axes, layer.eps), shape)
    return OpResult((affine(y, weights, x.dtype),))


@OPERATIONS.register("mean_variance_norm")
def mean_variance_norm(layer: MeanVarianceNorm, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Over the given axes."""
    x = inputs[0]
    axes = [call.axis(i, x.shape.rank) for i in layer.axes]
    if layer.eps_place == "inside":
        return OpResult((tf.cast(_standardize(single(x), axes, layer.eps), x.dtype),))
    centred = single(x) - tf.reduce_mean(single(x), axis=axes, keepdims=True)
    root = tf.sqrt(tf.reduce_mean(tf.square(centred), axis=axes, keepdims=True))
    return OpResult((tf.cast(centred / (root + layer.eps), x.dtype),))
