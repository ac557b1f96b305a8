"""Dropout of elements or branches, by a given mask, or by one drawn from a key in its place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import Dropout
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("dropout")
def dropout(layer: Dropout, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x * mask / (1 - p) in training, x at inference."""
    if not call.masks:
        return OpResult(inputs)
    return OpResult((inputs[0] * call.masks[0] / (1.0 - layer.p),))


@OPERATIONS.register("stochastic_depth")
def shared_dropout(layer: Dropout, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """As ``dropout`` with a mask that broadcasts; drawn here where a key stands in its place."""
    if not call.masks:
        return OpResult(inputs)
    x, mask = inputs[0], call.masks[0]
    if jnp.issubdtype(mask.dtype, jax.dtypes.prng_key):
        rank = x.ndim
        canonical = tuple(x.shape[call.axis(i, rank)] for i in range(rank))
        shape = call.per_axis(layer.masks((canonical,))[0].shape)
        mask = jax.random.bernoulli(mask, 1.0 - layer.p, shape).astype(x.dtype)
    return OpResult((x * (mask / (1.0 - layer.p)),))


def native_dropout(layer: Dropout, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Draws the mask from the key that stands in its place: registered where only speed counts."""
    if not call.masks:
        return OpResult(inputs)
    x = inputs[0]
    mask = jax.random.bernoulli(call.masks[0], 1.0 - layer.p, x.shape)
    return OpResult((jnp.where(mask, x / (1.0 - layer.p), jnp.zeros((), x.dtype)),))
