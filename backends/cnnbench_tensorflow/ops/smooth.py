"""Smooth activations."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign
from cnnbench_tensorflow.framework import tf

Values = tuple[Any, ...]


def register(operations: Operations) -> None:
    """Adds this family's ops."""
    operations.register("elu")(elu)
    operations.register("celu")(celu)
    operations.register("selu")(selu)
    operations.register("gelu")(gelu)
    operations.register("silu")(silu)
    operations.register("softplus")(softplus)
    operations.register("softsign")(softsign)
    operations.register("mish")(mish)


def elu(layer: ELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.elu``, which has no alpha."""
    x = inputs[0]
    y = tf.nn.elu(x)
    return OpResult((y if layer.alpha == 1 else tf.where(x > 0, x, layer.alpha * y),))


def celu(layer: CELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """alpha elu(x / alpha) below 0."""
    x = inputs[0]
    return OpResult((tf.nn.relu(x) + layer.alpha * tf.nn.elu(tf.minimum(x, 0.0) / layer.alpha),))


def selu(layer: SELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.selu``."""
    return OpResult((tf.nn.selu(inputs[0]),))


def gelu(layer: GELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.gelu``, whose default is the exact form."""
    return OpResult((tf.nn.gelu(inputs[0], approximate=layer.form == "tanh"),))


def silu(layer: SiLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.silu``."""
    return OpResult((tf.nn.silu(inputs[0], beta=layer.beta),))


def softplus(layer: Softplus, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.softplus``."""
    x = inputs[0]
    return OpResult((tf.nn.softplus(x) if layer.beta == 1 else tf.nn.softplus(layer.beta * x) / layer.beta,))


def softsign(layer: Softsign, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.softsign``."""
    return OpResult((tf.nn.softsign(inputs[0]),))


def mish(layer: Mish, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """x tanh(softplus(x)), as Keras has it."""
    x = inputs[0]
    return OpResult((x * tf.tanh(tf.nn.softplus(x)),))
