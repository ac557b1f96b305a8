"""Convolution with a standardised weight on JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench_jax.ops.conv import KERNEL_LAYOUT, conv
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _standardized(layer: ScaledWSConv, weight: Array, gain: Array | None, out_axis: int) -> Array:
    """gain (w - m) / sqrt(D), in float32 where the type is narrower."""
    wide = weight.astype(jnp.promote_types(weight.dtype, jnp.float32))
    axes = tuple(axis for axis in range(weight.ndim) if axis != out_axis)
    count = weight.size // weight.shape[out_axis]
    centred = wide - jnp.mean(wide, axes, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axes, keepdims=True)
    if layer.form == "scaled":
        square = jnp.maximum(variance * count, layer.eps)
    elif layer.form == "scaled_sum":
        square = (variance + layer.eps) * count
    else:
        square = variance + layer.eps
    factor = lax.rsqrt(square)
    if gain is not None:
        factor = factor * gain.astype(wide.dtype).reshape(factor.shape)
    return (centred * factor).astype(weight.dtype)


@OPERATIONS.register("scaled_ws_conv", weight_layout=KERNEL_LAYOUT)
def scaled_ws_conv(layer: ScaledWSConv, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The backend's ``conv`` by the standardised weight."""
    out_axis = weights[0].ndim - 1 if call.channels_last else 0
    weight = _standardized(layer, weights[0], weights[-1] if layer.gain else None, out_axis)
    return conv(layer.plain(), inputs, (weight, *weights[1 : 1 + layer.bias]), state, call)
