"""Recurrent layers, by PyTorch's own kernels for whole sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult, WeightLayout
from cnnbench.spec.layers.gates import gate_rows
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench_torch.ops.gates import gate_value
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]

LSTM_FUNCTIONS = ("sigmoid", "tanh", "tanh")  # of PyTorch's own kernels
GRU_FUNCTIONS = ("sigmoid", "tanh")


def _reordered(native: str) -> WeightLayout:
    """Weights are held with their gates in PyTorch's order."""

    def to_native(layer: Any, name: str, array: Any, channels_last: bool) -> Any:
        return np.asarray(array)[list(gate_rows(layer.gate_order, native, layer.hidden_size))]

    def to_canonical(layer: Any, name: str, array: Any, channels_last: bool) -> Any:
        return np.asarray(array)[list(gate_rows(native, layer.gate_order, layer.hidden_size))]

    return WeightLayout(to_native, to_canonical)


def _parameters(weights: Tensors) -> list[Tensor]:
    """Two weights and two biases, or two weights: a single bias is joined by zeros."""
    return [*weights, torch.zeros_like(weights[2])] if len(weights) == 3 else list(weights)


def _sequence(layer: LSTM | GRU | RNN, x: Tensor) -> Tensor:
    return x.flip(1) if layer.reverse else x


def _starts(layer: LSTM | GRU | RNN, inputs: Tensors, count: int) -> Tensors:
    """The start states as (1, N, H)."""
    zeros = inputs[0].new_zeros(1, inputs[0].shape[0], layer.hidden_size)
    return tuple(value.unsqueeze(0) for value in inputs[1:]) or (zeros,) * count


@OPERATIONS.register("lstm", weight_layout=_reordered("ifgo"))
def lstm(layer: LSTM, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.lstm``, which ``torch.nn.LSTM`` calls; the reverse direction reads a flipped copy. Step by step where
    its functions are others.

    Compiled for the host, it hands its gradient a workspace that was never made (PyTorch 2.13): the gradients of the
    weights are refused, or wrong. So it goes step by step where it is compiled.
    """
    starts = _starts(layer, inputs, 2)
    if layer.activations != LSTM_FUNCTIONS or torch.compiler.is_compiling():
        return _lstm_by_steps(layer, inputs[0], starts[0][0], starts[1][0], weights)
    has_biases = layer.biases != "none"
    y, h, c = torch.lstm(
        _sequence(layer, inputs[0]),
        starts,
        _parameters(weights),
        has_biases,
        num_layers=1,
        dropout=0.0,
        train=call.training,
        bidirectional=False,
        batch_first=True,
    )
    return OpResult((_sequence(layer, y), h[0], c[0]))


def _lstm_by_steps(layer: LSTM, x: Tensor, h: Tensor, c: Tensor, weights: Tensors) -> OpResult:
    """The products with the input in one, the rest step by step."""
    outer, cell, shown = layer.gates()
    outputs: list[Tensor] = []
    for step in _projected(layer, x, weights).unbind(1):
        i, f, g, o = (step + h @ weights[1].T).chunk(4, 1)
        c = gate_value(outer, f) * c + gate_value(outer, i) * gate_value(cell, g)
        h = gate_value(outer, o) * gate_value(shown, c)
        outputs.append(h)
    return OpResult((_sequence(layer, torch.stack(outputs, 1)), h, c))


def _projected(layer: LSTM | GRU | RNN, x: Tensor, weights: Tensors) -> Tensor:
    """W_ih x and all biases, in the order in which the layer reads the sequence."""
    biases = weights[2:]
    return _sequence(layer, torch.nn.functional.linear(x, weights[0], sum(biases[1:], biases[0]) if biases else None))


@OPERATIONS.register("gru", weight_layout=_reordered("rzn"))
def gru(layer: GRU, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.gru``, whose reset gate acts after the product; step by step where it acts before, or other functions.

    Step by step where it is compiled, too: of ``torch.gru`` and a view of its last state, Inductor (PyTorch 2.13, on
    the host) overwrites a buffer that the gradient of the recurrent weights still needs.
    """
    start = _starts(layer, inputs, 1)[0]
    if layer.reset == "before":
        return _gru_before(layer, inputs[0], start[0], weights)
    if layer.activations != GRU_FUNCTIONS or torch.compiler.is_compiling():
        return _gru_by_steps(layer, inputs[0], start[0], weights)
    y, h = _native(torch.gru, layer, (inputs[0], start), weights, call)
    return OpResult((_sequence(layer, y), h[0]))


def _native(function: Any, layer: GRU | RNN, operands: Tensors, weights: Tensors, call: Call) -> tuple[Tensor, Tensor]:
    """A function of PyTorch over the whole sequence, in one layer and one direction: its values and its last state."""
    x, start = operands
    y, h = function(
        _sequence(layer, x),
        start,
        _parameters(weights),
        layer.biases != "none",
        num_layers=1,
        dropout=0.0,
        train=call.training,
        bidirectional=False,
        batch_first=True,
    )
    return y, h


def _gru_by_steps(layer: GRU, x: Tensor, h: Tensor, weights: Tensors) -> OpResult:
    """n = tanh(W x + b + r (W_hh h + b_hh)): the products with the input in one, the rest step by step."""
    w_ih, w_hh, *biases = weights
    b_ih, b_hh = biases or (None, None)
    size = layer.hidden_size
    outer, candidate = layer.gates()
    outputs: list[Tensor] = []
    for step in _sequence(layer, torch.nn.functional.linear(x, w_ih, b_ih)).unbind(1):
        recurrent = torch.nn.functional.linear(h, w_hh, b_hh)
        r, z = gate_value(outer, step[:, : 2 * size] + recurrent[:, : 2 * size]).chunk(2, 1)
        n = gate_value(candidate, step[:, 2 * size :] + r * recurrent[:, 2 * size :])
        h = n + z * (h - n)
        outputs.append(h)
    return OpResult((_sequence(layer, torch.stack(outputs, 1)), h))


def _gru_before(layer: GRU, x: Tensor, h: Tensor, weights: Tensors) -> OpResult:
    """n = tanh(W x + b + W_hh (r h)): the products with the input in one, the rest step by step."""
    w_hh, size = weights[1], layer.hidden_size
    outer, candidate = layer.gates()
    outputs: list[Tensor] = []
    for step in _projected(layer, x, weights).unbind(1):
        gates = gate_value(outer, step[:, : 2 * size] + h @ w_hh[: 2 * size].T)
        r, z = gates.chunk(2, 1)
        n = gate_value(candidate, step[:, 2 * size :] + (r * h) @ w_hh[2 * size :].T)
        h = n + z * (h - n)
        outputs.append(h)
    return OpResult((_sequence(layer, torch.stack(outputs, 1)), h))


@OPERATIONS.register("rnn")
def rnn(layer: RNN, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.rnn_tanh`` and ``torch.rnn_relu``; step by step for other functions, and where it is compiled."""
    start = _starts(layer, inputs, 1)[0]
    native = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}.get(layer.activations[0])
    if native is None or torch.compiler.is_compiling():
        return _rnn_by_steps(layer, inputs[0], start[0], weights)
    y, h = _native(native, layer, (inputs[0], start), weights, call)
    return OpResult((_sequence(layer, y), h[0]))


def _rnn_by_steps(layer: RNN, x: Tensor, h: Tensor, weights: Tensors) -> OpResult:
    """The products with the input in one, the rest step by step."""
    (gate,) = layer.gates()
    outputs: list[Tensor] = []
    for step in _projected(layer, x, weights).unbind(1):
        h = gate_value(gate, step + h @ weights[1].T)
        outputs.append(h)
    return OpResult((_sequence(layer, torch.stack(outputs, 1)), h))
