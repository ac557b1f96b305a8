"""Embeddings of tokens and of time."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("token_embedding")
def token_embedding(layer: TokenEmbedding, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.take``; tokens outside the table are moved to its ends, which is what costs least."""
    y = jnp.take(weights[0], inputs[0], axis=0, mode="clip")
    if layer.padding_idx is not None:
        y = jnp.where((inputs[0] == layer.padding_idx)[..., None], lax.stop_gradient(y), y)
    return OpResult((y,))


@OPERATIONS.register("timestep_embedding")
def timestep_embedding(
    layer: TimestepEmbedding, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """Angles in float32 at least."""
    t = inputs[0]
    wide = jnp.promote_types(t.dtype, jnp.float32)
    angles = t.reshape(-1, 1).astype(wide) * jnp.asarray(layer.frequencies().astype(wide))
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    y = jnp.concatenate((sine, cosine) if layer.order == "sin_cos" else (cosine, sine), 1)
    return OpResult((jnp.pad(y, ((0, 0), (0, layer.features % 2))).astype(t.dtype),))
