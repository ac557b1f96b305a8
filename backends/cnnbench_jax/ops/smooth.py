"""Smooth activations."""

from __future__ import annotations

import jax
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.smooth import CELU, ELU, GELU, SELU, Mish, SiLU, Softplus, Softsign
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


@OPERATIONS.register("elu")
def elu(layer: ELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.elu``."""
    return OpResult((jax.nn.elu(inputs[0], layer.alpha),))


@OPERATIONS.register("celu")
def celu(layer: CELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.celu``."""
    return OpResult((jax.nn.celu(inputs[0], layer.alpha),))


@OPERATIONS.register("selu")
def selu(layer: SELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.selu``."""
    return OpResult((jax.nn.selu(inputs[0]),))


@OPERATIONS.register("gelu")
def gelu(layer: GELU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.gelu``, whose default is the form with tanh."""
    return OpResult((jax.nn.gelu(inputs[0], approximate=layer.form == "tanh"),))


@OPERATIONS.register("silu")
def silu(layer: SiLU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.silu`` for a beta of 1, else x times a sigmoid."""
    x = inputs[0]
    return OpResult((jax.nn.silu(x) if layer.beta == 1 else x * jax.nn.sigmoid(layer.beta * x),))


@OPERATIONS.register("softplus")
def softplus(layer: Softplus, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.softplus``."""
    x = inputs[0]
    return OpResult((jax.nn.softplus(x) if layer.beta == 1 else jax.nn.softplus(layer.beta * x) / layer.beta,))


@OPERATIONS.register("softsign")
def softsign(layer: Softsign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.soft_sign``."""
    return OpResult((jax.nn.soft_sign(inputs[0]),))


@OPERATIONS.register("mish")
def mish(layer: Mish, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``jax.nn.mish``."""
    return OpResult((jax.nn.mish(inputs[0]),))
