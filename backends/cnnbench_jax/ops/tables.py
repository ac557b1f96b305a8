"""Fixed tables: constants of the traced program."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.tables import Table
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("sinusoid_table")
@OPERATIONS.register("causal_mask")
@OPERATIONS.register("constant_table")
@OPERATIONS.register("shifted_window_mask")
@OPERATIONS.register("relative_offsets")
def table(layer: Table, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The layer's values, rounded once to the input's type."""
    return OpResult((jnp.asarray(layer.values().astype(inputs[0].dtype)),))
