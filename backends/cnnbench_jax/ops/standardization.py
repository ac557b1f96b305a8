"""Normalisation by each image's own mean and variance: two passes, in float32 where the type is narrower."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm, MeanVarianceNorm
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def wide(x: Array) -> Array:
    """``x`` in a type in which sums are safe: narrower types than float32 become float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def per_channel(weight: Array, rank: int, call: Call) -> Array:
    """(C,) shaped to broadcast along the channel axis, in float32 at least.

    Args:
        weight: (C,).
        rank: Of the value that it is to meet.
        call: With the layout of that value.
    """
    axis = call.channel_axis(rank)
    return wide(weight).reshape([-1 if i == axis else 1 for i in range(rank)])


def _standardize(x: Array, axes: Sequence[int], eps: float) -> Array:
    """(x - mean) / sqrt(var + eps); flax's default variance, E[x^2] - E[x]^2, cancels where the mean is large."""
    centred = x - jnp.mean(x, axes, keepdims=True)
    return centred * lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + eps)


def _affine(y: Array, weights: Sequence[Array]) -> Array:
    if weights:
        y = y * weights[0]
    return y + weights[1] if len(weights) > 1 else y


@OPERATIONS.register("layer_norm")
def layer_norm(layer: LayerNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Over the trailing axes."""
    x = inputs[0]
    y = _standardize(wide(x), range(layer.start_axis, x.ndim), layer.eps)
    return OpResult((_affine(y, [wide(w) for w in weights]).astype(x.dtype),))


@OPERATIONS.register("instance_norm")
def instance_norm(layer: InstanceNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Over the spatial axes."""
    x = inputs[0]
    axes = [call.axis(i, x.ndim) for i in range(2, x.ndim)]
    y = _standardize(wide(x), axes, layer.eps)
    return OpResult((_affine(y, [per_channel(w, x.ndim, call) for w in weights]).astype(x.dtype),))


@OPERATIONS.register("group_norm")
def group_norm(layer: GroupNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The channel axis split into (groups, channels of a group), then over all but images and groups."""
    x = inputs[0]
    axis = call.channel_axis(x.ndim)
    split = (*x.shape[:axis], layer.groups, x.shape[axis] // layer.groups, *x.shape[axis + 1 :])
    axes = [i for i in range(1, x.ndim + 1) if i != axis]
    y = _standardize(wide(x).reshape(split), axes, layer.eps).reshape(x.shape)
    return OpResult((_affine(y, [per_channel(w, x.ndim, call) for w in weights]).astype(x.dtype),))


@OPERATIONS.register("mean_variance_norm")
def mean_variance_norm(layer: MeanVarianceNorm, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Over the given axes."""
    x = inputs[0]
    axes = [call.axis(i, x.ndim) for i in layer.axes]
    if layer.eps_place == "inside":
        return OpResult((_standardize(wide(x), axes, layer.eps).astype(x.dtype),))
    centred = wide(x) - jnp.mean(wide(x), axes, keepdims=True)
    root = jnp.sqrt(jnp.mean(jnp.square(centred), axes, keepdims=True))
    return OpResult(((centred / (root + layer.eps)).astype(x.dtype),))
