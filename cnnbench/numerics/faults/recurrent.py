"""Faults of recurrent layers: gates, biases, directions, last states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call
from cnnbench.numerics.faults.base import Arrays, Fault, other_layer, other_operands, other_outputs, other_weights
from cnnbench.numerics.faults.configurations import Surroundings, surrounded
from cnnbench.spec.layers.recurrent import GRU, LSTM, gate_rows

_STEPS = Surroundings((5, 3))


def _without_recurrent_bias(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return inputs, (*weights[:-1], weights[-1] * 0), state, call


def _last_row(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0], outputs[0][:, -1], *outputs[2:])


FAULTS = (
    Fault(
        "lstm.gate_order",
        "lstm",
        "weights with their gates as i, f, g, o (PyTorch, Keras) read as i, o, f, g (ONNX)",
        surrounded(LSTM(hidden_size=4), _STEPS),
        operation=other_weights(lambda layer, name, a: a[list(gate_rows("iofg", "ifgo", layer.hidden_size))]),
    ),
    Fault(
        "lstm.bias_lost",
        "lstm",
        "the recurrent bias left out where PyTorch's two become Keras' one",
        surrounded(LSTM(hidden_size=4), _STEPS),
        operation=other_operands(_without_recurrent_bias),
    ),
    Fault(
        "lstm.not_reversed",
        "lstm",
        "the reverse direction reads the sequence from its beginning",
        surrounded(LSTM(hidden_size=4, reverse=True), _STEPS),
        operation=other_layer(lambda layer: replace(layer, reverse=False)),
    ),
    Fault(
        "lstm.last_row",
        "lstm",
        "the last h of the reverse direction taken from the end of the sequence, where it has read one step only",
        surrounded(LSTM(hidden_size=4, reverse=True), _STEPS),
        operation=other_outputs(_last_row),
    ),
    Fault(
        "gru.gate_order",
        "gru",
        "weights with their gates as r, z, n (PyTorch) read as z, r, n (Keras, ONNX)",
        surrounded(GRU(hidden_size=4), _STEPS),
        operation=other_weights(lambda layer, name, a: a[list(gate_rows("zrn", "rzn", layer.hidden_size))]),
    ),
    Fault(
        "gru.reset_before",
        "gru",
        "the reset gate applied to h before the product (the paper, ONNX's default) and not after it (PyTorch, cuDNN)",
        surrounded(GRU(hidden_size=4), _STEPS),
        operation=other_layer(lambda layer: replace(layer, reset="before")),
    ),
)
