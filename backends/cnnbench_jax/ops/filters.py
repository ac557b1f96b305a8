"""Constant filters as shifted multiply-adds: on the host many times as fast as a depthwise convolution."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.filters import ConstantFilter
from cnnbench_jax.ops.registry import OPERATIONS
from cnnbench_jax.ops.windows import WindowTaps, spatial_axes

Arrays = tuple[Array, ...]


@OPERATIONS.register("constant_filter")
def constant_filter(layer: ConstantFilter, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Summed in float32 at least."""
    x = inputs[0]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    sizes = layer.output_shapes(((1, 1, *(x.shape[axis] for axis in spatial_axes(call, x.ndim))),))[0][2:]
    views = (values for _, values in WindowTaps(wide, call, layer.window(), sizes))
    total = sum(weight * values for weight, values in zip(layer.weights_row_major, views, strict=True))
    return OpResult((jnp.asarray(total, wide.dtype).astype(x.dtype),))
