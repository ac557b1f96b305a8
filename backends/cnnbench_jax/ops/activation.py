"""Activations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.activation import Hardmax
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("relu")
def relu(layer: ReLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """A choice that keeps NaN, with gradient 0 at 0.

    XLA on the host (JAX 0.10) drops the NaN of ``jax.nn.relu`` where it fuses the maximum with a sum.
    """
    x = inputs[0]
    return OpResult((jnp.where(x <= 0, jnp.zeros((), x.dtype), x),))


@OPERATIONS.register("tanh")
def tanh(layer: Tanh, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jnp.tanh`` with its scales."""
    return OpResult((layer.output_scale * jnp.tanh(layer.input_scale * inputs[0]),))


@OPERATIONS.register("sigmoid")
def sigmoid(layer: Sigmoid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.sigmoid``."""
    return OpResult((jax.nn.sigmoid(inputs[0]),))


@OPERATIONS.register("softmax")
def softmax(layer: Softmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.softmax``."""
    return OpResult((jax.nn.softmax(inputs[0], call.axis(layer.axis, inputs[0].ndim)),))


@OPERATIONS.register("log_softmax")
def log_softmax(layer: LogSoftmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.log_softmax``."""
    return OpResult((jax.nn.log_softmax(inputs[0], call.axis(layer.axis, inputs[0].ndim)),))


@OPERATIONS.register("hardmax")
def hardmax(layer: Hardmax, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.one_hot`` of ``argmax``, which names the first of equal maxima."""
    x = inputs[0]
    axis = call.axis(layer.axis, x.ndim)
    return OpResult((jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], dtype=x.dtype, axis=axis),))
