"""Smooth activations.

Two of TensorFlow 2.21's own are not used, because they lose small results on the host. ``tf.nn.elu`` and ``selu``
compute exp(x) - 1, which cancels: elu(-1.28e-6) is off by 2%. Grappler replaces x tanh(softplus(x)) by oneDNN's mish,
which gives 0 from -20 down. In float64 ``tf.nn.gelu`` and ``silu`` round their constants and beta to float32 (errors
of 1e-8), so there the formulas are written out.
"""

from __future__ import annotations

import math
from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign
from cnnbench_tensorflow.framework import tf, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _times(factor: float, x: Any) -> Any:
    return x if factor == 1 else factor * x


@OPERATIONS.register("elu")
def elu(layer: ELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """A choice between x and alpha (exp(x) - 1)."""
    x = inputs[0]
    return OpResult((tf.where(x > 0, x, _times(layer.alpha, tf.math.expm1(tf.minimum(x, 0.0)))),))


@OPERATIONS.register("celu")
def celu(layer: CELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """As ELU, with x / alpha in the exponent."""
    x = inputs[0]
    return OpResult((tf.where(x > 0, x, layer.alpha * tf.math.expm1(tf.minimum(x, 0.0) / layer.alpha)),))


@OPERATIONS.register("selu")
def selu(layer: SELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """As ELU, scaled."""
    x = inputs[0]
    below = layer.ALPHA * layer.SCALE * tf.math.expm1(tf.minimum(x, 0.0))
    return OpResult((tf.where(x > 0, layer.SCALE * x, below),))


@OPERATIONS.register("gelu")
def gelu(layer: GELU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.gelu``, whose default is the exact form."""
    x = inputs[0]
    if x.dtype != tf.float64:
        return OpResult((tf.nn.gelu(x, approximate=layer.form == "tanh"),))
    if layer.form == "exact":
        return OpResult((0.5 * x * tf.math.erfc(-x * math.sqrt(0.5)),))
    return OpResult((0.5 * x * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),))


@OPERATIONS.register("silu")
def silu(layer: SiLU, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.silu``."""
    x = inputs[0]
    if x.dtype == tf.float64 and layer.beta != 1:
        return OpResult((x * tf.sigmoid(layer.beta * x),))
    return OpResult((tf.nn.silu(x, beta=layer.beta),))


@OPERATIONS.register("softplus")
def softplus(layer: Softplus, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.softplus``, which rounds each of its steps in bfloat16 and is therefore given float32."""
    x = wide(inputs[0])
    y = tf.nn.softplus(x) if layer.beta == 1 else tf.nn.softplus(layer.beta * x) / layer.beta
    return OpResult((tf.cast(y, inputs[0].dtype),))


@OPERATIONS.register("softsign")
def softsign(layer: Softsign, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.nn.softsign``."""
    return OpResult((tf.nn.softsign(inputs[0]),))


@OPERATIONS.register("mish")
def mish(layer: Mish, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """-x tanh(-softplus(x)): with two signs more than the pattern that Grappler looks for."""
    x = inputs[0]
    return OpResult((-x * tf.tanh(-tf.nn.softplus(x)),))
