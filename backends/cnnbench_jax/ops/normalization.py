"""Batch normalisation and the affine map per channel."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import BatchNorm, ChannelAffine
from cnnbench.spec.layers.normalization import FrozenBatchNorm
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("batch_norm")
def batch_norm(layer: BatchNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Statistics in two passes (flax's fast variance cancels), in float32 where the type is narrower."""
    x = inputs[0]
    axis = call.channel_axis(x.ndim)
    others = tuple(i for i in range(x.ndim) if i != axis)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    wide = x.astype(state[0].dtype)
    after: Arrays = state
    if call.training:
        mean = jnp.mean(wide, others)
        variance = jnp.mean(jnp.square(wide - mean.reshape(shape)), others)
        after = _running(layer, state, (mean, variance), x.size // x.shape[axis])
    else:
        mean, variance = state
    factor = lax.rsqrt(variance + layer.eps)
    if layer.affine:
        factor = factor * weights[0].astype(wide.dtype)
    y = (wide - mean.reshape(shape)) * factor.reshape(shape)
    if layer.affine:
        y = y + weights[1].astype(wide.dtype).reshape(shape)
    return OpResult((y.astype(x.dtype),), after)


def _running(layer: BatchNorm, state: Arrays, batch: Arrays, count: int) -> Arrays:
    """running <- (1 - momentum) running + momentum batch, without a gradient."""
    mean, variance = map(lax.stop_gradient, batch)
    if layer.running_variance == "unbiased":
        variance = variance * (count / (count - 1))
    m = layer.momentum
    return ((1.0 - m) * state[0] + m * mean, (1.0 - m) * state[1] + m * variance)


@OPERATIONS.register("frozen_batch_norm")
def frozen_batch_norm(layer: FrozenBatchNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A scale and a shift made of the four weights, in float32 where the type is narrower."""
    x = inputs[0]
    axis = call.channel_axis(x.ndim)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    kind = jnp.promote_types(x.dtype, jnp.float32)
    weight, bias, mean, variance = (w.astype(kind).reshape(shape) for w in weights)
    scale = weight * lax.rsqrt(variance + layer.eps)
    return OpResult(((x.astype(kind) * scale + (bias - mean * scale)).astype(x.dtype),))


@OPERATIONS.register("channel_affine")
def channel_affine(layer: ChannelAffine, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A multiply and an add, which XLA fuses; in float32 where the type is narrower, as the weights' gradients need."""
    x = inputs[0]
    axis, wide = call.channel_axis(x.ndim), jnp.promote_types(x.dtype, jnp.float32)
    weight, bias = (w.astype(wide).reshape([-1 if i == axis else 1 for i in range(x.ndim)]) for w in weights)
    return OpResult(((x.astype(wide) * weight + bias).astype(x.dtype),))
