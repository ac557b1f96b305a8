"""Layers that give values another shape."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.shape import Expand, Tile, Transpose
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("flatten")
@OPERATIONS.register("reshape")
@OPERATIONS.register("squeeze")
@OPERATIONS.register("unsqueeze")
def reshape(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A reshape of the canonical operand."""
    return OpResult((inputs[0].reshape(layer.output_shapes((inputs[0].shape,))[0]),))


@OPERATIONS.register("transpose")
def transpose(layer: Transpose, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``lax.transpose``."""
    return OpResult((lax.transpose(inputs[0], layer.permutation),))


@OPERATIONS.register("expand")
def expand(layer: Expand, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.broadcast_to``."""
    x = inputs[0].reshape(layer.aligned(inputs[0].shape))
    return OpResult((jnp.broadcast_to(x, layer.output_shapes(tuple(value.shape for value in inputs))[0]),))


@OPERATIONS.register("tile")
def tile(layer: Tile, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.tile``."""
    return OpResult((jnp.tile(inputs[0], call.per_axis((1, *layer.repeats))),))
