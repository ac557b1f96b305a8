"""Recurrent layers: cases shared by all backends."""

from __future__ import annotations

from typing import Any, Literal

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.composites.recurrent import BidirectionalGRU, BidirectionalLSTM, BidirectionalRNN
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.gates import GateFunction
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN

# (steps, features), and start states: no two sizes equal, so that no axis can be taken for another.
STEPS: tuple[Shape, ...] = ((5, 3),)
STARTED: tuple[Shape, ...] = ((5, 3), (4,), (4,))

# Each function in every gate of some case.
LSTM_FUNCTIONS: tuple[tuple[GateFunction, ...], ...] = (
    ("hard_sigmoid", "softsign", "scaled_tanh"),
    ("sigmoid", "elu", "relu"),
    ("softsign", "leaky_relu", "affine"),
    ("hard_sigmoid", "affine", "softplus"),
)
GRU_FUNCTIONS: tuple[tuple[GateFunction, ...], ...] = (
    ("hard_sigmoid", "leaky_relu"),
    ("softsign", "thresholded_relu"),
    ("scaled_tanh", "elu"),
)
RESETS: tuple[Literal["after", "before"], ...] = ("after", "before", "after")
_ALPHA = {
    "hard_sigmoid": 0.3,
    "scaled_tanh": 0.8,
    "elu": 0.7,
    "leaky_relu": 0.2,
    "affine": 0.6,
    "thresholded_relu": 0.4,
}
_BETA = {"hard_sigmoid": 0.45, "scaled_tanh": 1.3, "affine": -0.1}


def _numbers(activations: tuple[GateFunction, ...]) -> dict[str, Any]:
    return {
        "alpha": tuple(_ALPHA.get(name, 0.0) for name in activations),
        "beta": tuple(_BETA.get(name, 0.0) for name in activations),
    }


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
    "bidirectional_lstm/from_a_state": LayerCase(BidirectionalLSTM(hidden_size=4), ((5, 3), (8,), (8,)), batch=3),
    "bidirectional_gru/plain": LayerCase(BidirectionalGRU(hidden_size=4), STEPS),
    "bidirectional_gru/from_a_state": LayerCase(BidirectionalGRU(hidden_size=4, reset="before"), ((5, 3), (8,))),
    "bidirectional_rnn/plain": LayerCase(BidirectionalRNN(hidden_size=4), STEPS),
    "rnn/plain": LayerCase(RNN(hidden_size=4), STEPS),
    "rnn/from_a_state": LayerCase(RNN(hidden_size=4), STARTED[:2], batch=3),
    "rnn/reverse": LayerCase(RNN(hidden_size=4, reverse=True), STARTED[:2]),
    "rnn/one_bias": LayerCase(RNN(hidden_size=4, biases="one"), STEPS),
    "rnn/no_bias": LayerCase(RNN(hidden_size=4, biases="none"), STEPS),
    "rnn/one_step": LayerCase(RNN(hidden_size=2), ((1, 1),), batch=1),
    "rnn/long": LayerCase(RNN(hidden_size=6), ((24, 3),)),
    "rnn/relu": LayerCase(RNN(hidden_size=4, activations=("relu",)), STEPS, scale=0.7),
    **{
        f"lstm/{'_'.join(names)}": LayerCase(LSTM(hidden_size=4, activations=names, **_numbers(names)), STARTED)
        for names in LSTM_FUNCTIONS
    },
    **{
        f"gru/{'_'.join(names)}_{reset}": LayerCase(
            GRU(hidden_size=4, activations=names, reset=reset, **_numbers(names)), STARTED[:2]
        )
        for names, reset in zip(GRU_FUNCTIONS, RESETS, strict=True)
    },
}
