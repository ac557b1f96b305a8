"""Padding by ``lax.pad`` or ``jnp.pad``."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.padding import Pad
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.pad`` with a constant, else ``jnp.pad``, whose modes are NumPy's."""
    x = inputs[0]
    pairs = call.per_axis(((0, 0), *layer.padding))
    if layer.mode == "constant":
        return OpResult((lax.pad(x, jnp.asarray(layer.constant, x.dtype), [(begin, end, 0) for begin, end in pairs]),))
    return OpResult((jnp.pad(x, pairs, mode=layer.mode),))
