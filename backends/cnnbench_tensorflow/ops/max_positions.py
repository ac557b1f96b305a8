"""Positions of max pooling's maxima."""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("max_pool_positions")
def max_pool_positions(layer: MaxPoolPositions, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Windows gathered as rows, and ``tf.argmax``; ``max_pool_with_argmax`` is for two axes, on a GPU for one order."""
    x = inputs[0]
    shape = tuple(x.shape)
    taken, inside, numbers = layer.places(shape)
    out = layer.output_shapes((shape,))[0]
    images = tf.reshape(x, (shape[0] * shape[1], math.prod(shape[2:])))
    taps = tf.where(inside, tf.gather(images, taken, axis=1), tf.cast(-float("inf"), x.dtype))
    taps = tf.where(tf.math.is_nan(taps), tf.cast(-float("inf"), x.dtype), taps)
    first = tf.argmax(taps, axis=-1)[..., tf.newaxis]  # (images, windows, 1)
    found = tf.gather(tf.broadcast_to(numbers, tf.shape(taps)), first, axis=2, batch_dims=2)[..., 0]
    if layer.counted == "tensor":
        found += tf.range(shape[0] * shape[1], dtype=found.dtype)[:, tf.newaxis] * images.shape[1]
    return OpResult((tf.reshape(found, out),))
