"""Normalisation by magnitude, in float32 where the type is narrower."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench_jax.ops.registry import OPERATIONS
from cnnbench_jax.ops.standardization import per_channel, wide

Arrays = tuple[Array, ...]


@OPERATIONS.register("local_response_norm")
def local_response_norm(
    layer: LocalResponseNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """The window's sum by shifted additions, which XLA fuses with the power."""
    x = inputs[0]
    axis = call.channel_axis(x.ndim)
    before, after = layer.reach()
    squares = jnp.pad(jnp.square(wide(x)), [(before, after) if i == axis else (0, 0) for i in range(x.ndim)])
    channels = x.shape[axis]
    total = sum(lax.slice_in_dim(squares, i, i + channels, axis=axis) for i in range(before + after + 1))
    scale = jnp.power(layer.k + layer.factor() * total, -layer.beta)
    return OpResult(((wide(x) * scale).astype(x.dtype),))


@OPERATIONS.register("rms_norm")
def rms_norm(layer: RMSNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Over the trailing axes."""
    x = wide(inputs[0])
    y = x * lax.rsqrt(jnp.mean(jnp.square(x), range(layer.start_axis, x.ndim), keepdims=True) + layer.eps)
    return OpResult(((y * wide(weights[0]) if weights else y).astype(inputs[0].dtype),))


@OPERATIONS.register("filter_response_norm")
def filter_response_norm(
    layer: FilterResponseNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """Over the spatial axes."""
    x = wide(inputs[0])
    axes = [call.axis(i, x.ndim) for i in range(2, x.ndim)]
    weight, bias = (per_channel(w, x.ndim, call) for w in weights)
    y = x * lax.rsqrt(jnp.mean(jnp.square(x), axes, keepdims=True) + layer.eps) * weight + bias
    return OpResult((y.astype(inputs[0].dtype),))


@OPERATIONS.register("lp_normalization")
def lp_normalization(layer: LpNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum limited before the root, so that a vector of zeros has a gradient."""
    x = wide(inputs[0])
    axis = call.axis(layer.axis, x.ndim)
    if layer.p == 1:
        norm = jnp.maximum(jnp.sum(jnp.abs(x), axis, keepdims=True), layer.eps)
    else:
        norm = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis, keepdims=True), layer.eps**2))
    return OpResult(((x / norm).astype(inputs[0].dtype),))
