"""Convolution with a standardised weight on TensorFlow."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.conv import KERNEL_LAST, conv
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("scaled_ws_conv", weight_layout=KERNEL_LAST)
def scaled_ws_conv(layer: ScaledWSConv, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The backend's ``conv`` by the standardised weight."""
    weight = _standardized(layer, weights[0], weights[-1] if layer.gain else None)
    return conv(layer.plain(), inputs, (weight, *weights[1 : 1 + layer.bias]), state, call)


def _standardized(layer: ScaledWSConv, weight: Any, gain: Any) -> Any:
    """gain (w - m) / sqrt(D) of a kernel (*k, C/G, O), in float32 where the type is narrower; in two passes."""
    values = wide(weight)
    axes = list(range(values.shape.rank - 1))
    count = math.prod(values.shape[:-1])
    centred = values - tf.reduce_mean(values, axes)
    variance = tf.reduce_mean(tf.square(centred), axes)
    if layer.form == "scaled":
        square = tf.maximum(variance * count, tf.constant(layer.eps, values.dtype))
    elif layer.form == "scaled_sum":
        square = (variance + layer.eps) * count
    else:
        square = variance + layer.eps
    factor = tf.math.rsqrt(square)
    if gain is not None:
        factor = factor * wide(gain)
    return tf.cast(centred * factor, weight.dtype)
