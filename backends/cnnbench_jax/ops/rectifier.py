"""Rectifiers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.rectifier import (
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    PReLU,
    ReLU6,
    Shrink,
    ThresholdedReLU,
)
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _per_channel(weight: Array, x: Array, call: Call) -> Array:
    """(1,) or (C,) shaped to broadcast along the channel axis."""
    axis = call.channel_axis(x.ndim)
    return weight.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


@OPERATIONS.register("relu6")
def relu6(layer: ReLU6, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.relu6``."""
    return OpResult((jax.nn.relu6(inputs[0]),))


@OPERATIONS.register("leaky_relu")
def leaky_relu(layer: LeakyReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.leaky_relu`` with the slope that was asked for."""
    return OpResult((jax.nn.leaky_relu(inputs[0], layer.negative_slope),))


@OPERATIONS.register("prelu")
def prelu(layer: PReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A choice, as flax has it."""
    x = inputs[0]
    return OpResult((jnp.where(x > 0, x, _per_channel(weights[0], x, call) * x),))


@OPERATIONS.register("thresholded_relu")
def thresholded_relu(layer: ThresholdedReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A choice."""
    x = inputs[0]
    return OpResult((jnp.where(x > layer.alpha, x, jnp.zeros((), x.dtype)),))


@OPERATIONS.register("shrink")
def shrink(layer: Shrink, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A choice."""
    x = inputs[0]
    moved = x if layer.bias == 0 else x - layer.bias * jnp.sign(x)
    return OpResult((jnp.where(jnp.abs(x) > layer.threshold, moved, jnp.zeros((), x.dtype)),))


@OPERATIONS.register("hard_sigmoid")
def hard_sigmoid(layer: HardSigmoid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.hard_sigmoid`` where it is that function, else a clipped line."""
    if layer.is_relu6():
        return OpResult((jax.nn.hard_sigmoid(inputs[0]),))
    return OpResult((jnp.clip(layer.slope * inputs[0] + layer.offset, 0.0, 1.0),))


@OPERATIONS.register("hard_swish")
def hard_swish(layer: HardSwish, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.hard_swish``."""
    return OpResult((jax.nn.hard_swish(inputs[0]),))
