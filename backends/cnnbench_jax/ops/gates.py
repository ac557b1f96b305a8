"""The functions in gates of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from cnnbench.spec.layers.gates import Gate

# (x, alpha, beta) -> y
_VALUES: dict[str, Callable[[Array, float, float], Array]] = {
    "sigmoid": lambda x, alpha, beta: jax.nn.sigmoid(x),
    "tanh": lambda x, alpha, beta: jnp.tanh(x),
    "relu": lambda x, alpha, beta: jax.nn.relu(x),
    "softsign": lambda x, alpha, beta: jax.nn.soft_sign(x),
    "softplus": lambda x, alpha, beta: jax.nn.softplus(x),
    "hard_sigmoid": lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1),
    "elu": lambda x, alpha, beta: jax.nn.elu(x, alpha),
    "leaky_relu": lambda x, alpha, beta: jax.nn.leaky_relu(x, alpha),
    "thresholded_relu": lambda x, alpha, beta: jnp.where(x > alpha, x, 0 * x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * jnp.tanh(beta * x),
}


def gate_value(gate: Gate, x: Array) -> Array:
    """The function's value."""
    return _VALUES[gate.function](x, gate.alpha, gate.beta)
