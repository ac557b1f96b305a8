"""Layers that join values."""

from __future__ import annotations

from functools import reduce
from operator import add as plus

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("add")
def add(layer: Add, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Sums from left to right."""
    return OpResult((reduce(plus, inputs),))


@OPERATIONS.register("concat")
def concat(layer: Concat, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.concatenate``."""
    return OpResult((jnp.concatenate(inputs, call.axis(layer.axis, inputs[0].ndim)),))
