"""Layers that move values."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Flatten, Pad
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("flatten")
def flatten(layer: Flatten, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A reshape of the canonical operand."""
    x = inputs[0]
    start = layer.start_axis % x.ndim
    return OpResult((x.reshape((*x.shape[:start], -1)),))


@OPERATIONS.register("pad")
def pad(layer: Pad, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.pad`` with a constant."""
    x = inputs[0]
    pairs = call.per_axis(((0, 0), *layer.padding))
    return OpResult((lax.pad(x, jnp.asarray(layer.value, x.dtype), [(begin, end, 0) for begin, end in pairs]),))
