"""The functions in gates of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.spec.layers.gates import Gate
from cnnbench_tensorflow.framework import tf

# (x, alpha, beta) -> y
_VALUES: dict[str, Callable[[Any, float, float], Any]] = {
    "sigmoid": lambda x, alpha, beta: tf.sigmoid(x),
    "tanh": lambda x, alpha, beta: tf.tanh(x),
    "relu": lambda x, alpha, beta: tf.nn.relu(x),
    "softsign": lambda x, alpha, beta: x / (1 + tf.abs(x)),
    "softplus": lambda x, alpha, beta: tf.math.softplus(x),
    "hard_sigmoid": lambda x, alpha, beta: tf.clip_by_value(alpha * x + beta, 0.0, 1.0),
    "elu": lambda x, alpha, beta: tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0))),
    "leaky_relu": lambda x, alpha, beta: tf.where(x > 0, x, alpha * x),
    "thresholded_relu": lambda x, alpha, beta: tf.where(x > alpha, x, 0 * x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * tf.tanh(beta * x),
}


def gate_value(gate: Gate, x: Any) -> Any:
    """The function's value."""
    return _VALUES[gate.function](x, gate.alpha, gate.beta)
