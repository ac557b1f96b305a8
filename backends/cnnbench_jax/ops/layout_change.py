"""Moves the channel axis between the layouts of a program."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.operations import Call, OpResult
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("layout_change")
def layout_change(layer: LayoutChange, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.transpose``."""
    return OpResult((jnp.transpose(inputs[0], layer.permutation(inputs[0].ndim)),))
