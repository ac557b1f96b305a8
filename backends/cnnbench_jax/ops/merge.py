"""Layers that join values."""

from __future__ import annotations

from functools import reduce
from operator import add as plus
from operator import mul as times

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Add, Concat
from cnnbench.spec.layers.merge import Divide, Maximum, Mean, Minimum, Multiply, PowerOf, Select, Subtract
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


@OPERATIONS.register("multiply")
def multiply(layer: Multiply, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Products from left to right."""
    return OpResult((reduce(times, inputs),))


@OPERATIONS.register("subtract")
def subtract(layer: Subtract, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.subtract``."""
    return OpResult((jnp.subtract(inputs[0], inputs[1]),))


@OPERATIONS.register("divide")
def divide(layer: Divide, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.divide``."""
    return OpResult((jnp.divide(inputs[0], inputs[1]),))


@OPERATIONS.register("power")
def power(layer: PowerOf, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.power`` without what its gradients make NaN: the base's at exponent 0, the exponent's at a base below 0."""
    base, exponent = jnp.broadcast_arrays(*inputs)
    held = jnp.where(exponent == 0, lax.stop_gradient(base), base)
    return OpResult((jnp.power(held, jnp.where(base > 0, exponent, lax.stop_gradient(exponent))),))


@OPERATIONS.register("maximum")
def maximum(layer: Maximum, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.maximum``: keeps NaN, halves the gradient between equals."""
    return OpResult((reduce(jnp.maximum, inputs),))


@OPERATIONS.register("minimum")
def minimum(layer: Minimum, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.minimum``."""
    return OpResult((reduce(jnp.minimum, inputs),))


@OPERATIONS.register("mean")
def mean(layer: Mean, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The sum over the number of values."""
    return OpResult((reduce(plus, inputs) / len(inputs),))


@OPERATIONS.register("select")
def select(layer: Select, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.where``."""
    return OpResult((jnp.where(inputs[0] != 0, inputs[1], inputs[2]),))
