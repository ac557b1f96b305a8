"""Embeddings of tokens and of time."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


@OPERATIONS.register("token_embedding")
def token_embedding(layer: TokenEmbedding, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.gather``, whose gradient is a sum over the rows that were read."""
    y = tf.gather(weights[0], inputs[0])
    if layer.padding_idx is not None:
        y = tf.where(tf.equal(inputs[0], layer.padding_idx)[..., None], tf.stop_gradient(y), y)
    return OpResult((y,))


@OPERATIONS.register("timestep_embedding")
def timestep_embedding(
    layer: TimestepEmbedding, inputs: Values, weights: Values, state: Values, call: Call
) -> OpResult:
    """Angles in float32 at least."""
    t = inputs[0]
    wide = tf.cast(t, tf.float64 if t.dtype == tf.float64 else tf.float32)
    frequencies = tf.constant(layer.frequencies().astype(wide.dtype.as_numpy_dtype))
    angles = tf.reshape(wide, (-1, 1)) * frequencies
    sine, cosine = tf.sin(angles), tf.cos(angles)
    y = tf.concat((sine, cosine) if layer.order == "sin_cos" else (cosine, sine), 1)
    return OpResult((tf.cast(tf.pad(y, ((0, 0), (0, layer.features % 2))), t.dtype),))
