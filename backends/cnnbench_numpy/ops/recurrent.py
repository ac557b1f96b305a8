"""Reference recurrent layers: LSTM, GRU and RNN, forward and back through time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cnnbench.execution.operations import Call, Gradients, OpResult
from cnnbench.spec.layers.gates import gate_rows
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench_numpy.ops.gates import gate_slope, gate_value
from cnnbench_numpy.ops.registry import REFERENCE, Array, Arrays

LSTM_ORDER = "ifgo"
GRU_ORDER = "rzn"
RNN_ORDER = "h"


class _Parameters(NamedTuple):
    """Weights with the gates in this module's order; a bias that the layer does not have is zero."""

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array


def _parameters(layer: LSTM | GRU | RNN, weights: Arrays, native: str) -> _Parameters:
    rows = list(gate_rows(_order_of(layer), native, layer.hidden_size))
    w_ih, w_hh, *biases = (w[rows] for w in weights)
    none = np.zeros(len(rows), w_ih.dtype)
    return _Parameters(w_ih, w_hh, *(*biases, none, none)[:2])


def _weight_gradients(layer: LSTM | GRU | RNN, found: _Parameters, native: str) -> Arrays:
    """Gradients of the weights that the layer has, in its own order of gates."""
    rows = list(gate_rows(native, _order_of(layer), layer.hidden_size))
    count = {"two": 4, "one": 3, "none": 2}[layer.biases]
    return tuple(g[rows] for g in found[:count])


def _order_of(layer: LSTM | GRU | RNN) -> str:
    """The order of the gates; an RNN has one."""
    return RNN_ORDER if isinstance(layer, RNN) else layer.gate_order


def _order(layer: LSTM | GRU | RNN, steps: int) -> range:
    """The steps in the order in which they are read."""
    return range(steps - 1, -1, -1) if layer.reverse else range(steps)


def _starts(layer: LSTM | GRU | RNN, inputs: Arrays, count: int) -> Arrays:
    x = inputs[0]
    return inputs[1:] or tuple(np.zeros((x.shape[0], layer.hidden_size), x.dtype) for _ in range(count))


class _LSTMStep(NamedTuple):
    """What one step leaves for its backward: h and c before it, the gates' arguments and values, c and h's factor."""

    h: Array
    c: Array
    arguments: list[Array]
    i: Array
    f: Array
    g: Array
    o: Array
    after: Array
    shown: Array


def lstm_backward(layer: LSTM, saved: Any, gradients: Any, weights: Arrays, call: Call) -> Gradients:
    """The same steps in the opposite order, dh and dc carried from each to the one before it."""
    inputs, steps = saved
    x = inputs[0]
    p = _parameters(layer, weights, LSTM_ORDER)
    total = _Parameters(*map(np.zeros_like, p))
    outer, cell, shown = layer.gates()
    d_sequence, dh, dc = (
        np.zeros(shape, x.dtype) if g is None else g
        for g, shape in zip(gradients, layer.output_shapes(tuple(v.shape for v in inputs)), strict=True)
    )
    dx = np.empty_like(x)
    for t in reversed(_order(layer, x.shape[1])):
        h, c, (ai, af, ag, ao), i, f, g, o, after, factor = steps[t]
        dh = dh + d_sequence[:, t]
        dc = dc + dh * o * gate_slope(shown, after, factor)
        gates = (
            dc * g * gate_slope(outer, ai, i),
            dc * c * gate_slope(outer, af, f),
            dc * i * gate_slope(cell, ag, g),
            dh * factor * gate_slope(outer, ao, o),
        )
        da = np.concatenate(gates, axis=1)
        dx[:, t] = da @ p.w_ih
        total = _Parameters(total.w_ih + da.T @ x[:, t], total.w_hh + da.T @ h, *(total[2] + da.sum(axis=0),) * 2)
        dh, dc = da @ p.w_hh, dc * f
    starts = (dh, dc) if len(inputs) > 1 else ()
    return Gradients((dx, *starts), _weight_gradients(layer, total, LSTM_ORDER))


@REFERENCE.register("lstm", backward=lstm_backward)
def lstm(layer: LSTM, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """c <- sigmoid(f) c + sigmoid(i) tanh(g); h <- sigmoid(o) tanh(c), step by step, or the layer's other functions."""
    x = inputs[0]
    p = _parameters(layer, weights, LSTM_ORDER)
    h, c = _starts(layer, inputs, 2)
    outer, cell, shown = layer.gates()
    sequence = np.empty((*x.shape[:2], layer.hidden_size), x.dtype)
    steps: dict[int, _LSTMStep] = {}
    for t in _order(layer, x.shape[1]):
        arguments = np.split(x[:, t] @ p.w_ih.T + p.b_ih + h @ p.w_hh.T + p.b_hh, 4, axis=1)
        i, f, g, o = map(gate_value, (outer, outer, cell, outer), arguments)
        before = h, c
        c = f * c + i * g
        factor = gate_value(shown, c)
        h = o * factor
        sequence[:, t] = h
        steps[t] = _LSTMStep(*before, arguments, i, f, g, o, c, factor)
    return OpResult((sequence, h, c), saved=(inputs, steps))


class _GRUStep(NamedTuple):
    """What one step leaves for its backward: h before it, the gates' arguments and values, W_hh h + b_hh of n."""

    h: Array
    arguments: tuple[Array, Array, Array]
    r: Array
    z: Array
    n: Array
    recurrent: Array


def gru_backward(layer: GRU, saved: Any, gradients: Any, weights: Arrays, call: Call) -> Gradients:
    """The same steps in the opposite order, dh carried from each to the one before it."""
    inputs, steps = saved
    x, size = inputs[0], layer.hidden_size
    p = _parameters(layer, weights, GRU_ORDER)
    total = _Parameters(*map(np.zeros_like, p))
    d_sequence, dh = (
        np.zeros(shape, x.dtype) if g is None else g
        for g, shape in zip(gradients, layer.output_shapes(tuple(v.shape for v in inputs)), strict=True)
    )
    dx = np.empty_like(x)
    w_gates, w_n = p.w_hh[: 2 * size], p.w_hh[2 * size :]
    outer, candidate = layer.gates()
    for t in reversed(_order(layer, x.shape[1])):
        h, (ar, az, an), r, z, n, recurrent = steps[t]
        dh = dh + d_sequence[:, t]
        dn = dh * (1 - z) * gate_slope(candidate, an, n)
        # d_recurrent: of W_hh (...) + b_hh of the candidate; factor: what W_hh multiplies there
        if layer.reset == "after":
            d_recurrent, factor = dn * r, h
            dr, through = dn * recurrent, d_recurrent @ w_n
        else:
            d_recurrent, factor = dn, r * h
            dr, through = (dn @ w_n) * h, (dn @ w_n) * r
        gates = np.concatenate((dr * gate_slope(outer, ar, r), dh * (h - n) * gate_slope(outer, az, z)), axis=1)
        da = np.concatenate((gates, dn), axis=1)
        d_hidden = np.concatenate((gates, d_recurrent), axis=1)
        dx[:, t] = da @ p.w_ih
        dw_hh = np.concatenate((gates.T @ h, d_recurrent.T @ factor), axis=0)
        found = _Parameters(da.T @ x[:, t], dw_hh, da.sum(axis=0), d_hidden.sum(axis=0))
        total = _Parameters(*(sum_ + new for sum_, new in zip(total, found, strict=True)))
        dh = dh * z + gates @ w_gates + through
    return Gradients((dx, dh) if len(inputs) > 1 else (dx,), _weight_gradients(layer, total, GRU_ORDER))


@REFERENCE.register("gru", backward=gru_backward)
def gru(layer: GRU, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """h <- (1 - z) n + z h, step by step."""
    x, size = inputs[0], layer.hidden_size
    p = _parameters(layer, weights, GRU_ORDER)
    (h,) = _starts(layer, inputs, 1)
    outer, candidate = layer.gates()
    sequence = np.empty((*x.shape[:2], size), x.dtype)
    steps: dict[int, _GRUStep] = {}
    for t in _order(layer, x.shape[1]):
        a = x[:, t] @ p.w_ih.T + p.b_ih
        gates = a[:, : 2 * size] + h @ p.w_hh[: 2 * size].T + p.b_hh[: 2 * size]
        ar, az = np.split(gates, 2, axis=1)
        r, z = gate_value(outer, ar), gate_value(outer, az)
        w_n, b_n = p.w_hh[2 * size :], p.b_hh[2 * size :]
        recurrent = h @ w_n.T + b_n if layer.reset == "after" else (r * h) @ w_n.T + b_n
        an = a[:, 2 * size :] + (r * recurrent if layer.reset == "after" else recurrent)
        n = gate_value(candidate, an)
        steps[t] = _GRUStep(h, (ar, az, an), r, z, n, recurrent)
        h = (1 - z) * n + z * h
        sequence[:, t] = h
    return OpResult((sequence, h), saved=(inputs, steps))


def rnn_backward(layer: RNN, saved: Any, gradients: Any, weights: Arrays, call: Call) -> Gradients:
    """The same steps in the opposite order, dh carried from each to the one before it."""
    inputs, steps = saved
    x, (gate,) = inputs[0], layer.gates()
    p = _parameters(layer, weights, RNN_ORDER)
    total = _Parameters(*map(np.zeros_like, p))
    d_sequence, dh = (
        np.zeros(shape, x.dtype) if g is None else g
        for g, shape in zip(gradients, layer.output_shapes(tuple(v.shape for v in inputs)), strict=True)
    )
    dx = np.empty_like(x)
    for t in reversed(_order(layer, x.shape[1])):
        before, argument, h = steps[t]
        da = (dh + d_sequence[:, t]) * gate_slope(gate, argument, h)
        dx[:, t] = da @ p.w_ih
        total = _Parameters(total.w_ih + da.T @ x[:, t], total.w_hh + da.T @ before, *(total[2] + da.sum(axis=0),) * 2)
        dh = da @ p.w_hh
    return Gradients((dx, dh) if len(inputs) > 1 else (dx,), _weight_gradients(layer, total, RNN_ORDER))


@REFERENCE.register("rnn", backward=rnn_backward)
def rnn(layer: RNN, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """h <- f(W_ih x + b_ih + W_hh h + b_hh), step by step."""
    x, (gate,) = inputs[0], layer.gates()
    p = _parameters(layer, weights, RNN_ORDER)
    (h,) = _starts(layer, inputs, 1)
    sequence = np.empty((*x.shape[:2], layer.hidden_size), x.dtype)
    steps: dict[int, tuple[Array, Array, Array]] = {}
    for t in _order(layer, x.shape[1]):
        before, argument = h, x[:, t] @ p.w_ih.T + p.b_ih + h @ p.w_hh.T + p.b_hh
        h = gate_value(gate, argument)
        steps[t] = before, argument, h
        sequence[:, t] = h
    return OpResult((sequence, h), saved=(inputs, steps))
