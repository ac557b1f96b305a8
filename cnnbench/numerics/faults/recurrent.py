"""Faults of recurrent layers: gates, biases, what a step hands to the next, directions, last states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import (
    Arrays,
    Fault,
    OperationChange,
    choose,
    other_layer,
    other_operands,
    other_outputs,
    other_weights,
)
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.numerics.faults.engine.operands import FedOperands, fed
from cnnbench.spec.layers import Concat, Linear, Sigmoid, Tanh
from cnnbench.spec.layers.arithmetic import Clip, Elementwise
from cnnbench.spec.layers.gates import gate_rows
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN

_STEPS = SuspectNetwork((5, 3))
_STARTED = FedOperands(((5, 3), (4,), (4,)))
Cell = Callable[[Any, Arrays, Callable[..., Any]], Any]


def _without_recurrent_bias(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> Any:
    return inputs, (*weights[:-1], weights[-1] * 0), state, call


def _last_row(layer: Any, inputs: Arrays, outputs: Arrays, call: Call) -> Arrays:
    return (outputs[0], outputs[0][:, -1], *outputs[2:])


def _forgets_less(layer: Any, name: str, array: Any) -> Any:
    """One more for the forget gate in one of the biases."""
    if name != "bias_ih":
        return array
    changed = array.copy()
    at = layer.gate_order.index("f") * layer.hidden_size
    changed[at : at + layer.hidden_size] += 1
    return changed


def _stepwise(change: Callable[[Arrays, Operations, Call], Arrays]) -> OperationChange:
    """One call a step, with ``change`` of its (sequence, h, c) before the next."""

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            x, *carry = inputs
            rows = []
            for t in range(x.shape[1]):
                step = right.forward(layer, (x[:, t : t + 1], *carry), weights, state, call)
                row, *carry = change(step.outputs, table, call)
                rows.append(row)
            (sequence,) = table["concat"].forward(Concat(axis=1), tuple(rows), (), (), call).outputs
            return OpResult((sequence, *carry))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def _without_output_tanh(outputs: Arrays, table: Operations, call: Call) -> Arrays:
    """h = o c: the right h over tanh(c) is o."""
    row, h, c = outputs
    factor = c / table["tanh"].forward(Tanh(), (c,), (), (), call).outputs[0]
    return row * factor[:, None], h * factor, c


def _without_cell(outputs: Arrays, table: Operations, call: Call) -> Arrays:
    """The next step starts from a c of zeros."""
    row, h, c = outputs
    return row, h, c * 0


def _clipped_cell(outputs: Arrays, table: Operations, call: Call) -> Arrays:
    """c kept within 10."""
    row, h, c = outputs
    return row, h, choose(c > -10.0, choose(c < 10.0, c, 10.0), -10.0)


def _clipped_relu(outputs: Arrays, table: Operations, call: Call) -> Arrays:
    """min(max(a, 0), 20)."""
    return tuple(choose(y < 20.0, y, 20.0) for y in outputs)


def _made_of(cell: Cell) -> OperationChange:
    """One step after another by ``cell(layer, (W_ih x + b_ih, W_hh h + b_hh, h), apply)``, which gives the next h.

    ``apply(layer, x)`` is the backend's own op of that layer.
    """

    def build(right: Operation, table: Operations) -> Operation:
        def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
            def apply(other: Any, *values: Any, given: Arrays = ()) -> Any:
                return table[other.kind].forward(other, values, given, (), call).outputs[0]

            x, *start = inputs
            w_ih, w_hh, b_ih, b_hh = weights
            product = Linear(out_features=b_ih.shape[0])
            h = start[0] if start else apply(product, x[:, 0], given=(w_ih, b_ih))[:, : layer.hidden_size] * 0
            rows = []
            for t in range(x.shape[1]):
                read, kept = apply(product, x[:, t], given=(w_ih, b_ih)), apply(product, h, given=(w_hh, b_hh))
                h = cell(layer, (read, kept, h), apply)
                rows.append(h[:, None])
            return OpResult((apply(Concat(axis=1), *rows), h))

        return Operation(forward, right.backward, right.weight_layout)

    return build


def _clipped_gates(layer: GRU, known: Arrays, apply: Callable[..., Any]) -> Any:
    """Gates whose arguments are kept within 8."""
    (read, kept, h), size = known, layer.hidden_size
    gates = apply(Sigmoid(), apply(Clip(minimum=-8.0, maximum=8.0), read[:, : 2 * size] + kept[:, : 2 * size]))
    r, z = gates[:, :size], gates[:, size:]
    n = apply(Tanh(), read[:, 2 * size :] + r * kept[:, 2 * size :])
    return (1 - z) * n + z * h


def _overflowing_tanh(layer: RNN, known: Arrays, apply: Callable[..., Any]) -> Any:
    """(e^2a - 1) / (e^2a + 1)."""
    power = apply(Elementwise(function="exp"), 2 * (known[0] + known[1]))
    return (power - 1) / (power + 1)


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
        "lstm.forget_bias",
        "lstm",
        "1 added to the forget gate at each step (TensorFlow 1's LSTMCell) to weights that were trained without",
        surrounded(LSTM(hidden_size=4), _STEPS),
        operation=other_weights(_forgets_less),
    ),
    Fault(
        "lstm.cell_activation",
        "lstm",
        "h as o c without the tanh of c (an activation of the cell set to none)",
        surrounded(LSTM(hidden_size=4), _STEPS),
        operation=_stepwise(_without_output_tanh),
    ),
    Fault(
        "lstm.cell_not_carried",
        "lstm",
        "each step starts from a cell of zeros: h alone is handed on",
        surrounded(LSTM(hidden_size=4), _STEPS),
        operation=_stepwise(_without_cell),
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
        "lstm.clipped",
        "lstm",
        "the cell kept within 10 (cell_clip of TensorFlow 1's LSTMCell, clipping in cuDNN)",
        fed(LSTM(hidden_size=4), _STARTED),
        operation=_stepwise(_clipped_cell),
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
    Fault(
        "gru.hard_gates",
        "gru",
        "gates by a hard sigmoid (Keras 1 and 2, cells for small devices) where the model has the sigmoid",
        surrounded(GRU(hidden_size=4), _STEPS),
        operation=other_layer(
            lambda layer: replace(layer, activations=("hard_sigmoid", "tanh"), alpha=(0.2, 0.0), beta=(0.5, 0.0))
        ),
    ),
    Fault(
        "gru.clipped",
        "gru",
        "arguments of the gates kept within 8, as by a table of the sigmoid (kernels for small devices)",
        surrounded(GRU(hidden_size=4), _STEPS),
        operation=_made_of(_clipped_gates),
    ),
    Fault(
        "rnn.clipped",
        "rnn",
        "ReLU that ends at 20 (Deep Speech's) where the model has the plain one",
        surrounded(RNN(hidden_size=4, activations=("relu",)), _STEPS),
        operation=_stepwise(_clipped_relu),
    ),
    Fault(
        "rnn.overflowing_tanh",
        "rnn",
        "tanh as (e^2a - 1) / (e^2a + 1), which is no number above 44",
        surrounded(RNN(hidden_size=4), _STEPS),
        operation=_made_of(_overflowing_tanh),
    ),
    Fault(
        "rnn.relu",
        "rnn",
        "ReLU where the model has tanh (the attribute nonlinearity lost)",
        surrounded(RNN(hidden_size=4), _STEPS),
        operation=other_layer(lambda layer: replace(layer, activations=("relu",))),
    ),
    Fault(
        "rnn.not_reversed",
        "rnn",
        "the reverse direction reads the sequence from its beginning",
        surrounded(RNN(hidden_size=4, reverse=True), _STEPS),
        operation=other_layer(lambda layer: replace(layer, reverse=False)),
    ),
    Fault(
        "rnn.bias_lost",
        "rnn",
        "the recurrent bias left out where PyTorch's two become Keras' one",
        surrounded(RNN(hidden_size=4), _STEPS),
        operation=other_operands(_without_recurrent_bias),
    ),
)
