"""Matrix products: fully connected layers, and products of activations."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Linear, RadialBasis
from cnnbench.spec.layers.linear import MatMul
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("linear")
def linear(layer: Linear, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``dot_general`` over the last axes: no transposed copy of the weight."""
    x = inputs[0]
    dimensions = (((x.ndim - 1,), (1,)), ((), ()))
    y = lax.dot_general(x, weights[0], dimensions, precision=lax.Precision.HIGHEST)
    return OpResult((y + weights[1] if layer.bias else y,))


@OPERATIONS.register("matmul")
def matmul(layer: MatMul, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.matmul``, whose transposed operands XLA takes into the product."""
    a, b = inputs
    a, b = a.mT if layer.transpose_a else a, b.mT if layer.transpose_b else b
    return OpResult((jnp.matmul(a, b, precision=lax.Precision.HIGHEST),))


@OPERATIONS.register("radial_basis")
def radial_basis(layer: RadialBasis, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Differences first: the expanded square would cancel."""
    distance = jnp.sum(jnp.square(inputs[0][:, None, :] - weights[0]), 2)
    return OpResult((distance if layer.output == "distance" else -distance,))
