"""Recurrent layers: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.recurrent import BidirectionalLSTM
from cnnbench.spec.layers.base import Shape
from cnnbench.spec.layers.recurrent import GRU, LSTM

# (steps, features), and start states: no two sizes equal, so that no axis can be taken for another.
STEPS: tuple[Shape, ...] = ((5, 3),)
STARTED: tuple[Shape, ...] = ((5, 3), (4,), (4,))

CASES = {
    "lstm/plain": LayerCase(LSTM(hidden_size=4), STEPS),
    "lstm/from_a_state": LayerCase(LSTM(hidden_size=4), STARTED, batch=3),
    "lstm/reverse": LayerCase(LSTM(hidden_size=4, reverse=True), STARTED),
    "lstm/onnx_gates": LayerCase(LSTM(hidden_size=4, gate_order="iofg"), STEPS),
    "lstm/one_bias": LayerCase(LSTM(hidden_size=4, biases="one"), STEPS),
    "lstm/no_bias": LayerCase(LSTM(hidden_size=4, biases="none"), STEPS),
    "lstm/one_step": LayerCase(LSTM(hidden_size=2), ((1, 1),), batch=1),
    "lstm/hidden_one": LayerCase(LSTM(hidden_size=1), STEPS),
    "lstm/saturated": LayerCase(LSTM(hidden_size=4), STEPS, scale=8.0),
    "lstm/long": LayerCase(LSTM(hidden_size=6), ((24, 3),)),
    "gru/plain": LayerCase(GRU(hidden_size=4), STEPS),
    "gru/from_a_state": LayerCase(GRU(hidden_size=4), STARTED[:2], batch=3),
    "gru/reverse": LayerCase(GRU(hidden_size=4, reverse=True), STARTED[:2]),
    "gru/keras_gates": LayerCase(GRU(hidden_size=4, gate_order="zrn"), STEPS),
    "gru/reset_before": LayerCase(GRU(hidden_size=4, reset="before"), STEPS),
    "gru/reset_before_one_bias": LayerCase(GRU(hidden_size=4, reset="before", gate_order="zrn", biases="one"), STEPS),
    "gru/no_bias": LayerCase(GRU(hidden_size=4, biases="none"), STEPS),
    "gru/before_no_bias_reverse": LayerCase(GRU(hidden_size=4, reset="before", biases="none", reverse=True), STEPS),
    "gru/one_step": LayerCase(GRU(hidden_size=2), ((1, 1),), batch=1),
    "gru/long": LayerCase(GRU(hidden_size=6), ((24, 3),)),
    "bidirectional_lstm/plain": LayerCase(BidirectionalLSTM(hidden_size=4), STEPS),
}
