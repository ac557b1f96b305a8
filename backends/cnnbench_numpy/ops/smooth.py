"""Reference smooth activations: exponential units, Gaussian and sigmoid gates, softplus and its kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign
from cnnbench_numpy.erf import erfc
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays

TANH_FACTOR = math.sqrt(2 / math.pi)
TANH_CUBE = 0.044715
BENT = 30.0  # beyond, tanh is 1 and its slope 0 in float64, too: x^2 need not be finite


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, and without cancellation where it is small."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


def _softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def elu_backward(layer: ELU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where x > 0, alpha exp(x) dy elsewhere."""
    slope = np.where(saved > 0, 1, layer.alpha * np.exp(np.minimum(saved, 0)))
    return Gradients((slope * gradients[0],))


@REFERENCE.register("elu", backward=elu_backward)
def elu(layer: ELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x or alpha (exp(x) - 1)."""
    x = inputs[0]
    return OpResult((np.where(x > 0, x, layer.alpha * np.expm1(np.minimum(x, 0))),), saved=x)


def celu_backward(layer: CELU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy where x > 0, exp(x / alpha) dy elsewhere."""
    return Gradients((np.exp(np.minimum(saved, 0) / layer.alpha) * gradients[0],))


@REFERENCE.register("celu", backward=celu_backward)
def celu(layer: CELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1)."""
    x = inputs[0]
    return OpResult((np.maximum(x, 0) + layer.alpha * np.expm1(np.minimum(x, 0) / layer.alpha),), saved=x)


def selu_backward(layer: SELU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """scale dy where x > 0, scale alpha exp(x) dy elsewhere."""
    slope = np.where(saved > 0, 1, layer.ALPHA * np.exp(np.minimum(saved, 0)))
    return Gradients((layer.SCALE * slope * gradients[0],))


@REFERENCE.register("selu", backward=selu_backward)
def selu(layer: SELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """scale x or scale alpha (exp(x) - 1)."""
    x = inputs[0]
    y = layer.SCALE * np.where(x > 0, x, layer.ALPHA * np.expm1(np.minimum(x, 0)))
    return OpResult((y,), saved=x)


def gelu_backward(layer: GELU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """Exact: Phi(x) + x phi(x); tanh form: its derivative by the chain rule."""
    x, dy = saved, gradients[0]
    if layer.form == "exact":
        density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return Gradients(((0.5 * erfc(-x * math.sqrt(0.5)) + x * density) * dy,))
    bent = np.clip(x, -BENT, BENT)
    t = np.tanh(TANH_FACTOR * (bent + TANH_CUBE * bent * bent * bent))
    inner = TANH_FACTOR * (1 + 3 * TANH_CUBE * bent * bent)
    return Gradients(((0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner) * dy,))


@REFERENCE.register("gelu", backward=gelu_backward)
def gelu(layer: GELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x Phi(x), Phi(x) = erfc(-x / sqrt 2) / 2; or the form with tanh."""
    x = inputs[0]
    if layer.form == "exact":
        return OpResult((0.5 * x * erfc(-x * math.sqrt(0.5)),), saved=x)
    return OpResult((0.5 * x * (1 + np.tanh(TANH_FACTOR * (x + TANH_CUBE * x * x * x))),), saved=x)


def silu_backward(layer: SiLU, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """s + beta x s (1 - s), s the gate."""
    scaled = layer.beta * saved
    gate = _sigmoid(scaled)
    return Gradients((gate * (1 + scaled * _sigmoid(-scaled)) * gradients[0],))


@REFERENCE.register("silu", backward=silu_backward)
def silu(layer: SiLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x sigmoid(beta x)."""
    x = inputs[0]
    return OpResult((x * _sigmoid(layer.beta * x),), saved=x)


def softplus_backward(layer: Softplus, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """sigmoid(beta x) dy."""
    return Gradients((_sigmoid(layer.beta * saved) * gradients[0],))


@REFERENCE.register("softplus", backward=softplus_backward)
def softplus(layer: Softplus, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """log(1 + exp(beta x)) / beta."""
    return OpResult((_softplus(layer.beta * inputs[0]) / layer.beta,), saved=inputs[0])


def softsign_backward(layer: Softsign, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """dy / (1 + |x|)^2."""
    return Gradients((gradients[0] / np.square(1 + np.abs(saved)),))


@REFERENCE.register("softsign", backward=softsign_backward)
def softsign(layer: Softsign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x / (1 + |x|)."""
    x = inputs[0]
    return OpResult((x / (1 + np.abs(x)),), saved=x)


def mish_backward(layer: Mish, saved: Any, gradients: Arrays, weights: Arrays, call: Call) -> Gradients:
    """t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x))."""
    x = saved
    t = np.tanh(_softplus(x))
    return Gradients(((t + x * (1 - t * t) * _sigmoid(x)) * gradients[0],))


@REFERENCE.register("mish", backward=mish_backward)
def mish(layer: Mish, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """x tanh(softplus(x))."""
    x = inputs[0]
    return OpResult((x * np.tanh(_softplus(x)),), saved=x)
