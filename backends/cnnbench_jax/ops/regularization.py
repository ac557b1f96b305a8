"""Dropout, by a mask that the program is given, or by a mask drawn from a key in its place."""

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


def native_dropout(layer: Dropout, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Draws the mask from the key that stands in its place: registered where only speed counts."""
    if not call.masks:
        return OpResult(inputs)
    x = inputs[0]
    mask = jax.random.bernoulli(call.masks[0], 1.0 - layer.p, x.shape)
    return OpResult((jnp.where(mask, x / (1.0 - layer.p), jnp.zeros((), x.dtype)),))
