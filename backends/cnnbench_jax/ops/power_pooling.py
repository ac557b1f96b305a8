"""Pooling by the p-norm on JAX."""

from __future__ import annotations

from functools import reduce

import jax.numpy as jnp
import numpy as np
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.power_pooling import LpPool
from cnnbench_jax.ops.pooling import window_sizes, windowed_sum
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _power(layer: LpPool, x: Array) -> Array:
    if layer.p == 2:
        return x * x
    magnitude = jnp.abs(x) if layer.by_magnitude and layer.p % 2 else x
    if layer.p == 1:
        return magnitude
    return jnp.power(magnitude, int(layer.p) if layer.p % 1 == 0 else layer.p)


@OPERATIONS.register("lp_pool")
def lp_pool(layer: LpPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The root of windowed sums of powers, in float32 where the type is narrower; no gradient where it is 0."""
    x = inputs[0]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total = windowed_sum(_power(layer, wide), layer, call)
    if layer.rescale_partial:
        spatial, _ = window_sizes(layer, x, call)
        scale = reduce(np.multiply.outer, map(np.asarray, layer.partial_scales(spatial)))
        total = total * jnp.asarray(scale.reshape(call.per_axis((1, 1, *scale.shape))), total.dtype)
    if layer.p == 1:
        return OpResult((total.astype(x.dtype),))
    zero = total == 0
    safe = jnp.where(zero, 1, total)
    root = jnp.sqrt(safe) if layer.p == 2 else jnp.power(safe, 1 / layer.p)
    return OpResult((jnp.where(zero, 0, root).astype(x.dtype),))
