"""Positions of max pooling's maxima."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("max_pool_positions")
def max_pool_positions(layer: MaxPoolPositions, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Windows gathered as rows, and ``jnp.argmax``."""
    x = inputs[0]
    taken, inside, numbers = layer.places(x.shape)
    images = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    taps = jnp.where(inside, images[:, :, taken], -jnp.inf)
    first = jnp.argmax(jnp.where(jnp.isnan(taps), -jnp.inf, taps), axis=-1, keepdims=True)
    named = jnp.broadcast_to(jnp.asarray(numbers, jnp.int32), taps.shape)
    found = jnp.take_along_axis(named, first, axis=-1)[..., 0]
    if layer.counted == "tensor":
        images_before = jnp.arange(x.shape[0] * x.shape[1], dtype=jnp.int32).reshape(*x.shape[:2], 1)
        found = found + images_before * images.shape[2]
    return OpResult((found.reshape(layer.output_shapes((x.shape,))[0]),))
