"""Recurrent layers: the products with the input in one, then ``lax.scan`` over the steps."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench_jax.ops.gates import gate_value
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _product(x: Array, weight: Array) -> Array:
    """x W^T over the last axes."""
    dimensions = (((x.ndim - 1,), (1,)), ((), ()))
    return lax.dot_general(x, weight, dimensions, precision=lax.Precision.HIGHEST)


def _starts(layer: LSTM | GRU | RNN, inputs: Arrays, count: int) -> Arrays:
    x = inputs[0]
    return inputs[1:] or (jnp.zeros((x.shape[0], layer.hidden_size), x.dtype),) * count


def _scan(
    layer: LSTM | GRU | RNN, step: Callable[[Arrays, Array], tuple[Arrays, Array]], starts: Arrays, steps: Array
) -> tuple[Arrays, Array]:
    """The carry after the last step, and what every step gave as (N, T, H)."""
    carry, outputs = lax.scan(step, starts, jnp.swapaxes(steps, 0, 1), reverse=layer.reverse)
    return carry, jnp.swapaxes(outputs, 0, 1)


@OPERATIONS.register("lstm")
def lstm(layer: LSTM, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """c <- sigmoid(f) c + sigmoid(i) tanh(g); h <- sigmoid(o) tanh(c)."""
    w_ih, w_hh, *biases = weights
    projected = sum(biases, _product(inputs[0], w_ih))
    outer, cell, shown = layer.gates()

    def step(carry: Arrays, a: Array) -> tuple[Arrays, Array]:
        h, c = carry
        gates = dict(zip(layer.gate_order, jnp.split(a + _product(h, w_hh), 4, axis=1), strict=True))
        c = gate_value(outer, gates["f"]) * c + gate_value(outer, gates["i"]) * gate_value(cell, gates["g"])
        h = gate_value(outer, gates["o"]) * gate_value(shown, c)
        return (h, c), h

    (h, c), sequence = _scan(layer, step, _starts(layer, inputs, 2), projected)
    return OpResult((sequence, h, c))


@OPERATIONS.register("gru")
def gru(layer: GRU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """h <- (1 - z) n + z h."""
    w_ih, w_hh, *biases = weights
    size = layer.hidden_size
    both = layer.reset == "after"
    # With the reset gate after the product, the recurrent bias stays with the recurrent product.
    projected = sum(biases[:1] if both else biases, _product(inputs[0], w_ih))
    outer, candidate = layer.gates()
    recurrent_bias = biases[1] if both and biases else jnp.zeros((3 * size,), projected.dtype)

    def step(carry: Arrays, a: Array) -> tuple[Arrays, Array]:
        (h,) = carry
        rows = 3 * size if both else 2 * size
        b = _product(h, w_hh[:rows]) + recurrent_bias[:rows]
        gates = gate_value(outer, a[:, : 2 * size] + b[:, : 2 * size])
        r, z = (gates[:, size * i : size * (i + 1)] for i in map(layer.gate_order.index, "rz"))
        inner = r * b[:, 2 * size :] if both else _product(r * h, w_hh[2 * size :])
        n = gate_value(candidate, a[:, 2 * size :] + inner)
        h = (1 - z) * n + z * h
        return (h,), h

    (h,), sequence = _scan(layer, step, _starts(layer, inputs, 1), projected)
    return OpResult((sequence, h))


@OPERATIONS.register("rnn")
def rnn(layer: RNN, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """h <- f(W_ih x + b_ih + W_hh h + b_hh)."""
    w_ih, w_hh, *biases = weights
    (gate,) = layer.gates()

    def step(carry: Arrays, a: Array) -> tuple[Arrays, Array]:
        h = gate_value(gate, a + _product(carry[0], w_hh))
        return (h,), h

    projected = sum(biases, _product(inputs[0], w_ih))
    (h,), sequence = _scan(layer, step, _starts(layer, inputs, 1), projected)
    return OpResult((sequence, h))
